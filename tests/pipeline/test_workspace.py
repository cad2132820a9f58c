"""Finding a task, and stamping files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interactivepet.errors import ManifestError
from interactivepet.pipeline.workspace import Workspace, find_task, stamp_files


def test_the_only_task_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "Task001_A" / "imagesTr").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert find_task(tmp_path, None) == "Task001_A"


def test_several_tasks_are_listed(tmp_path: Path) -> None:
    for name in ("Task001_A", "Task002_B"):
        (tmp_path / name / "imagesTr").mkdir(parents=True)
    with pytest.raises(ManifestError, match="Task001_A, Task002_B"):
        find_task(tmp_path, None)
    assert find_task(tmp_path, "Task002_B") == "Task002_B"


def test_a_task_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "Task001_A" / "imagesTr").mkdir(parents=True)
    with pytest.raises(ManifestError, match=r"Task009_X is not there.*Task001_A"):
        find_task(tmp_path, "Task009_X")
    with pytest.raises(ManifestError, match="none"):
        find_task(tmp_path / "empty", None)


def test_a_stamp_follows_size_time_name_and_salt(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"12")
    first = stamp_files([path])
    assert stamp_files([path]) == first
    assert stamp_files([path], salt="plan") != first
    os.utime(path, ns=(1, 1))
    second = stamp_files([path])
    path.write_bytes(b"123")
    os.utime(path, ns=(1, 1))
    assert len({first, second, stamp_files([path]), stamp_files([tmp_path / "b.nii.gz"])}) == 4


def test_paths_lie_in_the_three_folders(tmp_path: Path) -> None:
    workspace = Workspace.of("T", raw=tmp_path / "a", processed=tmp_path / "b", results=tmp_path / "c")
    assert workspace.plans == tmp_path / "b" / "T" / "plans.json"
    assert workspace.card("2d", 3) == tmp_path / "c" / "T" / "2d" / "fold_3" / "card.json"
    assert workspace.clicks_folder(test=True) == tmp_path / "a" / "T" / "interactionsTs"


@pytest.mark.parametrize(("header", "line"), [("a.mhd", "ElementDataFile = a.raw"), ("a.nhdr", "data file: a.raw")])
def test_voxels_beside_their_header_are_stamped_too(header: str, line: str, tmp_path: Path) -> None:
    path, voxels = tmp_path / header, tmp_path / "a.raw"
    path.write_text(f"NDims = 3\n{line}\n")
    voxels.write_bytes(b"1")
    before = stamp_files([path])
    voxels.write_bytes(b"22")
    assert stamp_files([path]) != before
