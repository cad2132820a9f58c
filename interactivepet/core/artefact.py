"""What every JSON file of the pipeline has in common: a schema, a version and a chain of hashes."""

from __future__ import annotations

import difflib
import hashlib
import json
from functools import cache
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from interactivepet.version import __version__

__all__ = ["Artefact", "Record", "explain_refusal", "hash_text"]


class Record(BaseModel):
    """A part of an artefact: immutable, and refusing fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that older files lack; one that has its default changes no hash."""


class Artefact(Record):
    """A JSON file of the pipeline.

    The chain fingerprint -> plan -> card -> ensemble rule is checked by hashes: an artefact
    carries in `made_from` the `content_hash` of what it was computed from.
    """

    schema_version: int = 1
    """Raised whenever a field changes its meaning."""
    package_version: str = __version__
    """Version of interactivepet that wrote the file."""
    made_from: str = ""
    """`content_hash` of the artefact that this one was computed from; empty at the start of the chain."""

    def content_hash(self) -> str:
        """Hash the content, 16 hexadecimal digits, whoever wrote it and whatever it was made from.

        An artefact that is made again with the same content keeps its hash, so what follows stays valid.
        """
        text = self.model_dump_json(exclude={"package_version": True, "made_from": True} | _find_unset(self))
        return hash_text(text)


def _find_unset(value: object) -> dict[Any, Any]:
    """Find the later fields with their defaults in a record and in the records that it holds.

    Returns:
        What pydantic's `exclude` takes: name of a field, or index or key of an item -> True, or the same of its value.
    """
    if isinstance(value, Record):
        fields = type(value).model_fields
        unset = {
            name: True
            for name in value.later_fields
            if getattr(value, name) == fields[name].get_default(call_default_factory=True)
        }
        items = {name: getattr(value, name) for name in fields if name not in unset and _has_later(type(value), name)}
        return unset | {name: inner for name, item in items.items() if (inner := _find_unset(item))}
    if isinstance(value, tuple | list):
        return {index: inner for index, item in enumerate(value) if (inner := _find_unset(item))}
    if isinstance(value, dict):
        return {key: inner for key, item in value.items() if (inner := _find_unset(item))}
    return {}


@cache
def _has_later(kind: type[Record], name: str) -> bool:
    """Whether the records in a field have later fields; most have none, and need not be looked through."""
    return any(
        issubclass(inner, Record) and (inner.later_fields or any(_has_later(inner, own) for own in inner.model_fields))
        for inner in _list_records(kind.model_fields[name].annotation)
    )


def hash_text(*parts: str) -> str:
    """Hash texts, joined by `|`: the first 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def explain_refusal(error: ValidationError, kind: type[BaseModel], *, content: object) -> str:
    """Say what the first problem of a refused record is; for an unknown key, the nearest known one.

    Args:
        error: of validating against `kind`.
        kind: the record.
        content: what was validated, the text of a JSON file or its objects.
    """
    # a misspelt key is also missed under its right name, which says less
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    field = ".".join(_find_path(first, content)) or "the whole file"
    if first["type"] != "extra_forbidden":
        return f"{field}: {_name_problem(first)}"
    near = difflib.get_close_matches(str(first["loc"][-1]), sorted(_list_names(kind)), n=1)
    return f"{field}: no such key, " + (f"did you mean {near[0]}?" if near else "remove it")


def _name_problem(problem: ErrorDetails) -> str:
    """Say what is wrong with a value, where a record of one of several kinds tells its kind in a field, too."""
    if problem["type"] == "union_tag_not_found":
        return "Field required"
    if problem["type"] == "union_tag_invalid":
        return f"Input should be one of {problem['ctx']['expected_tags']}"
    return problem["msg"].removeprefix("Value error, ")


def _find_path(problem: ErrorDetails, content: object) -> list[str]:
    """Give the keys that lead to a problem as they are in the content.

    Pydantic puts names of its own between them, such as that of the kind of network that it took.
    """
    place: Any = json.loads(content) if isinstance(content, bytes) and problem["loc"] else content
    names = []
    for part in problem["loc"]:
        try:
            place = place[part]
        except (LookupError, TypeError):
            continue
        names.append(str(part))
    if problem["type"] == "missing":
        names.append(str(problem["loc"][-1]))
    if problem["type"].startswith("union_tag_"):
        names.append(problem["ctx"]["discriminator"].strip("'"))
    return names


def _list_names(kind: type[BaseModel]) -> set[str]:
    """List the names of all fields of a record and of the records in it."""
    names = set(kind.model_fields)
    for field in kind.model_fields.values():
        for inner in _list_records(field.annotation):
            names |= _list_names(inner)
    return names


def _list_records(annotation: Any) -> list[type[BaseModel]]:
    """List the records that an annotation such as `tuple[Record, ...] | None` mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [record for part in get_args(annotation) for record in _list_records(part)]
