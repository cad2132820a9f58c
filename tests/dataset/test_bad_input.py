"""Bad input of every kind: one clear error each, and no task left behind, not even a part of one."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from interactivepet.cli import import_task
from interactivepet.dataset.folders.source import FolderOptions, find_folder_source

SHAPE = (12, 11, 10)
AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])
TASK = "Task900_Bad"

Attempt = Callable[..., str]


def make_pet() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 8.0, size=SHAPE).astype(np.float32)


def make_ct() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1000, 400, size=SHAPE).astype(np.float32)


def make_mask(value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:8, 4:8, 4:7] = value
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two sound cases; the tests spoil the second."""
    for name in ("good", "bad"):
        save(tmp_path / "source" / f"{name}.nii.gz", make_pet())
        save(tmp_path / "source" / f"{name}_mask.nii.gz", make_mask())
    return tmp_path / "source"


@pytest.fixture
def attempt(raw: Path, capsys: pytest.CaptureFixture[str]) -> Attempt:
    """Try to import; give the only error, after checking that nothing was left behind."""

    def run(folder: Path, *options: str) -> str:
        assert import_task.main(["folder", str(folder), "-t", TASK, "-m", "PET", "-np", "1", *options]) == 1
        written = capsys.readouterr().err
        assert written.count("error: ") == 1
        assert list(raw.iterdir()) == []
        return written[written.index("error: ") :]

    return run


def test_the_sound_source_is_imported(source: Path, raw: Path) -> None:
    assert import_task.main(["folder", str(source), "-t", TASK, "-m", "PET", "-np", "1"]) == 0
    assert [path.name for path in raw.iterdir()] == [TASK]


@pytest.mark.parametrize("name", ["bad.nii.gz", "bad_mask.nii.gz"])
def test_truncated_gzip(source: Path, attempt: Attempt, name: str) -> None:
    path = source / name
    path.write_bytes(path.read_bytes()[:-30])
    message = attempt(source)
    assert f"{name}: cannot be read" in message
    assert "copy or export it again" in message


@pytest.mark.parametrize("name", ["bad.nii.gz", "bad_mask.nii.gz"])
def test_empty_file(source: Path, attempt: Attempt, name: str) -> None:
    (source / name).write_bytes(b"")
    message = attempt(source)
    assert name in message
    assert "the file is empty" in message


def test_wrong_affine(source: Path, attempt: Attempt) -> None:
    shifted = AFFINE.copy()
    shifted[1, 3] = 40
    save(source / "bad_mask.nii.gz", make_mask(), shifted)
    message = attempt(source)
    assert "bad: bad_mask.nii.gz grid" in message
    assert "40 mm apart; resample the mask" in message


def test_nan(source: Path, attempt: Attempt) -> None:
    image = make_pet()
    image[1, 2, 3] = np.nan
    save(source / "bad.nii.gz", image)
    assert "bad: nan: 1 NaN and 0 infinite voxels in PET" in attempt(source)


@pytest.mark.parametrize("spoil", [lambda image: image - 3, lambda image: -image])
def test_negative_suv(source: Path, attempt: Attempt, spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    save(source / "bad.nii.gz", spoil(make_pet()))
    assert "bad: negative-suv: PET from -" in attempt(source)


def test_bytes_read_with_a_sign(source: Path, attempt: Attempt) -> None:
    counts = (make_pet() * 30).astype(np.uint8)
    save(source / "bad.nii.gz", counts.astype(np.int8))
    message = attempt(source)
    assert "bad: negative-suv: PET from -128 to 127" in message
    assert "bytes may have been read with a sign" in message


def test_label_255(source: Path, attempt: Attempt) -> None:
    save(source / "bad_mask.nii.gz", make_mask(255))
    message = attempt(source)
    assert "bad_mask.nii.gz: the mask" in message
    assert "255" in message
    assert "renumber" in message


def test_fractions_in_a_mask(source: Path, attempt: Attempt) -> None:
    save(source / "bad_mask.nii.gz", make_mask() * np.float32(0.7))
    assert "48 voxels hold no integer (such as 0.7)" in attempt(source)


def test_swapped_pet_and_ct(source: Path, attempt: Attempt) -> None:
    for path in source.iterdir():
        path.unlink()
    save(source / "bad_PET_image.nii.gz", make_ct())
    save(source / "bad_CT_image.nii.gz", make_pet())
    save(source / "bad_mask.nii.gz", make_mask())
    message = attempt(source, "-m", "PET", "CT")
    assert "1 problems" in message
    assert "bad: swapped: PET from -99" in message


def test_link_to_itself(source: Path, attempt: Attempt) -> None:
    (source / "bad.nii.gz").unlink()
    (source / "bad.nii.gz").symlink_to("bad.nii.gz")
    assert "bad.nii.gz is a link that leads nowhere" in attempt(source)


def test_link_to_a_folder_around_it(source: Path, attempt: Attempt) -> None:
    (source / "inner").mkdir()
    (source / "inner" / "again").symlink_to(source)
    assert "again is a link to a folder that holds it; remove the link" in attempt(source)


def test_link_to_a_folder_elsewhere_is_followed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "data").symlink_to(source)
    found = find_folder_source(tmp_path / "linked", options=FolderOptions())
    assert [job.id for job in found.training] == ["bad", "good"]


