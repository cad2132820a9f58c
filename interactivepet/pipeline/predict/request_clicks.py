"""The click files of images to predict."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from interactivepet.core.dataset import CaseEntry
from interactivepet.dataset.click_files import CLICK_FILE_ENDINGS, list_visible, match_click_files, warn_of_unused
from interactivepet.dataset.interactions import has_points
from interactivepet.errors import InteractionError

__all__ = ["find_clicks"]

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Cases that a message names."""


def find_clicks(source: Path, entries: Sequence[CaseEntry]) -> dict[str, Path]:
    """Find the click files of cases, and name the files of a folder that are not used.

    Args:
        source: the click file of the only case, or a folder.
        entries: the cases.

    Returns:
        Case -> its click file.

    Raises:
        InteractionError: there is no click for any of the cases.
    """
    if source.is_file():
        clicks = {entries[0].id: source}
        if not source.name.lower().endswith(CLICK_FILE_ENDINGS):
            known = ", ".join(CLICK_FILE_ENDINGS)
            raise InteractionError(f"{source}: no click file, expected one of {known}; convert it, or leave -in out")
    else:
        clicks, unused = match_click_files(list_visible(source), {entry.id for entry in entries}).take_first()
        warn_of_unused(unused)
    _refuse_no_clicks(clicks, source, entries)
    return clicks


def _refuse_no_clicks(clicks: Mapping[str, Path], source: Path, entries: Sequence[CaseEntry]) -> None:
    """Refuse click files without a click for any case, and name those that hold none."""
    empty = {case for case, path in clicks.items() if not has_points(path)}
    if len(empty) == len(clicks):
        names = ", ".join(entry.id for entry in entries[:_SHOWN])
        held = f"{len(empty)} files without a point" if empty else "no click file"
        raise InteractionError(
            f"{source}: {held} for the {len(entries)} images, expected CASE.mrk.json, .json, .fcsv, .csv or .nii.gz "
            f"for {names}{' ...' if len(entries) > _SHOWN else ''}; rename the files after the images, or leave -in out"
        )
    for case in sorted(empty):
        logger.warning("%s: %s holds no point, so the case is predicted without clicks", case, clicks[case])
