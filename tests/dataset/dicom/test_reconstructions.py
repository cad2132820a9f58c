from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from interactivepet.dataset.dicom.images import DicomReading, find_dicom_images
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.errors import CaseError
from tests.dataset.dicom.test_source import LEFT, write_masks
from tests.dicom_series import CT_CLASS, write_series

Series = tuple[str, str, str]


def write(folder: Path, series: list[Series], **changes: Any) -> Path:
    """Write series of (patient, study, description)."""
    for number, (patient, study, description) in enumerate(series):
        names = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": f"1.7.{number}"}
        write_series(folder / str(number), n_slices=2, SeriesDescription=description, **(names | changes))
    return folder


def find(folder: Path, **options: Any) -> list[tuple[str, str]]:
    """Find the cases: name and description of the series."""
    source = find_dicom_source(folder, options=DicomOptions(**options))
    return [(job.id, job.pet.description) for job in (*source.training, *source.test)]


A, B, C = ("A", "1.1"), ("B", "1.2"), ("C", "1.3")
CHOSEN: list[tuple[str, list[Series], str | None, list[tuple[str, str]]]] = [
    # name, series, --series, cases
    (
        "the one like the other patients'",
        [(*A, "PET AC"), (*A, "PET TOF"), (*B, "PET TOF"), (*C, "PET TOF")],
        None,
        [("A", "PET TOF"), ("B", "PET TOF"), ("C", "PET TOF")],
    ),
    (
        "spelt in another way",
        [(*A, "PET_AC"), (*A, "PET TOF"), (*B, "pet  ac")],
        None,
        [("A", "PET_AC"), ("B", "pet  ac")],
    ),
    (
        "two patients with both, most have one",
        [(*A, "AC"), (*A, "TOF"), (*B, "AC"), (*B, "TOF"), (*C, "TOF")],
        None,
        [("A", "TOF"), ("B", "TOF"), ("C", "TOF")],
    ),
    ("a pattern", [(*A, "PET AC"), (*A, "PET TOF"), (*B, "PET AC")], "*tof", [("A", "PET TOF")]),
    ("a UID", [(*A, "PET AC"), (*A, "PET TOF")], "1.7.1", [("A", "PET TOF")]),
    ("all", [(*A, "PET AC"), (*A, "PET TOF")], "*", [("A_1", "PET AC"), ("A_2", "PET TOF")]),
    ("all, without description", [(*A, ""), (*A, "PET TOF")], "*", [("A_1", ""), ("A_2", "PET TOF")]),
    (
        "two studies are two cases",
        [("A", "1.1", "PET AC"), ("A", "1.9", "PET AC")],
        None,
        [("A_1", "PET AC"), ("A_2", "PET AC")],
    ),
]


@pytest.mark.parametrize(("series", "pattern", "cases"), [row[1:] for row in CHOSEN], ids=[row[0] for row in CHOSEN])
def test_the_series_that_become_cases(
    tmp_path: Path, series: list[Series], pattern: str | None, cases: list[tuple[str, str]]
) -> None:
    assert find(write(tmp_path, series), series=pattern) == cases


def test_the_choice_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, [(*A, "PET AC"), (*A, "PET TOF"), (*B, "PET TOF")])
    with caplog.at_level(logging.WARNING):
        source = find_dicom_source(tmp_path, options=DicomOptions())
    assert (
        "A: 2 PET series in one study; PET TOF was taken, as 1 of 1 other patients have one of this name" in caplog.text
    )
    assert any("PET TOF was taken" in reason for reason in source.passed_over.values())


def test_the_protocol_tells_where_names_do_not(tmp_path: Path) -> None:
    write(tmp_path / "a", [(*A, "first")], ReconstructionMethod="OSEM")
    write(tmp_path / "b", [(*A, "second")], ReconstructionMethod="TOF", SeriesInstanceUID="1.8")
    write(tmp_path / "c", [(*B, "third")], ReconstructionMethod="TOF", SeriesInstanceUID="1.9")
    assert find(tmp_path) == [("A", "second"), ("B", "third")]


def test_masks_tell_where_patients_do_not(tmp_path: Path) -> None:
    write(tmp_path, [(*A, "PET AC"), (*A, "PET TOF")])
    write_masks(tmp_path / "rt", ["GTV"], series="1.7.1", boxes=[LEFT], PatientID="A")
    assert find(tmp_path) == [("A", "PET TOF")]


