"""Which images are meant: files, series by one file, folders, zip files; and what is said of everything else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.errors import CaseError
from interactivepet.model.description import ImageInputs
from interactivepet.pipeline.segment.segmenters import CLASSICAL_INPUTS
from interactivepet.pipeline.segment.sources import open_sources
from tests.dicom_series import CT_CLASS, write_series
from tests.pipeline.segment.bodies import write_zip


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 400)


def write_patient(folder: Path, number: int, **changes: object) -> Path:
    uid = f"1.2.3.{number}"
    ids = {"PatientID": f"P{number}", "StudyInstanceUID": f"{uid}.1", "SeriesInstanceUID": f"{uid}.2"}
    return write_series(folder, **(ids | changes))


def find(*sources: Path, inputs: ImageInputs = CLASSICAL_INPUTS) -> tuple[list[str], dict[str, str]]:
    with open_sources(sources, inputs, reading=DicomReading(), out=Path("out")) as found:
        return [job.case for job in found.jobs], {failure.place: failure.reason for failure in found.failures}


def one_file(root: Path) -> list[Path]:
    return [sorted(write_patient(root / "a", 1).iterdir())[3]]


def many_files(root: Path) -> list[Path]:
    return sorted(write_patient(root / "a", 1).iterdir())


def one_of_two(root: Path) -> list[Path]:
    write_patient(root / "a", 1)
    other = write_patient(root / "b", 2)
    for file in other.iterdir():
        file.rename(root / "a" / f"b{file.name}")
    return [root / "a" / "b00-0"]


def tree(root: Path) -> list[Path]:
    write_patient(root / "x" / "y", 1)
    touch(root / "x" / "scan.nii.gz", root / "x" / "z" / "b.mha", root / "x" / "scan_mask.nii.gz")
    touch(root / "x" / "c.seg.nrrd", root / "x" / ".hidden.nii", root / "labelsTr" / "scan.nii.gz", root / "README.txt")
    return [root]


def twice(root: Path) -> list[Path]:
    folder = write_patient(root / "a", 1)
    touch(root / "b.nrrd")
    return [root, folder, root / "b.nrrd"]


def alike(root: Path) -> list[Path]:
    touch(root / "1" / "a b.nii", root / "2" / "a_b.nii", root / "3" / "A_B.mha")
    return [root]


def zipped(root: Path) -> list[Path]:
    write_patient(root / "in" / "deep", 1)
    touch(root / "in" / "vol.nii")
    return [write_zip(root / "a.zip", root / "in")]


def zip_in_folder(root: Path) -> list[Path]:
    (root / "all").mkdir()
    write_zip(root / "all" / "a.zip", write_patient(root / "in", 1))
    return [root / "all"]


def pet_and_ct(root: Path) -> list[Path]:
    write_patient(root / "pet", 1)
    write_patient(root / "ct", 1, Modality="CT", SOPClassUID=CT_CLASS, SeriesInstanceUID="1.2.3.1.9")
    return [root]


def channels(root: Path) -> list[Path]:
    touch(root / "a_0000.nii.gz", root / "a_0001.nii.gz", root / "b_0000.nii.gz", root / "b_0001.nii.gz")
    return [root]


def results_inside(root: Path) -> list[Path]:
    touch(root / "a.nii", Path("out/masks/a.nii.gz").absolute())
    return [root.parent]


@pytest.mark.parametrize(
    ("make", "cases"),
    [
        (one_file, ["P1"]),
        (many_files, ["P1"]),
        (one_of_two, ["P2"]),
        (tree, ["P1", "scan", "b"]),
        (twice, ["P1", "b"]),
        (alike, ["a_b", "a_b-2", "A_B-3"]),
        (zipped, ["P1", "vol"]),
        (zip_in_folder, ["P1"]),
        (pet_and_ct, ["P1"]),
        (channels, ["a", "a_0001", "b", "b_0001"]),
        (results_inside, ["a"]),
    ],
)
def test_what_is_meant_is_found_once(
    make: Callable[[Path], list[Path]], cases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    found, failures = find(*make(tmp_path / "data"))
    assert (found, failures) == (cases, {})


def test_files_of_several_channels_are_one_image(tmp_path: Path) -> None:
    inputs = CLASSICAL_INPUTS.model_copy(update={"channels": ("PET", "CT"), "is_by_channel": True})
    assert find(*channels(tmp_path), inputs=inputs) == (["a", "b"], {})


def only_ct(root: Path) -> Path:
    return write_patient(root / "s", 1, Modality="CT", SOPClassUID=CT_CLASS)


def not_corrected(root: Path) -> Path:
    return write_patient(root / "s", 1, CorrectedImage=["DECY"])


def text(root: Path) -> Path:
    touch(root / "s" / "1.dcm", root / "s" / "2.dcm")
    return root


def headless(root: Path) -> Path:
    folder = write_patient(root / "s", 1)
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:300])
    return root


def bad_zip(root: Path) -> Path:
    touch(root / "s.zip")
    return root / "s.zip"


def escaping_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "s.zip", "w") as archive:
        archive.writestr("../../evil.nii", b"x")
    return root


def cut_zip(root: Path) -> Path:
    path = write_zip(root / "s.zip", write_patient(root / "in", 1))
    path.write_bytes(path.read_bytes()[:2000])
    return path


def no_pet_file(root: Path) -> Path:
    touch(root / "s.txt")
    return root / "s.txt"


def ct_file(root: Path) -> Path:
    return next(only_ct(root).iterdir())


@pytest.mark.parametrize(
    ("make", "place", "reason"),
    [
        (only_ct, "s", "a series of CT without a PET of its study"),
        (ct_file, "s", "a series of CT without a PET of its study"),
        (not_corrected, "s", "no PET series to import|not corrected"),
        (text, "s", "2 files are named as DICOM and are none"),
        (headless, "P1", "cannot be read"),
        (bad_zip, "s.zip", "cannot be extracted"),
        (escaping_zip, "s.zip", "names a file outside of itself"),
        (cut_zip, "s.zip", "cannot be extracted"),
        (no_pet_file, "s.txt", "expected a PET series in DICOM"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_cause(
    make: Callable[[Path], Path], place: str, reason: str, tmp_path: Path
) -> None:
    found, failures = find(make(tmp_path))
    assert found == []
    ((named, told),) = failures.items()
    assert Path(named).name == place
    assert any(part in told for part in reason.split("|"))


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_at_all_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.txt").write_text("x")
    with pytest.raises(CaseError, match=r"no such file|no image was found"):
        find(tmp_path / name)
