"""The bounds of regions: where the liver begins, and which maxima are of one lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox
from interactivepet.detection.candidates import SHARE, Candidate, make_candidate
from interactivepet.detection.reference import Liver
from interactivepet.detection.rules import Surroundings, Verdict
from interactivepet.detection.scan import Scan, Volume

__all__ = ["join_lesions", "leave_liver"]

JOIN = 0.6
"""Lesions that touch are one when the uptake between them is this share of the lower maximum at least."""

Judged = tuple[Candidate, Verdict]


def leave_liver(candidate: Candidate, scan: Scan, values: Volume, *, liver: Liver) -> Candidate:
    """Bound a region by the uptake of the liver where 41 % of its maximum is less: it would take the liver in.

    Args:
        candidate: the region; one that does not touch the liver, or is no hotter, is given back.
        scan: gives size and volume of voxels.
        values: (X, Y, Z) smoothed uptake.
        liver: of the scan.
    """
    limit = liver.reference.mean + 2.0 * liver.reference.spread
    touches = liver.core[candidate.box.slices][candidate.mask].any()
    if candidate.peak <= limit or not touches:
        return candidate
    kept = candidate.mask & (values[candidate.box.slices] >= max(limit, SHARE * candidate.peak))
    parts, _ = find_components(kept)
    region = parts == parts[candidate.box.offset(candidate.voxel)]
    bright = values >= limit
    return make_candidate(scan, values, bright, box=candidate.box, mask=region, voxel=candidate.voxel)


def join_lesions(judged: Sequence[Judged], around: Surroundings) -> list[Judged]:
    """Join lesions that touch, with little less uptake between them, to one: an uneven tumour has several maxima.

    Args:
        judged: candidates and what they were taken for.
        around: of the scan.

    Returns:
        Lesions first; the others as they are.
    """
    lesions = [pair for pair in judged if pair[1].status == "lesion"]
    others = [pair for pair in judged if pair[1].status != "lesion"]
    return [*(_join(group, around) for group in _group(lesions, around)), *others]


def _join(group: Sequence[Judged], around: Surroundings) -> Judged:
    """Make one lesion of a group."""
    if len(group) == 1:
        return group[0]
    box = reduce(BoundingBox.union, [candidate.box for candidate, _ in group])
    mask = np.zeros(box.shape, np.bool_)
    for candidate, _ in group:
        mask[candidate.box.slices_in(box)] |= candidate.mask
    hottest, verdict = max(group, key=lambda pair: pair[0].peak)
    bright = around.values >= SHARE * hottest.peak
    whole = make_candidate(around.scan, around.values, bright, box=box, mask=mask, voxel=hottest.voxel)
    return whole, replace(verdict, reason=f"{verdict.reason}; {len(group)} maxima in one lesion")


def _group(lesions: Sequence[Judged], around: Surroundings) -> list[list[Judged]]:
    """Group lesions that are connected above `JOIN` times the lower maximum, from the hottest down."""
    groups: list[list[Judged]] = []
    for pair in sorted(lesions, key=lambda pair: -pair[0].peak):
        home = next((group for group in groups if any(_touch(pair[0], other, around) for other, _ in group)), None)
        if home is None:
            groups.append([pair])
        else:
            home.append(pair)
    return groups


def _touch(first: Candidate, second: Candidate, around: Surroundings) -> bool:
    """Whether two maxima are connected above `JOIN` times the lower one within both regions."""
    i, j, k = around.values.shape
    box = first.box.union(second.box)
    if first.box.grown((1, 1, 1), within=(i, j, k)).intersection(second.box) is None:
        return False
    mask = np.zeros(box.shape, np.bool_)
    for candidate in (first, second):
        mask[candidate.box.slices_in(box)] |= candidate.mask
    mask &= around.values[box.slices] >= JOIN * min(first.peak, second.peak)
    parts, _ = find_components(mask)
    return bool(parts[box.offset(first.voxel)] == parts[box.offset(second.voxel)] > 0)
