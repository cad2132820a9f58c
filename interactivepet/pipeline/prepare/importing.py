"""Write imported cases as a task: complete and sound under its name, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from interactivepet.core.dataset import Issue, IssueList
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.layout import PARTIAL_PREFIX
from interactivepet.dataset.validate import WHOLE_TASK
from interactivepet.errors import ManifestError, VerificationError
from interactivepet.pipeline.prepare.importing_cases import write_task
from interactivepet.pipeline.prepare.steps import run_verification
from interactivepet.pipeline.workspace import Workspace, check_task_name

__all__ = ["run_import", "run_verified_import"]

_SHOWN = 3
"""Problems that an error message repeats; the table before it has them all."""


def run_import(
    raw: Path,
    task: str,
    *,
    source: ImportSource,
    executor: Executor,
    overwrite: bool = False,
    test_only: bool = False,
    skip_bad: bool = False,
    check: Callable[[Path], Mapping[str, str]] | None = None,
) -> Path:
    """Import every case into `raw/task`, with `import.json` that says how.

    The task is written inside of a hidden folder and moved to its name when every case is there, so that an error
    or a kill leaves no half-written task; the next run starts over.

    Args:
        raw: folder of the raw tasks.
        task: name of the new task.
        source: what an importer found.
        executor: loads the cases.
        overwrite: replace a task of this name.
        test_only: every case is a test case, with its mask where it has one.
        skip_bad: leave out the cases that cannot be used.
        check: is called with the complete folder before it is moved, and gives the cases to leave out, with reasons;
            it is called again without them. When it raises, nothing is imported.

    Raises:
        ManifestError: the task exists or cannot have this name, there is nothing to import, or nothing to train on.
        CaseError: some cases cannot be used, or with `skip_bad` all of them; the message lists them.
    """
    final, hidden = raw / task, raw / f"{PARTIAL_PREFIX}{task}"
    check_task_name(task)
    replaced = hidden / "replaced"
    if replaced.exists() and not final.exists():
        # A replacement was killed between its two renames: the old task is still whole.
        replaced.rename(final)
    if final.exists() and not overwrite:
        raise ManifestError(f"{final} is there already; choose another name with -t, or replace it with --overwrite")
    source = _divide(source, test_only=test_only)
    if hidden.exists():
        shutil.rmtree(hidden)
    try:
        # The folder has its final name already: the manifest and the stamp of the verification depend on it.
        folder = hidden / task
        write_task(folder, source, executor, skip_bad=skip_bad, check=check)
        if final.exists():
            final.rename(replaced)
        folder.rename(final)
    except BaseException:
        if replaced.exists() and not final.exists():
            replaced.rename(final)
        raise
    finally:
        # a task that could not be put back stays where it is
        if final.exists() or not replaced.exists():
            shutil.rmtree(hidden, ignore_errors=True)
    return final


def run_verified_import(
    workspace: Workspace,
    executor: Executor,
    *,
    source: ImportSource,
    show_issues: Callable[[IssueList], None],
    overwrite: bool = False,
    test_only: bool = False,
    skip_bad: bool = False,
) -> IssueList:
    """Import every case into the workspace's raw folder, if the task that comes of it is sound.

    Args:
        workspace: of the new task; what verification found is written there.
        executor: loads and checks the cases.
        source: what an importer found.
        show_issues: is called with what verification found when that is more than notes.
        overwrite: replace a task of this name.
        test_only: as `run_import`.
        skip_bad: leave out the cases that cannot be used or have problems.

    Returns:
        What verification found: notes at most.

    Raises:
        VerificationError: the task would have problems; `show_issues` was called, nothing was imported.
        ManifestError: as `run_import`.
        CaseError: as `run_import`.
    """
    results: list[IssueList] = []

    def check(folder: Path) -> Mapping[str, str]:
        result = run_verification(replace(workspace, raw=folder), executor)
        bad = {issue.case: _describe(issue) for issue in reversed(result.errors) if issue.case != WHOLE_TASK}
        if skip_bad and bad:
            return bad
        if result.errors:
            show_issues(result)
            raise VerificationError(
                f"{workspace.task}: {len(result.errors)} problems, so nothing was imported:\n"
                + "\n".join(f"{issue.case}: {_describe(issue)}" for issue in result.errors[:_SHOWN])
            )
        results.append(result)
        return {}

    run_import(
        workspace.raw.parent,
        workspace.task,
        source=source,
        executor=executor,
        overwrite=overwrite,
        test_only=test_only,
        skip_bad=skip_bad,
        check=check,
    )
    return results[0]


def _divide(source: ImportSource, *, test_only: bool) -> ImportSource:
    """Divide the cases into training and test cases."""
    if not source.training and not source.test:
        reasons = "".join(f"\n{name}: {reason}" for name, reason in source.left_out.items())
        raise ManifestError(f"no case was found to import{reasons}")
    if test_only:
        return replace(source, training=(), test=(*source.training, *source.test))
    if not source.training:
        raise ManifestError(
            f"{len(source.test)} cases, none of them with a mask, so there is nothing to train on; put the masks "
            "beside them, or import them with --test, to predict them with the model of another task"
        )
    return source


def _describe(issue: Issue) -> str:
    return f"{issue.kind}: {issue.found}; expected {issue.expected}; {issue.remedy}"
