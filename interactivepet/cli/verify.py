"""`interactivepet_verify`: find every problem of every case before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_processes, add_task, make_parser, open_workspace, report_errors
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.dataset import IssueList

__all__ = ["main", "print_issues"]

SHOWN = 3
"""Cases of one note that are named; of more only the number is told."""


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 1 when there is more than notes."""
    parser = make_parser("verify", "Check every file of a task and list all problems.")
    add_task(parser)
    add_processes(parser)
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.prepare.steps import run_verification
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        result = run_verification(workspace, executor)
    print_issues(result)
    return 1 if result.errors else 0


def print_issues(result: IssueList) -> None:
    """Show what verification found; notes that say the same of several cases share a row."""
    if not result.issues:
        print(f"{result.task}: {result.n_cases} cases, no problem found")
        return
    n_errors = len(result.errors)
    notes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for i in result.issues:
        if i.severity == "note":
            notes[f"{i.kind} (note)", i.found, i.expected, i.remedy].append(i.case)
    print_table(
        f"{result.task}: {n_errors} problems and {len(result.issues) - n_errors} notes in {result.n_cases} cases",
        ["case", "kind", "found", "expected", "remedy"],
        [
            *((i.case, i.kind, i.found, i.expected, i.remedy) for i in result.errors),
            *((_join(cases), *texts) for texts, cases in notes.items()),
        ],
    )


def _join(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return f"{', '.join(cases[:SHOWN])}{more}"
