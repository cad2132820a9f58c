"""What planning decided for a task, read from its files: fingerprint, folds and plans."""

from __future__ import annotations

from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import FoldList, Plans
from interactivepet.dataset.files.write import read_artefact
from interactivepet.pipeline.workspace import Workspace

__all__ = ["read_fingerprint", "read_folds", "read_plans"]

_COMMAND = "interactivepet_plan_and_process -t "
"""Makes all of them, once the task's name follows."""


def read_fingerprint(workspace: Workspace, *, made_from: str | None = None) -> Fingerprint:
    """Read the task in numbers; `made_from` and what is raised are those of `read_artefact`."""
    return read_artefact(workspace.fingerprint, Fingerprint, command=_COMMAND + workspace.task, made_from=made_from)


def read_folds(workspace: Workspace, *, made_from: str | None = None) -> FoldList:
    """Read which case is in which fold; `made_from` and what is raised are those of `read_artefact`."""
    return read_artefact(workspace.folds, FoldList, command=_COMMAND + workspace.task, made_from=made_from)


def read_plans(workspace: Workspace, *, made_from: str | None = None) -> Plans:
    """Read the plans of all configurations; `made_from` and what is raised are those of `read_artefact`."""
    return read_artefact(workspace.plans, Plans, command=_COMMAND + workspace.task, made_from=made_from)
