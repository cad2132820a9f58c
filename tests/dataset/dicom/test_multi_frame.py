from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interactivepet.core.case import Case
from interactivepet.dataset.dicom.case import read_suv_series
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.errors import CaseError
from tests.dicom_series import SPACING_MM, stored_value
from tests.enhanced_pet import write_enhanced

FACTOR = 70_000 / (3.5e8 * 2 ** (-3600 / 6588))
LEAN = 70 / (1.10 * 70 - 120 * (70 / 175) ** 2)
DATED = {"FrameAcquisitionDateTime": "20200102100000.000000", "FrameAcquisitionDuration": 300_000.0}


def load_only(folder: Path, **options: Any) -> tuple[Case, dict[str, Any]]:
    (job,) = find_dicom_source(folder, options=DicomOptions(**options)).test
    imported = job.load()
    return imported.case, json.loads(imported.notes["suv.json"])


READ: list[tuple[str, dict[str, Any], float]] = [
    # name, arguments of write_enhanced, SUV of a stored value of 1 in the first slice
    ("enhanced", {"times": [DATED]}, FACTOR),
    ("enhanced, frames in order", {"times": [DATED], "order": (0, 1, 2, 3, 4, 5)}, FACTOR),
    ("enhanced in SUV by body weight", {"times": [DATED], "units": "g/ml{SUVbw}"}, 1.0),
    ("enhanced in SUV by lean body mass", {"times": [DATED], "units": "g/ml{SUVlbm}"}, LEAN),
    (
        "enhanced, injected dose in MBq",
        {"times": [DATED], "RadionuclideTotalDose": "350", "RadiopharmaceuticalStartDateTime": "20200102090000"},
        FACTOR,
    ),
    ("legacy converted", {"is_legacy": True}, FACTOR),
    ("legacy converted, frames in reverse", {"is_legacy": True, "order": (5, 4, 3, 2, 1, 0)}, FACTOR),
    ("legacy converted in GML", {"is_legacy": True, "Units": "GML"}, 1.0),
]


@pytest.mark.parametrize(("written", "factor"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_every_frame_has_its_own_scale_and_place(tmp_path: Path, written: dict[str, Any], factor: float) -> None:
    write_enhanced(tmp_path / "pet.dcm", **written)
    case, note = load_only(tmp_path)
    assert case.image.shape == (1, 5, 4, 6)
    for i, j, k in [(0, 0, 0), (3, 2, 0), (1, 3, 4), (4, 3, 5)]:
        assert case.image[0, i, j, k] == pytest.approx(factor * (k + 1) * stored_value(i, j, k), rel=1e-5)
    assert case.geometry.spacing_mm == pytest.approx((2, 4, SPACING_MM))
    assert case.geometry.to_mm((1, 2, 3)) == pytest.approx([10 - 2, 20 - 8, 30 + 3 * SPACING_MM])
    assert note["pet"]["n_files"] == 1
    assert note["suv"]["n_time_frames"] == 1


def test_frames_may_lie_in_several_files(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "b.dcm", order=(1, 0, 2), times=[DATED])
    write_enhanced(tmp_path / "a.dcm", order=(5, 4, 3), times=[DATED], top={"SOPInstanceUID": "1.2.3.4.9"})
    values, _, _ = read_suv_series([tmp_path / "b.dcm", tmp_path / "a.dcm"])
    assert values[1, 1] == pytest.approx([FACTOR * (k + 1) * stored_value(1, 1, k) for k in range(6)])


def test_no_decay_correction_takes_each_frames_time(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "pet.dcm", times=[DATED], top={"DecayCorrected": "NO"})
    _, note = load_only(tmp_path)
    assert note["suv"]["decay_correction"] == "NONE"
    assert note["suv"]["uptake_s"] == pytest.approx(3600 + 149.6, abs=0.1)


def test_the_time_of_decay_correction_goes_before_series_time(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "pet.dcm", times=[DATED], SeriesTime="113000")
    _, note = load_only(tmp_path)
    assert note["suv"]["uptake_s"] == 3600
    assert "DecayCorrectionDateTime" in note["suv"]["reference_reason"]


def test_the_frames_own_reference_time_is_used(tmp_path: Path) -> None:
    times = [DATED | {"FrameReferenceDateTime": "20200102100229.605"}]
    write_enhanced(tmp_path / "pet.dcm", times=times, SeriesTime="113000")
    _, note = load_only(tmp_path)
    assert note["suv"]["uptake_s"] == pytest.approx(3600, abs=0.1)
    assert "on which all slices agree" in note["suv"]["reference_reason"]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a frame is missing", {"order": (4, 0, 5, 1, 3)}, r"missing slices \(1\)"),
    ("two frames at one place", {"order": (4, 0, 5, 2, 1, 3, 3)}, "1 duplicate slices"),
    ("more frames than described", {"top": {"NumberOfFrames": 7}}, "is 7, but 6 frames are described"),
    ("no unit", {"units": "[arb'U]"}, r"Units \(0054,1001\)"),
    ("no scale", {"is_legacy": True, "Units": None}, r"Units \(0054,1001\)"),
    (
        "several times",
        {"times": [DATED, DATED | {"FrameAcquisitionDateTime": "20200102100500"}]},
        r"(?s)2 frames.*--time-frame N, mean or last:.*1: AcquisitionTime 100000.*2: AcquisitionTime 100500",
    ),
]


@pytest.mark.parametrize(("written", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_files_that_are_refused(tmp_path: Path, written: dict[str, Any], message: str) -> None:
    write_enhanced(tmp_path / "pet.dcm", **({"times": [DATED]} | written))
    with pytest.raises(CaseError, match=message):
        load_only(tmp_path)


def test_without_attenuation_correction_it_is_passed_over(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "pet.dcm", top={"AttenuationCorrected": "NO"})
    with pytest.raises(CaseError, match="no ATTN in CorrectedImage"):
        load_only(tmp_path)


@pytest.mark.parametrize(("time_frame", "extra"), [(1, 0), (2, 1000), ("last", 1000), ("mean", 750)])
def test_a_frame_of_a_dynamic_file(tmp_path: Path, time_frame: Any, extra: float) -> None:
    later = {"FrameAcquisitionDateTime": "20200102100500.000000", "FrameAcquisitionDuration": 900_000.0}
    write_enhanced(tmp_path / "pet.dcm", times=[DATED, later])
    case, note = load_only(tmp_path, time_frame=time_frame)
    for i, j, k in [(0, 0, 0), (1, 3, 4)]:
        expected = FACTOR * (k + 1) * (stored_value(i, j, k) + extra)
        assert case.image[0, i, j, k] == pytest.approx(expected, rel=1e-5)
    assert (note["suv"]["n_time_frames"], note["suv"]["time_frame"]) == (2, time_frame)
