"""Names of the labels of masks that nobody names: from their values, their volumes or their segments."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from interactivepet.dataset.files.read import read_header, read_volume, to_labels
from interactivepet.dataset.folders.mask_files import MaskFile
from interactivepet.dataset.folders.segments import Segment, name_segments, read_segments
from interactivepet.errors import CaseError, ManifestError

__all__ = ["DEFAULT_LABEL", "name_labels"]

logger = logging.getLogger(__name__)

DEFAULT_LABEL = "lesion"
"""Name of the only label when nobody names it."""
_LARGEST_SAMPLE = 100
"""Masks that are read to find the values in use; a value that only others hold is refused when they are read."""


def name_labels(files: Iterable[MaskFile], *, names: Sequence[str]) -> tuple[str, ...]:
    """Name the labels of masks that hold the labels' values, one volume per label, or named segments.

    Args:
        files: of all cases.
        names: what the user named; when nothing, the headers tell, and the voxels of a hundred masks at most.

    Raises:
        ManifestError: the values are not 1 ... L, or only some of the files name their segments.
    """
    if names:
        return tuple(names)
    paths = [file.path for file in files]
    segments = {path: found for path in paths if (found := _find_segments(path))}
    if segments:
        return _name_by_segments(paths, segments)
    step = max(1, -(-len(paths) // _LARGEST_SAMPLE))
    values: dict[float, Path] = {}
    for path in paths[::step]:
        values |= {value: path for value in _find_values(path) if value not in values}
    used = sorted(values)
    if len(used) < 2:
        return (DEFAULT_LABEL,)
    if used != list(range(1, len(used) + 1)):
        raise ManifestError(
            f"{values[used[-1]]}: the masks hold {', '.join(f'{value:g}' for value in used)}, expected 1, 2, ... "
            "without a gap; renumber them, or name every label up to the largest value with -l"
        )
    return tuple(f"label_{value:g}" for value in used)


def _name_by_segments(paths: Sequence[Path], segments: dict[Path, tuple[Segment, ...]]) -> tuple[str, ...]:
    bare = [path for path in paths if path not in segments]
    if bare:
        raise ManifestError(
            f"{bare[0]}: its header names no segments, as {len(segments)} other masks do; name the labels with -l in "
            "the order of the values"
        )
    every = [segment for found in segments.values() for segment in found]
    names = name_segments(every)
    return (DEFAULT_LABEL,) if len(names) == 1 and every[0].is_automatic else names


def _find_segments(path: Path) -> tuple[Segment, ...]:
    try:
        return read_segments(path)
    except CaseError as error:
        # The import of its case names the file; here it only has no say.
        logger.debug("no segments: %s", error)
        return ()


def _find_values(path: Path) -> list[float]:
    try:
        n_volumes = read_header(path).n_channels
        if n_volumes > 1:
            return [float(number) for number in range(1, n_volumes + 1)]
        volume = read_volume(path)
    except CaseError as error:
        logger.debug("no label values: %s", error)
        return []
    try:
        found = np.unique(to_labels(path, volume))
    except CaseError as error:
        logger.debug("no label values: %s", error)
        found = np.unique(volume.values)
        if np.count_nonzero(found) > 1 or (found % 1).any():
            return []
    return [float(value) for value in found if value]
