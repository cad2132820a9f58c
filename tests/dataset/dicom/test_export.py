"""Segmentations and structure sets over series as scanners, anonymisers and other countries write them."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.rtstruct import list_rois, read_rtstruct, write_rtstruct
from interactivepet.dataset.dicom.seg import list_segments, read_seg, write_seg
from tests.dicom_series import OBLIQUE, draw_masks, write_grid

LABELS = {"tumour": 1, "node": 2, "core": 3}
WRITERS = {"seg": (write_seg, read_seg, list_segments), "rtstruct": (write_rtstruct, read_rtstruct, list_rois)}
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"),
    *("StudyID", "AccessionNumber", "PositionReferenceIndicator"),
)
NAMES = {
    "Japan": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japan, kana": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korea": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "China": ("GB18030", "Wang^XiaoDong=王^小东"),
    "Greece": ("ISO_IR 126", "Διονυσιος"),
    "Unicode": ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    "Latin": ("ISO_IR 100", "Müller^Anna"),
    "none": (None, "Miller^Anne"),
}


def change_series(series: tuple[Path, ...], values: Mapping[str, object]) -> None:
    """Set tags of every slice, or remove them where the value is None; nothing is validated."""
    with pydicom.config.disable_value_validation():
        for path in series:
            dataset = pydicom.dcmread(path)
            for keyword, value in values.items():
                dataset.pop(keyword, None)
                if value is not None:
                    setattr(dataset, keyword, value)
            dataset.save_as(path)


def write(kind: str, path: Path, series: tuple[Path, ...], geometry: Geometry, **labels: int) -> pydicom.Dataset:
    """Write a mask, check that it survives, and give the file."""
    mask = draw_masks(geometry.shape)["labels"]
    to_file, from_file, list_names = WRITERS[kind]
    to_file(path, mask, geometry=geometry, labels=labels or LABELS, series=series)
    assert np.array_equal(from_file(path, geometry=geometry), mask)
    assert list_names(path) == tuple(labels or LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        dataset.decode()
    return dataset


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "missing",
    [
        *[(keyword,) for keyword in TYPE_2],
        *[("SliceThickness",), ("SeriesNumber", "InstanceNumber"), ("SeriesDescription", "SeriesDate", "SeriesTime")],
        (*TYPE_2, "SpecificCharacterSet", "InstanceNumber", "AcquisitionDate", "AcquisitionTime"),
    ],
    ids="-".join,
)
def test_what_the_source_lacks_is_written_empty(tmp_path: Path, missing: tuple[str, ...], kind: str) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE, patient="Miller^Anne")
    change_series(series, dict.fromkeys(missing))
    dataset = write(kind, tmp_path / "a.dcm", series, geometry)
    for keyword in TYPE_2:
        assert keyword in dataset, keyword
        assert not (keyword in missing and dataset[keyword].value), keyword


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("country", NAMES)
def test_the_character_set_is_written_as_it_is(tmp_path: Path, country: str, kind: str) -> None:
    character_set, name = NAMES[country]
    series, geometry = write_grid(tmp_path / "PT", patient="A")
    values = {"SpecificCharacterSet": character_set, "PatientName": name, "StudyDescription": name.split("=")[-1]}
    change_series(series, values)
    source = pydicom.dcmread(series[0])
    assert source.PatientName == name
    dataset = write(kind, tmp_path / "a.dcm", series, geometry)
    assert dataset.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
    assert dataset.PatientName == name
    # Letters that the source's set lacks need Unicode.
    dataset = write(kind, tmp_path / "b.dcm", series, geometry, Läsion=1, 腫瘍=2, 종양=3)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.PatientName == name


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "values",
    [
        {"PatientSex": "U"},
        {"StudyDate": "01.02.2020"},
        {"PatientBirthDate": "unknown"},
        {"StudyTime": "10:30"},
        {"StudyID": "an identifier of far more than sixteen characters"},
        {"AccessionNumber": "an-accession-number-of-an-anonymiser"},
        {"PatientID": "x" * 70},
        {"PatientName": "pseudonym 17"},
        {"StudyInstanceUID": "1.2.03.4"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_values_that_break_the_standard_are_written_as_they_are(
    tmp_path: Path, values: dict[str, str], kind: str
) -> None:
    series, geometry = write_grid(tmp_path / "PT", patient="Miller^Anne")
    change_series(series, values)
    dataset = write(kind, tmp_path / "a.dcm", series, geometry)
    for keyword, value in values.items():
        assert str(dataset.get(keyword)) == value


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("country", ["Japan", "Korea", "none"])
def test_written_objects_pass_dciodvfy(tmp_path: Path, country: str, kind: str) -> None:
    character_set, name = NAMES[country]
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE, patient="A")
    missing = dict.fromkeys(("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientBirthDate"))
    change_series(series, missing | {"SpecificCharacterSet": character_set, "PatientName": name})
    write(kind, tmp_path / "a.dcm", series, geometry)
    result = subprocess.run(["dciodvfy", tmp_path / "a.dcm"], capture_output=True, text=True, check=False)
    errors = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("Error")]
    assert errors == []


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("step", [2, 3])
def test_masks_on_every_few_slices_survive(tmp_path: Path, step: int, kind: str) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["blob"]
    mask[:, :, ::step] = 0
    to_file, from_file, _ = WRITERS[kind]
    to_file(tmp_path / "a.dcm", mask, geometry=geometry, labels={"a": 1}, series=series)
    assert np.array_equal(from_file(tmp_path / "a.dcm", geometry=geometry), mask)
    mask[:] = 0
    mask[5:9, 6:9, 1::step] = 1
    to_file(tmp_path / "a.dcm", mask, geometry=geometry, labels={"a": 1}, series=series)
    assert np.array_equal(from_file(tmp_path / "a.dcm", geometry=geometry), mask)
