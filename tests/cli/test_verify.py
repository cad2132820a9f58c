"""The table that verification prints."""

from __future__ import annotations

import pytest

from interactivepet.cli.verify import print_issues
from interactivepet.core.dataset import Issue, IssueList, Severity


def make_issue(case: str, *, kind: str = "label-empty", found: str = "none", severity: Severity = "note") -> Issue:
    return Issue(case=case, kind=kind, found=found, expected="one", remedy="draw it", severity=severity)


HEALTHY = tuple(make_issue(f"c{number:02d}") for number in range(40))


@pytest.mark.parametrize(
    ("issues", "rows"),
    [
        (HEALTHY, ["c00, c01, c02 and 37 more"]),
        (HEALTHY[:3], ["c00, c01, c02"]),
        (HEALTHY[:1], ["c00"]),
        ((*HEALTHY, make_issue("b", found="other")), ["c00, c01, c02 and 37 more", "b"]),
        ((HEALTHY[0], make_issue("c00", severity="error"), make_issue("c01", severity="error")), ["c00", "c01", "c00"]),
    ],
)
def test_notes_that_say_the_same_share_a_row(
    issues: tuple[Issue, ...], rows: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_issues(IssueList(task="T", n_cases=50, issues=issues))
    shown = capsys.readouterr().out
    n_errors = sum(issue.severity == "error" for issue in issues)
    assert f"{n_errors} problems and {len(issues) - n_errors} notes in 50 cases" in shown
    found = [line for line in shown.splitlines() if "draw it" in line]
    assert [line.strip("│ ").split("│")[0].strip() for line in found] == rows
