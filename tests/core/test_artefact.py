from __future__ import annotations

import json
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from interactivepet.core.artefact import Artefact, Record, hash_text
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


class Part(Record):
    later_fields: ClassVar[frozenset[str]] = frozenset({"added"})

    name: str
    added: float | None = None


class Plain(Record):
    value: int = 0


class Whole(Artefact):
    later_fields: ClassVar[frozenset[str]] = frozenset({"extra"})

    parts: tuple[Part, ...] = ()
    named: dict[str, Part] = Field(default_factory=dict)
    one: Part | None = None
    plain: Plain = Plain()
    extra: int = 0


OLD = Whole(parts=(Part(name="a"), Part(name="b")), named={"c": Part(name="c")}, one=Part(name="d"))


def test_later_fields_with_their_defaults_change_no_hash_wherever_they_are() -> None:
    written = {
        "schema_version": 1,
        "parts": [{"name": "a"}, {"name": "b"}],
        "named": {"c": {"name": "c"}},
        "one": {"name": "d"},
        "plain": {"value": 0},
    }
    assert OLD.content_hash() == hash_text(json.dumps(written, separators=(",", ":")))
    assert Whole.model_validate(written) == OLD


@pytest.mark.parametrize(
    "change",
    [
        {"parts": (Part(name="a"), Part(name="b", added=0.0))},
        {"named": {"c": Part(name="c", added=1.0)}},
        {"one": Part(name="d", added=1.0)},
        {"plain": Plain(value=1)},
        {"extra": 1},
    ],
)
def test_later_fields_with_a_value_change_the_hash(change: dict[str, object]) -> None:
    assert OLD.model_copy(update=change).content_hash() != OLD.content_hash()
