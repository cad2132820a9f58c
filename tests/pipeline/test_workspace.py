"""Finding a task, and its paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.errors import ManifestError
from interactivepet.pipeline.workspace import Workspace, find_task


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


def test_paths_lie_in_the_three_folders(tmp_path: Path) -> None:
    workspace = Workspace.of("T", raw=tmp_path / "a", processed=tmp_path / "b", results=tmp_path / "c")
    assert workspace.plans == tmp_path / "b" / "T" / "plans.json"
    assert workspace.card("2d", 3) == tmp_path / "c" / "T" / "2d" / "fold_3" / "card.json"
    assert workspace.clicks_folder(test=True) == tmp_path / "a" / "T" / "interactionsTs"
