"""What counts as a change of a file: its content, not that it was copied back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interactivepet.core.stamped import FileList
from interactivepet.pipeline.stamps import open_stamps
from interactivepet.pipeline.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.of("T", raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "results")
    made.raw.mkdir(parents=True)
    return made


@pytest.fixture
def path(workspace: Workspace) -> Path:
    made = workspace.raw / "a.nii.gz"
    made.write_bytes(b"12")
    set_time(made, 10)
    return made


def set_time(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def stamp(workspace: Workspace, *paths: Path, salt: str = "") -> str:
    with open_stamps(workspace) as stamps:
        return stamps.stamp(paths, salt=salt)


def rewrite(path: Path, content: bytes, seconds: int) -> None:
    path.unlink()
    path.write_bytes(content)
    set_time(path, seconds)


CHANGES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "nothing": (lambda path: None, True),
    "touched": (lambda path: set_time(path, 20), True),
    "copied back": (lambda path: rewrite(path, b"12", 20), True),
    "copied back from an older disk": (lambda path: rewrite(path, b"12", 5), True),
    "another content of the same size": (lambda path: rewrite(path, b"21", 20), False),
    "another size at the same time": (lambda path: rewrite(path, b"123", 10), False),
    "another size": (lambda path: rewrite(path, b"1", 20), False),
    "removed": (lambda path: path.unlink(), False),
}


@pytest.mark.parametrize(("change", "is_same"), CHANGES.values(), ids=CHANGES)
def test_a_stamp_follows_the_content(
    change: Callable[[Path], None], is_same: bool, workspace: Workspace, path: Path
) -> None:
    before = stamp(workspace, path)
    change(path)
    assert (stamp(workspace, path) == before) is is_same


def test_a_content_that_comes_back_is_known(workspace: Workspace, path: Path) -> None:
    first = stamp(workspace, path)
    rewrite(path, b"21", 20)
    second = stamp(workspace, path)
    rewrite(path, b"12", 30)
    assert stamp(workspace, path) == first
    rewrite(path, b"21", 40)
    assert stamp(workspace, path) == second != first


def test_stamps_of_before_the_list_stay_valid(workspace: Workspace, path: Path) -> None:
    expected = hashlib.sha256(f"salt{path.name}|2|{10 * 10**9}".encode()).hexdigest()[:16]
    assert stamp(workspace, path, salt="salt") == expected
    rewrite(path, b"12", 20)
    assert stamp(workspace, path, salt="salt") == expected


def test_a_task_that_was_copied_keeps_its_stamps(workspace: Workspace, path: Path, tmp_path: Path) -> None:
    before = stamp(workspace, path)
    roots = {}
    for name in ("raw", "processed", "results"):
        roots[name] = tmp_path / "disk" / name
        shutil.copytree(tmp_path / name, roots[name], copy_function=shutil.copyfile) if name != "results" else None
    copied = Workspace.of("T", **roots)
    assert stamp(copied, copied.raw / path.name) == before


def test_name_salt_and_a_missing_file_count(workspace: Workspace, path: Path) -> None:
    other = shutil.copy2(path, path.with_name("b.nii.gz"))
    found = {stamp(workspace, path), stamp(workspace, path, salt="plan"), stamp(workspace, Path(other))}
    assert len(found | {stamp(workspace, path.with_name("c.nii.gz"))}) == 4


def test_a_file_is_read_once(workspace: Workspace, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamp(workspace, path)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert stamp(workspace, path) == before


@pytest.mark.parametrize("broken", ["no json", "{}", '{"files": 3}'])
def test_a_damaged_list_costs_no_more_than_a_look(broken: str, workspace: Workspace, path: Path) -> None:
    before = stamp(workspace, path)
    workspace.file_list.write_text(broken)
    assert stamp(workspace, path) == before
    assert FileList.model_validate_json(workspace.file_list.read_text()).files["raw/a.nii.gz"].size == 2


def test_a_list_that_cannot_be_written_changes_no_stamp(workspace: Workspace, path: Path) -> None:
    workspace.processed.parent.mkdir(parents=True)
    workspace.processed.write_text("a file where the folder should be")
    assert stamp(workspace, path) == stamp(workspace, path)


@pytest.mark.parametrize(("header", "line"), [("a.mhd", "ElementDataFile = a.raw"), ("a.nhdr", "data file: a.raw")])
def test_voxels_beside_their_header_are_stamped_too(header: str, line: str, workspace: Workspace) -> None:
    path, voxels = workspace.raw / header, workspace.raw / "a.raw"
    path.write_text(f"NDims = 3\n{line}\n")
    voxels.write_bytes(b"1")
    before = stamp(workspace, path)
    rewrite(voxels, b"1", 5)
    assert stamp(workspace, path) == before
    rewrite(voxels, b"2", 5)
    set_time(voxels, 6)
    assert stamp(workspace, path) != before
