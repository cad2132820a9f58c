"""A folder of other people's files: what is in it, and identifiers made of their names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from interactivepet.dataset.layout import refuse_foreign_name
from interactivepet.errors import ManifestError

__all__ = ["list_tree", "make_ids"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def list_tree(folder: Path, *, with_broken: bool = False) -> tuple[Path, ...]:
    """List every visible file below a folder, in the order of the names, through links too.

    Args:
        folder: any.
        with_broken: list links that lead nowhere as files, so that the cases which need them can be named.

    Raises:
        ManifestError: the folder is not there, a folder cannot be read, a name is not UTF-8, or a link leads
            nowhere or in a circle.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there is no such folder; name the folder that holds the files")
    real = os.path.realpath(folder)
    return tuple(_walk(folder, real, above=frozenset([real]), with_broken=with_broken))


def _walk(folder: Path, real: str, *, above: frozenset[str], with_broken: bool) -> Iterator[Path]:
    """Yield the files below `folder`, whose own place is `real`; `above` are the places of the folders around it."""
    for entry in _scan(folder):
        if entry.name.startswith("."):
            continue
        refuse_foreign_name(Path(entry.path))
        if _is(entry, "dir"):
            inner = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)  # noqa: PTH118
            if inner in above:
                raise ManifestError(f"{entry.path} is a link to a folder that holds it; remove the link")
            yield from _walk(Path(entry.path), inner, above=above | {inner}, with_broken=with_broken)
        elif _is(entry, "file") or (with_broken and entry.is_symlink()):
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


def make_ids(names: Iterable[str], *, flaws: dict[str, str] | None = None) -> dict[str, str]:
    """Give name -> identifier of letters, digits, `_` and `-`; accents are dropped.

    Args:
        names: of the cases.
        flaws: takes the names that have no identifier of their own, with the reason; without it the first is an error.

    Raises:
        ManifestError: a name is there twice, nothing is left of one, or two become one.
    """
    given = list(names)
    found: dict[str, str] = {}
    ids: dict[str, str] = {}
    # A disk may ignore the case of letters.
    by_id: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(given):
        ids[name] = _make_id(name)
        by_id[ids[name].lower()].append(name)
        if not ids[name]:
            found[name] = f"{name!r} has no letter or digit of ASCII to make a case's identifier of; rename it"
        elif given.count(name) > 1:
            found[name] = (
                f"several cases are named {name!r}, such as one to train on and one to test; rename all but one"
            )
    for alike in by_id.values():
        if len(alike) > 1:
            both = " and ".join(map(repr, alike[:2]))
            reason = f"{both} both become the case {ids[alike[1]]}; rename one of them"
            found = dict.fromkeys(alike, reason) | found
    if found and flaws is None:
        raise ManifestError(next(iter(found.values())))
    if flaws is not None:
        flaws |= found
    return {name: case for name, case in ids.items() if name not in found}


def _make_id(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("_", plain).strip("_-")
