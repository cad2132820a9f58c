"""A folder of other people's files: what is in it, and identifiers made of their names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from interactivepet.dataset.layout import refuse_foreign_name
from interactivepet.errors import ManifestError

__all__ = ["list_tree", "make_ids"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def list_tree(folder: Path) -> tuple[Path, ...]:
    """List every visible file below a folder, in the order of the names, through links too.

    Raises:
        ManifestError: the folder is not there, a folder cannot be read, a name is not UTF-8, or a link leads
            nowhere or in a circle.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there is no such folder; name the folder that holds the files")
    real = os.path.realpath(folder)
    return tuple(_walk(folder, real, above=frozenset([real])))


def _walk(folder: Path, real: str, *, above: frozenset[str]) -> Iterator[Path]:
    """Yield the files below `folder`, whose own place is `real`; `above` are the places of the folders around it."""
    for entry in _scan(folder):
        if entry.name.startswith("."):
            continue
        refuse_foreign_name(Path(entry.path))
        if _is(entry, "dir"):
            inner = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)  # noqa: PTH118
            if inner in above:
                raise ManifestError(f"{entry.path} is a link to a folder that holds it; remove the link")
            yield from _walk(Path(entry.path), inner, above=above | {inner})
        elif _is(entry, "file"):
            yield Path(entry.path)
        elif entry.is_symlink():
            raise ManifestError(f"{entry.path} is a link that leads nowhere; restore its target or remove it")


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ManifestError(
            f"{folder}: cannot be read ({error.strerror}); ask for the right to read it, or copy it as its owner"
        ) from error


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:
        # Links in a circle: they lead to neither.
        return False


def make_ids(names: Iterable[str]) -> dict[str, str]:
    """Give name -> identifier of letters, digits, `_` and `-`; accents are dropped.

    Raises:
        ManifestError: a name is there twice, nothing is left of one, or two become one.
    """
    given = list(names)
    ids = {name: _make_id(name) for name in given}
    if twice := sorted({name for name in given if given.count(name) > 1} if len(ids) < len(given) else ()):
        raise ManifestError(
            f"several cases are named {', '.join(map(repr, twice[:5]))}, such as one to train on and one to test; "
            "rename all but one"
        )
    made: dict[str, str] = {}
    for name, case in ids.items():
        # A disk may ignore the case of letters.
        if case.lower() in made:
            raise ManifestError(f"{made[case.lower()]!r} and {name!r} both become the case {case}; rename one of them")
        made[case.lower()] = name
    return ids


def _make_id(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    made = _UNSAFE.sub("_", plain).strip("_-")
    if not made:
        raise ManifestError(f"{name!r} has no letter or digit of ASCII to make a case's identifier of; rename it")
    return made
