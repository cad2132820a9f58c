"""Segmentations and structure sets over series as scanners, anonymisers and other countries write them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.reference import read_source
from interactivepet.dataset.dicom.rtstruct import list_rois, read_rtstruct, write_rtstruct
from interactivepet.dataset.dicom.seg import list_segments, read_seg, write_seg
from tests.dicom_series import OBLIQUE, draw_masks, write_grid
from tests.enhanced_pet import write_enhanced

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


TIMES = {
    "static": [{"FrameAcquisitionDateTime": "20200102100000"}],
    "dynamic": [
        {"FrameAcquisitionDateTime": "20200102100000"},
        {"FrameAcquisitionDateTime": "20200102101000"},
    ],
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("is_legacy", [False, True], ids=["enhanced", "legacy"])
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_masks_over_multi_frame_files_refer_to_their_frames(
    tmp_path: Path, times: list[dict[str, str]], is_legacy: bool, kind: str
) -> None:
    order = (4, 0, 5, 2, 1, 3)
    path = write_enhanced(tmp_path / "pet.dcm", order=order, times=times, is_legacy=is_legacy)
    geometry = read_source([path]).geometry
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1:4, 1:3, 2:4] = 1
    to_file, from_file, _ = WRITERS[kind]
    to_file(tmp_path / "mask.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=[path])
    assert np.array_equal(from_file(tmp_path / "mask.dcm", geometry=geometry), mask)
    written, source = pydicom.dcmread(tmp_path / "mask.dcm"), pydicom.dcmread(path)
    frames, files = list_references(written, kind)
    assert {str(item.ReferencedSOPInstanceUID) for item in (*frames, *files)} == {source.SOPInstanceUID}
    assert {str(item.ReferencedSOPClassUID) for item in (*frames, *files)} == {source.SOPClassUID}
    assert len(files) == 1
    assert "ReferencedFrameNumber" not in files[0]
    assert {item.ReferencedFrameNumber for item in frames} == {order.index(k) * len(times) + 1 for k in (2, 3)}


def list_references(written: pydicom.Dataset, kind: str) -> tuple[list[pydicom.Dataset], list[pydicom.Dataset]]:
    """List the items that refer to single slices, and those that refer to the files of the series."""
    if kind == "seg":
        groups = [group.DerivationImageSequence[0] for group in written.PerFrameFunctionalGroupsSequence]
        items = [item for group in groups for item in group.SourceImageSequence]
        return items, list(written.ReferencedSeriesSequence[0].ReferencedInstanceSequence)
    study = written.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    contours = written.ROIContourSequence[0].ContourSequence
    items = [item for contour in contours for item in contour.ContourImageSequence]
    return items, list(study.RTReferencedSeriesSequence[0].ContourImageSequence)
