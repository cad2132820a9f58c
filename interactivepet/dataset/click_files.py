"""Which click file belongs to which case, by its name."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from interactivepet.dataset.layout import NIFTI_ENDINGS, refuse_foreign_name

__all__ = [
    "CLICK_FILE_ENDINGS",
    "ClickFiles",
    "find_clicks_file",
    "find_own_clicks",
    "list_visible",
    "match_click_files",
    "warn_of_unused",
]

logger = logging.getLogger(__name__)

CLICK_FILE_ENDINGS = (".mrk.json", ".json", ".fcsv", ".csv", *NIFTI_ENDINGS)
"""Where a case's clicks are looked for, the first that is there being taken."""

_SUFFIX = re.compile(r"([_-]lesion)?[_-](clicks?|points?|interactions?|markups?|fiducials?)$", re.IGNORECASE)
"""What may follow the case in a file's name; anything else may be another case."""
_CHANNEL = "_0000"
"""May follow the case, too: the name of the image that the clicks were placed on."""
_SHOWN = 5
"""Files that are named; of more only the number is told."""


@dataclass(frozen=True, slots=True)
class ClickFiles:
    """The click files of some cases.

    Attributes:
        by_case: case -> its files, the one to take first; only cases that have any.
        unused: file -> why it is no case's.
    """

    by_case: Mapping[str, tuple[Path, ...]]
    unused: Mapping[Path, str]

    def take_first(self) -> tuple[dict[str, Path], dict[Path, str]]:
        """Give case -> the file to take, and file -> why it is not used."""
        taken = {case: paths[0] for case, paths in self.by_case.items()}
        later = {path: case for case, paths in self.by_case.items() for path in paths[1:]}
        return taken, {**self.unused, **{p: f"{taken[case].name} comes first for {case}" for p, case in later.items()}}


def find_clicks_file(folder: Path, case_id: str) -> Path | None:
    """Give the file with a case's clicks in a task's own folder, which has its exact name, or None.

    The first of `CLICK_FILE_ENDINGS` that is there is taken.
    """
    candidates = (folder / f"{case_id}{ending}" for ending in CLICK_FILE_ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def find_own_clicks(folder: Path, cases: Iterable[str]) -> dict[str, Path]:
    """Give case -> its click file in a task's own folder; a warning names the files there that are not used."""
    found = {case: path for case in cases if (path := find_clicks_file(folder, case)) is not None}
    taken = set(found.values())
    reason = f"expected CASE{CLICK_FILE_ENDINGS[0]}, one file per case"
    warn_of_unused({path: reason for path in list_visible(folder) if path not in taken})
    return found


def warn_of_unused(files: Mapping[Path, str]) -> None:
    """Name files that are not used, and why."""
    for path, reason in islice(files.items(), _SHOWN):
        logger.warning("%s is not used: %s", path, reason)
    if len(files) > _SHOWN:
        logger.warning("%d more files are not used", len(files) - _SHOWN)


def list_visible(folder: Path) -> list[Path]:
    """List the files directly in a folder but for hidden ones, by name; none for a folder that is not there."""
    paths = sorted(path for path in folder.glob("[!.]*") if path.is_file())
    for path in paths:
        refuse_foreign_name(path)
    return paths


def match_click_files(paths: Iterable[Path], cases: Collection[str]) -> ClickFiles:
    """Match click files and cases by name: `CASE.json`, `CASE_clicks.fcsv`, `CASE_0000.nii.gz`, `CASE-points.csv`.

    A `CASE_0000.nii.gz` may as well be the case's image, so it is taken only where the case has no other file.
    """
    names = set(cases)
    found: dict[str, list[tuple[int, Path]]] = {}
    unused: dict[Path, str] = {}
    for path in paths:
        rank = next((n for n, end in enumerate(CLICK_FILE_ENDINGS) if path.name.lower().endswith(end)), None)
        if rank is None:
            unused[path] = f"no click file, which ends in {' '.join(CLICK_FILE_ENDINGS)}"
            continue
        stem = path.name[: -len(CLICK_FILE_ENDINGS[rank])]
        case = _find_case(stem, names)
        if case is None:
            unused[path] = "no case has this name"
        else:
            found.setdefault(case, []).append((rank + (0 if stem == case else len(CLICK_FILE_ENDINGS)), path))
    by_case = {case: _drop_images([path for _, path in sorted(files)], unused) for case, files in found.items()}
    return ClickFiles(by_case, unused)


def _find_case(stem: str, cases: Collection[str]) -> str | None:
    """Find the case of a file's stem; its whole name comes before what a suffix leaves of it."""
    bare = _SUFFIX.sub("", stem)
    candidates = (stem, bare, bare.removesuffix(_CHANNEL))
    return next((name for name in candidates if name in cases), None)


def _drop_images(paths: list[Path], unused: dict[Path, str]) -> tuple[Path, ...]:
    """Take what may be images out of several files of one case."""
    images = [path for path in paths if path.name.lower().endswith(tuple(_CHANNEL + e for e in NIFTI_ENDINGS))]
    if len(images) == len(paths):
        return tuple(paths)
    unused.update(dict.fromkeys(images, "the case has another click file, so this may be its image"))
    return tuple(path for path in paths if path not in images)
