from __future__ import annotations

import pytest
from pydantic import ValidationError

from interactivepet.core.artefact import hash_text
from interactivepet.core.dataset import Issue, IssueList

ISSUE = Issue(case="A", kind="nan", found="3 voxels", expected="none", remedy="export again")


def test_the_hash_depends_on_the_content_only() -> None:
    first = IssueList(task="Task001", n_cases=2, issues=(ISSUE,), made_from="aa", package_version="0.1")
    second = first.model_copy(update={"made_from": "bb", "package_version": "9.9"})
    assert first.content_hash() == second.content_hash()
    assert len(first.content_hash()) == 16
    assert int(first.content_hash(), 16) >= 0


@pytest.mark.parametrize("change", [{"task": "Task002"}, {"n_cases": 3}, {"issues": ()}, {"schema_version": 2}])
def test_the_hash_changes_with_every_field(change: dict[str, object]) -> None:
    artefact = IssueList(task="Task001", n_cases=2, issues=(ISSUE,))
    assert artefact.model_copy(update=change).content_hash() != artefact.content_hash()


def test_the_hash_survives_json() -> None:
    artefact = IssueList(task="Täsk", n_cases=1, issues=(ISSUE,))
    again = IssueList.model_validate_json(artefact.model_dump_json(indent=2))
    assert again == artefact
    assert again.content_hash() == artefact.content_hash()


def test_artefacts_cannot_be_changed_or_extended() -> None:
    artefact = IssueList(task="Task001", n_cases=1)
    with pytest.raises(ValidationError, match="frozen"):
        artefact.task = "Task002"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        IssueList.model_validate({"task": "Task001", "n_cases": 1, "colour": "red"})
    with pytest.raises(ValidationError, match=r"issues\.0\.colour"):
        IssueList.model_validate({"task": "T", "n_cases": 1, "issues": [{**ISSUE.model_dump(), "colour": "red"}]})


@pytest.mark.parametrize(
    ("parts", "expected"), [((), "e3b0c44298fc1c14"), (("abc",), "ba7816bf8f01cfea"), (("a", "b"), hash_text("a|b"))]
)
def test_texts_are_hashed_as_stored_files_expect(parts: tuple[str, ...], expected: str) -> None:
    assert hash_text(*parts) == expected
