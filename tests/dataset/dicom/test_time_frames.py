from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from interactivepet.core.case import Case
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.errors import CaseError
from tests.dicom_series import SPACING_MM, stored_value, write_series

FACTOR = 70_000 / (3.5e8 * 2 ** (-3600 / 6588))
"""SUV of 1 Bq/ml; stored values have a slope of 2."""

Vary = Callable[[int, Dataset], None]


def by_time(frame: int, header: Dataset) -> None:
    header.AcquisitionTime, header.ActualFrameDuration = f"10{5 * frame:02d}00", 300_000 * (frame + 1)


def by_date(frame: int, header: Dataset) -> None:
    header.AcquisitionDate, header.AcquisitionTime = f"2020010{2 + frame}", "100000"


def by_gate(frame: int, header: Dataset) -> None:
    header.TriggerTime, header.SeriesType = str(100 * frame), ["GATED", "IMAGE"]


def by_index(frame: int, header: Dataset) -> None:
    header.ImageIndex = 6 * frame + 1 + round((header.ImagePositionPatient[2] - 30) / SPACING_MM)


def by_number(frame: int, header: Dataset) -> None:
    header.InstanceNumber, header.SeriesType = 10 + frame, ["DYNAMIC", "IMAGE"]


def by_offset(frame: int, header: Dataset) -> None:
    header.FrameReferenceTime = str(1000 * frame)


def write_frames(folder: Path, vary: Vary, *, n_frames: int = 3, **changes: Any) -> Path:
    """Write frames whose values are those of `stored_value` plus 1000 for each later frame."""
    for frame in range(n_frames):

        def change(k: int, header: Dataset, frame: int = frame) -> None:
            stored = np.frombuffer(header.PixelData, "<i2") + 1000 * frame
            header.PixelData = stored.astype("<i2").tobytes()
            vary(frame, header)

        write_series(folder / str(n_frames - frame), change=change, **changes)
    return folder


def load_only(folder: Path, **options: Any) -> tuple[Case, dict[str, Any]]:
    (job,) = find_dicom_source(folder, options=DicomOptions(**options)).test
    imported = job.load()
    return imported.case, json.loads(imported.notes["suv.json"])


@pytest.mark.parametrize("vary", [by_time, by_gate, by_index, by_number, by_offset])
@pytest.mark.parametrize(("time_frame", "extra"), [(1, 0), (2, 1000), ("last", 2000)])
def test_a_frame_stands_for_the_series(tmp_path: Path, vary: Vary, time_frame: Any, extra: int) -> None:
    case, note = load_only(write_frames(tmp_path, vary), time_frame=time_frame)
    assert case.image.shape == (1, 5, 4, 6)
    for i, j, k in [(0, 0, 0), (3, 2, 5)]:
        assert case.image[0, i, j, k] == pytest.approx(2 * FACTOR * (stored_value(i, j, k) + extra), rel=1e-5)
    assert note["suv"]["n_time_frames"] == 3
    assert note["suv"]["time_frame"] == time_frame
    assert note["suv"]["uptake_s"] == 3600, "all frames tell when the scan began"


@pytest.mark.parametrize(
    ("vary", "extra"),
    [(by_time, (0 + 2 * 1000 + 3 * 2000) / 6), (by_gate, 1000), (by_number, 1000)],
)
def test_the_mean_weighs_frames_by_their_duration(tmp_path: Path, vary: Vary, extra: float) -> None:
    case, _ = load_only(write_frames(tmp_path, vary), time_frame="mean")
    assert case.image[0, 3, 2, 5] == pytest.approx(2 * FACTOR * (stored_value(3, 2, 5) + extra), rel=1e-5)


@pytest.mark.parametrize(
    ("time_frame", "factors"), [(2, [2 ** (300 / 6588)]), ("mean", [2 ** (300 * n / 6588) for n in range(3)])]
)
def test_frames_without_decay_correction(tmp_path: Path, time_frame: Any, factors: list[float]) -> None:
    def vary(frame: int, header: Dataset) -> None:
        header.AcquisitionTime = f"10{5 * frame:02d}00"

    frames = [1] if time_frame == 2 else [0, 1, 2]
    case, _ = load_only(write_frames(tmp_path, vary, DecayCorrection="NONE"), time_frame=time_frame)
    values = [factor * (stored_value(1, 1, 2) + 1000 * n) for n, factor in zip(frames, factors, strict=True)]
    assert case.image[0, 1, 1, 2] == pytest.approx(2 * FACTOR * np.mean(values), rel=1e-5)


@pytest.mark.parametrize(
    ("vary", "time_frame", "message"),
    [
        (by_time, None, r"(?s)of 3 frames; .* --time-frame N, mean or last:.*1: AcquisitionTime 100000.*3: .*101000"),
        (by_date, None, r"(?s)of 3 frames.*2: AcquisitionDate 20200103"),
        (by_gate, None, r"(?s)of 3 frames.*2: TriggerTime 100"),
        (by_time, 4, r"(?s)--time-frame 4, but there are 3 frames; choose 1 to 3, mean or last:.*2: Acq"),
        (lambda frame, header: None, None, "12 duplicate slices"),
        (lambda frame, header: None, 2, "12 duplicate slices"),
    ],
)
def test_series_that_are_refused(tmp_path: Path, vary: Vary, time_frame: Any, message: str) -> None:
    write_frames(tmp_path, vary)
    with pytest.raises(CaseError, match=message):
        load_only(tmp_path, time_frame=time_frame)


def test_a_frame_that_lost_a_slice_is_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, by_time)
    min((tmp_path / "1").iterdir()).unlink()
    with pytest.raises(CaseError, match="duplicate slices"):
        load_only(tmp_path, time_frame=1)


def test_a_static_series_is_its_own_only_frame(tmp_path: Path) -> None:
    write_series(tmp_path)
    for time_frame in (1, "mean", "last"):
        case, _ = load_only(tmp_path, time_frame=time_frame)
        assert case.image[0, 1, 1, 1] == pytest.approx(2 * FACTOR * stored_value(1, 1, 1))
    with pytest.raises(CaseError, match="--time-frame 2, but there is one frame"):
        load_only(tmp_path, time_frame=2)
