"""Every DICOM file that the project writes: `dciodvfy` finds no error in it, and other readers open it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.reference import read_source
from interactivepet.dataset.dicom.rtstruct import write_rtstruct
from interactivepet.dataset.dicom.seg import write_seg
from interactivepet.dataset.dicom.sr import write_sr
from interactivepet.quantification.case import measure_regions
from tests.dicom_series import OBLIQUE, draw_masks, write_grid
from tests.enhanced_pet import write_enhanced

NEEDS_DCIODVFY = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
LABELS = {"tumour": 1, "node": 2, "core": 3}
KINDS = ("seg", "rtstruct", "sr")


@dataclass(frozen=True)
class Source:
    """A series to write over, and the mask: its tags, their changes, name of the mask and labels."""

    mask: str = "labels"
    labels: dict[str, int] = field(default_factory=lambda: LABELS)
    changes: dict[str, object] = field(default_factory=dict)
    tilt: tuple[float, float, float] = OBLIQUE


MISSING = dict.fromkeys(("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientBirthDate"))
SOURCES = {
    "anonymised": Source(changes=dict(MISSING)),
    "Japan": Source(
        changes={"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}
    ),
    "Korea": Source(
        changes={"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "Hong^Gildong=洪^吉洞=홍^길동"}
    ),
    "labels in other letters": Source(labels={"Läsion": 1, "腫瘍": 2, "종양": 3}, changes={"PatientName": "A^B"}),
    "no lesion": Source(mask="empty", changes={"PatientName": "A^B"}),
    "upright": Source(tilt=(0.0, 0.0, 0.0), changes={"PatientName": "A^B"}),
    "crumbs": Source(mask="crumbs", changes={"PatientName": "A^B"}),
    "lesions at the border": Source(mask="border", changes={"PatientName": "A^B"}),
    "holes": Source(mask="sieve", changes={"PatientName": "A^B"}),
    "names of 64 characters": Source(labels={"t" * 64: 1, "n" * 64: 2, "c" * 64: 3}, changes={"PatientName": "A^B"}),
    "organs": Source(labels={"heart": 1, "liver": 2, "bladder": 3}, changes={"PatientName": "A^B"}),
}


def write(
    kind: str, folder: Path, mask: np.ndarray, *, geometry: Geometry, labels: dict[str, int], series: Sequence[Path]
) -> tuple[Path, ...]:
    """Write a mask, or its measures, and give the files."""
    path = folder / f"a.{kind}.dcm"
    options: dict[str, Any] = {"geometry": geometry, "labels": labels, "series": series}
    if kind == "sr":
        image = np.random.default_rng(2).gamma(2.0, 2.0, geometry.shape).astype(np.float32)
        regions = measure_regions(image, mask, geometry=geometry, labels=labels, unit="suv")
        return write_sr(path, mask, regions=regions, unit="suv", **options)
    writer: Callable[..., None] = write_seg if kind == "seg" else write_rtstruct
    writer(path, mask, **options)
    return (path,)


def list_errors(path: Path) -> list[str]:
    """Give what dciodvfy calls an error."""
    result = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (result.stdout + result.stderr).splitlines()
    assert any(line.strip() in ("Segmentation", "RTStructureSet", "ComprehensiveSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]


def write_source(folder: Path, source: Source) -> tuple[tuple[Path, ...], Geometry]:
    """Write the series."""
    series, geometry = write_grid(folder, tilt=source.tilt, patient="A")
    with pydicom.config.disable_value_validation():
        for path in series:
            dataset = pydicom.dcmread(path)
            for keyword, value in source.changes.items():
                dataset.pop(keyword, None)
                if value is not None:
                    setattr(dataset, keyword, value)
            dataset.save_as(path)
    return series, geometry


@NEEDS_DCIODVFY
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SOURCES)
def test_no_error_is_found(tmp_path: Path, name: str, kind: str) -> None:
    source = SOURCES[name]
    series, geometry = write_source(tmp_path / "PT", source)
    mask = draw_masks(geometry.shape)[source.mask]
    for path in write(kind, tmp_path, mask, geometry=geometry, labels=source.labels, series=series):
        assert list_errors(path) == [], path.name


@NEEDS_DCIODVFY
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_legacy", [False, True], ids=["enhanced", "legacy converted"])
def test_no_error_is_found_over_files_of_many_frames(tmp_path: Path, is_legacy: bool, kind: str) -> None:
    path = write_enhanced(tmp_path / "pet.dcm", is_legacy=is_legacy, StudyDate="20200102", PatientName="A^B")
    geometry = read_source([path]).geometry
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1:4, 1:3, 2:4] = 1
    for file in write(kind, tmp_path, mask, geometry=geometry, labels={"tumour": 1}, series=[path]):
        assert list_errors(file) == [], file.name


@NEEDS_DCIODVFY
@pytest.mark.real_data
@pytest.mark.parametrize("kind", KINDS)
def test_no_error_is_found_over_the_real_series(tmp_path: Path, real_data: Path, kind: str) -> None:
    series = sorted((real_data / "dicom" / "STS_001" / "PT").iterdir())
    geometry = read_source(series).geometry
    mask = np.zeros(geometry.shape, np.uint8)
    mask[60:66, 60:66, 100:104] = mask[80:82, 80:82, 110:112] = 1
    for path in write(kind, tmp_path, mask, geometry=geometry, labels={"GTV": 1}, series=series):
        assert list_errors(path) == [], path.name


@pytest.mark.parametrize("kind", ["seg", "sr"])
def test_other_readers_open_segments_with_the_same_pixels(tmp_path: Path, kind: str) -> None:
    from highdicom.seg import segread
    from SimpleITK import GetArrayFromImage, ReadImage

    # ITK's reader (GDCM) fills the last pixels with chance where their number is no multiple of eight.
    series, geometry = write_grid(tmp_path / "PT", shape=(32, 32, 12), patient="A^B")
    mask = draw_masks(geometry.shape)["labels"]
    path = write(kind, tmp_path, mask, geometry=geometry, labels=LABELS, series=series)[-1]
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    assert int(frames.sum()) == int((mask > 0).sum())
    assert segread(path).number_of_segments == 3
    assert np.array_equal(GetArrayFromImage(ReadImage(path)) > 0, frames > 0)


def test_other_readers_open_the_report(tmp_path: Path) -> None:
    from highdicom.sr import srread

    series, geometry = write_source(tmp_path / "PT", SOURCES["upright"])
    mask = draw_masks(geometry.shape)["labels"]
    report, segmentation = write("sr", tmp_path, mask, geometry=geometry, labels=LABELS, series=series)
    groups = srread(report).content.get_volumetric_roi_measurement_groups()
    uids = {group.referenced_segment.referenced_sop_instance_uid for group in groups}
    assert uids == {pydicom.dcmread(segmentation).SOPInstanceUID}
    assert pydicom.dcmread(report).ContentTemplateSequence[0].TemplateIdentifier == "1500"
