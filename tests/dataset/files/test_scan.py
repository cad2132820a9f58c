from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.dataset.files.scan import scan_folder
from interactivepet.errors import ManifestError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def scan(folder: Path, n_channels: int) -> dict[str, list[str]]:
    """Case -> its files; every one of them is there."""
    entries = scan_folder(folder, n_channels=n_channels)
    assert all(entry.label is None for entry in entries)
    assert all((folder / path).is_file() for entry in entries for path in entry.images)
    return {entry.id: [Path(path).name for path in entry.images] for entry in entries}


def test_one_file_a_case(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "b.nii.gz", "a.nii.gz", "notes.txt", ".hidden.nii.gz", ".partial-c.nii.gz")
    assert scan(folder, 1) == {"a": ["a.nii.gz"], "b": ["b.nii.gz"]}
    assert scan(folder, 2) == {"a": ["a.nii.gz"], "b": ["b.nii.gz"]}


def test_one_file_a_channel(tmp_path: Path) -> None:
    folder = touch(tmp_path, *(f"{case}_000{c}.nii.gz" for case in ("x_1", "y") for c in (1, 0)))
    assert scan(folder, 2) == {
        "x_1": ["x_1_0000.nii.gz", "x_1_0001.nii.gz"],
        "y": ["y_0000.nii.gz", "y_0001.nii.gz"],
    }


def test_numbers_that_are_no_channels_belong_to_the_name(tmp_path: Path) -> None:
    folder = touch(tmp_path, "scan_2019.nrrd", "scan_2020.nrrd")
    assert scan(folder, 1) == {"scan_2019": ["scan_2019.nrrd"], "scan_2020": ["scan_2020.nrrd"]}
    folder = touch(tmp_path / "more", "MR_0000.mha", "MR_0001.mha")
    assert scan(folder, 1) == {"MR_0000": ["MR_0000.mha"], "MR_0001": ["MR_0001.mha"]}


def test_formats_may_be_mixed_between_cases(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.nii", "b.nrrd", "c.nii.gz")
    assert scan(folder, 1) == {"a": ["a.nii"], "b": ["b.nrrd"], "c": ["c.nii.gz"]}


@pytest.mark.parametrize("names", [(), ("notes.txt",)])
def test_a_folder_without_images_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ManifestError, match=r"in: no images, expected CASE.nii.gz"):
        scan_folder(touch(tmp_path / "in", *names), n_channels=1)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nowhere: no images"):
        scan_folder(tmp_path / "nowhere", n_channels=1)


def test_a_missing_channel_is_listed_and_refused_where_all_cases_lack_one(tmp_path: Path) -> None:
    folder = touch(tmp_path / "some", "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    assert scan_folder(folder, n_channels=2)[1].images == ("./b_0000.nii.gz", "./b_0001.nii.gz")
    folder = touch(tmp_path / "all", "a_0000.nii.gz", "b_0000.nii.gz")
    with pytest.raises(ManifestError, match="a has no file for channel 1 of 2; add it"):
        scan_folder(folder, n_channels=2)


def test_an_image_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="differ only in their ending"):
        scan_folder(touch(tmp_path, "a.nii.gz", "a.nrrd"), n_channels=1)