@pytest.mark.parametrize(
    ("series", "pattern", "message"),
    [
        (
            [(*A, "PET AC"), (*A, "PET TOF")],
            None,
            r"(?s)1 studies have several .* --series PATTERN, .*'\*':.*A: PET AC \(2 files\).*A: PET TOF",
        ),
        ([(*A, "PET AC"), (*A, "PET AC")], None, "1 studies have several"),
        ([(*A, "AC"), (*A, "TOF"), (*B, "AC"), (*B, "TOF")], None, "2 studies have several"),
        ([(*A, "PET AC")], "*TOF*", r"(?s)no PET series matches --series '\*TOF\*'; there are:.*A: PET AC"),
    ],
)
def test_what_nothing_decides_is_asked(tmp_path: Path, series: list[Series], pattern: str | None, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        find(write(tmp_path, series), series=pattern)


def test_every_series_is_an_image_to_predict(tmp_path: Path) -> None:
    write(tmp_path, [(*A, "PET AC"), (*A, "PET TOF")])
    assert [job.id for job in find_dicom_images(tmp_path, channels=["PET"])[0]] == ["A_1", "A_2"]
    (only,), _ = find_dicom_images(tmp_path, channels=["PET"], reading=DicomReading(series="*TOF"))
    assert only.pet.description == "PET TOF"


NAMELESS: list[tuple[str, list[Series], list[str]]] = [
    # name, series, cases; each is a patient of its own
    ("no identifier", [("", "1.2.840.1", ""), ("", "1.2.840.2", "")], ["study-1_2_840_1", "study-1_2_840_2"]),
    (
        "studies that end alike",
        [("", "1.5.123456789012", ""), ("", "1.6.123456789012", "")],
        ["study-123456789012", "study-123456789012-2"],
    ),
    ("one text for all", [("ANONYMOUS", "1.1", ""), ("ANONYMOUS", "1.2", "")], ["study-1_1", "study-1_2"]),
    ("in another spelling", [("De-Identified", "1.1", ""), ("anon ", "1.2", "")], ["study-1_1", "study-1_2"]),
    ("no study either", [("", "", ""), ("", "", "")], ["series-1_7_0", "series-1_7_1"]),
    ("blanks", [(" ", "1.1", ""), (" ", "1.2", "")], ["study-1_1", "study-1_2"]),
]


@pytest.mark.parametrize(("series", "names"), [row[1:] for row in NAMELESS], ids=[row[0] for row in NAMELESS])
def test_patients_without_an_identifier_stay_apart(tmp_path: Path, series: list[Series], names: list[str]) -> None:
    jobs = find_dicom_source(write(tmp_path, series), options=DicomOptions()).test
    assert [job.id for job in jobs] == names
    assert len({job.patient for job in jobs}) == len(names)


def test_a_mask_and_a_ct_stay_with_their_nameless_patient(tmp_path: Path) -> None:
    write(tmp_path, [("", "1.1", ""), ("", "1.2", "")])
    write_series(
        tmp_path / "ct",
        n_slices=2,
        PatientID="",
        StudyInstanceUID="1.2",
        SeriesInstanceUID="1.8",
        Modality="CT",
        SOPClassUID=CT_CLASS,
    )
    write_masks(tmp_path / "rt", ["GTV"], series="1.8", boxes=[LEFT], PatientID="", StudyInstanceUID="1.2")
    source = find_dicom_source(tmp_path, options=DicomOptions(with_ct=True))
    assert [job.id for job in source.training] == ["study-1_2"]
    assert [(job.id, getattr(job, "ct", None) is not None) for job in source.test] == [("study-1_1", False)]


def test_a_nameless_mask_in_a_study_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, [("", "1.1", "")])
    write_masks(tmp_path / "rt", ["GTV"], series="1.8", boxes=[LEFT], PatientID="", StudyInstanceUID="1.9")
    assert [job.id for job in find_dicom_source(tmp_path, options=DicomOptions()).training] == ["study-1_1"]


def test_one_series_uid_in_two_studies_is_two_series(tmp_path: Path) -> None:
    write(tmp_path, [("", "1.1", ""), ("", "1.2", "")], SeriesInstanceUID="9.9")
    jobs = find_dicom_source(tmp_path, options=DicomOptions()).test
    assert [job.id for job in jobs] == ["study-1_1", "study-1_2"]
    assert [job.load().case.image.shape for job in jobs] == [(1, 5, 4, 2)] * 2
