from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interactivepet.core.artefact import Artefact
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.plan import FoldList
from interactivepet.dataset.files.write import write_artefact
from interactivepet.errors import MissingArtefactError, StaleArtefactError
from interactivepet.pipeline.decisions import read_fingerprint, read_folds, read_plans
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.plan import make_plans
from tests.planning.factory import make_fingerprint

FINGERPRINT = make_fingerprint()
Read = Callable[..., Artefact]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of("Task001", raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "out")


@pytest.mark.parametrize(
    ("read", "name", "artefact"),
    [
        (read_fingerprint, "fingerprint", FINGERPRINT.model_copy(update={"made_from": "abc"})),
        (read_folds, "folds", FoldList(task="Task001", seed=0, folds=(), made_from="abc")),
        (read_plans, "plans", make_plans(FINGERPRINT, "cpu").model_copy(update={"made_from": "abc"})),
    ],
)
def test_a_decision_that_is_missing_or_stale_names_the_command_with_its_task(
    workspace: Workspace, read: Read, name: str, artefact: Artefact
) -> None:
    with pytest.raises(MissingArtefactError, match=rf"{name}\.json is not there; .*plan_and_process -t Task001"):
        read(workspace)
    write_artefact(getattr(workspace, name), artefact)
    assert read(workspace) == read(workspace, made_from="abc") == artefact
    with pytest.raises(StaleArtefactError, match="plan_and_process -t Task001"):
        read(workspace, made_from="other")


@pytest.mark.parametrize(("label", "clicks"), [(None, None), ("l.nii.gz", None), ("l.nii.gz", Path("c.json"))])
def test_the_files_of_a_case_end_with_its_clicks(workspace: Workspace, label: str | None, clicks: Path | None) -> None:
    entry = CaseEntry(id="A", images=("a.nii.gz",), label=label)
    names = ["a.nii.gz", *([label] if label else [])]
    assert workspace.image_files(entry) == [workspace.raw / "a.nii.gz"]
    assert workspace.case_files(entry, clicks) == [
        *(workspace.raw / name for name in names),
        *([clicks] if clicks else []),
    ]