def test_folder_without_permission(source: Path, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> Iterator[os.DirEntry[str]]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("interactivepet.dataset.folders.tree.os.scandir", refuse)
    assert "source: cannot be read (Permission denied); ask for the right to read it" in attempt(source)


def test_file_without_permission(source: Path, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    load = nibabel.load

    def refuse(path: Path) -> nibabel.Nifti1Image:
        if path.name == "bad.nii.gz":
            raise PermissionError(13, "Permission denied", str(path))
        return load(path)

    monkeypatch.setattr(nibabel, "load", refuse)
    message = attempt(source)
    assert "bad.nii.gz: cannot be read" in message
    assert "you have no right to read it" in message


def test_a_source_that_is_not_there(tmp_path: Path, attempt: Attempt) -> None:
    assert "elsewhere: there is no such folder" in attempt(tmp_path / "elsewhere")


def test_path_with_spaces_and_other_alphabets(source: Path, tmp_path: Path, raw: Path) -> None:
    folder = tmp_path / "Daten für Übung 患者"
    source.rename(folder)
    for part in ("", "_mask"):
        (folder / f"bad{part}.nii.gz").rename(folder / f"Müller, Zoë 患者 1{part}.nii.gz")
    assert import_task.main(["folder", str(folder), "-t", TASK, "-m", "PET", "-np", "1"]) == 0
    assert sorted(path.name for path in (raw / TASK / "labelsTr").iterdir()) == ["Muller_Zoe_1.nii.gz", "good.nii.gz"]


def test_names_that_become_one(source: Path, attempt: Attempt) -> None:
    for part in ("", "_mask"):
        (source / f"bad{part}.nii.gz").rename(source / f"good 患者{part}.nii.gz")
    assert "'good 患者' and 'good' both become the case good; rename one of them" in attempt(source)


def test_a_stream_that_goes_on_behind_the_image(source: Path, attempt: Attempt) -> None:
    path = source / "bad.nii.gz"
    image = gzip.decompress(path.read_bytes())
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(image)
        for _ in range(40):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    assert "it goes on for more than 16 MiB behind the last voxel" in attempt(source)


@pytest.mark.parametrize(
    ("shape", "match"), [((30000, 30000, 30000), "GiB, expected 8 GiB"), ((900, 900, 9), "bytes is")]
)
def test_a_header_that_promises_too_much(source: Path, attempt: Attempt, shape: tuple[int, ...], match: str) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    with gzip.open(source / "bad.nii.gz", "wb") as stream:
        stream.write(header.binaryblock + bytes(1000))
    message = attempt(source)
    assert "its header promises" in message
    assert match in message


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_another_header_that_promises_too_much(source: Path, attempt: Attempt, ending: str) -> None:
    (source / "bad.nii.gz").unlink()
    path = source / f"bad{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(make_pet()), str(path))
    path.write_bytes(path.read_bytes().replace(b"10 11 12", b"9999 9999 9999"))
    assert "its header promises 9999x9999x9999 voxels" in attempt(source)


def test_twenty_thousand_files_are_listed_within_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_000):
        for part in ("", "_mask"):
            (folder / f"case_{number:05d}{part}.nii.gz").touch()
    (folder / "cases.csv").write_text("case,patient\n" + "".join(f"case_{n:05d},P{n // 2}\n" for n in range(10_000)))
    found = find_folder_source(folder, options=FolderOptions())
    assert len(found.training) == 10_000
    assert found.training[9_999].patient == "P4999"
