"""A simulated user: looks at the mask, finds its largest error and clicks on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Geometry, to_triple
from interactivepet.core.interaction import Click
from interactivepet.guidance.objects import LabelObject, find_depth_mm

__all__ = ["NOISE_MM", "Aim", "ErrorObject", "find_errors", "find_largest_error", "place_click", "take_first"]

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

Aim = Literal["perfect", "noisy", "hurried"]
"""`perfect`: the deepest voxel of the error. `noisy`: near it. `hurried`: any voxel of the error."""

NOISE_MM = 3.0
"""Standard deviation along each axis of where a noisy user clicks."""

_TRIES = 20
"""Draws until a noisy click says what it should; after these it stays where it was meant."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorObject:
    """One connected component of what is wrong about one label.

    Attributes:
        label: that was missed or spilled.
        is_missed: the mask lacks the label there; otherwise it has it wrongly.
        item: the component, with one voxel around it.
        n_voxels: its size.
    """

    label: int
    is_missed: bool
    item: LabelObject
    n_voxels: int


def find_errors(mask: LabelMap, reference: LabelMap, *, labels: Sequence[int]) -> Iterator[tuple[int, bool, Mask]]:
    """Give for each label what was missed of it and what was spilled.

    Args:
        mask: (I, J, K) uint8 of label values.
        reference: the same, of the same shape.
        labels: values to look at.

    Yields:
        Label, whether it was missed, and (I, J, K) bool where. A voxel with a wrong label is in two of them.
    """
    for label in labels:
        found, wanted = mask == label, reference == label
        yield label, True, wanted & ~found
        yield label, False, found & ~wanted


def find_largest_error(mask: LabelMap, reference: LabelMap, *, labels: Sequence[int]) -> ErrorObject | None:
    """Find the largest connected component (faces, edges and corners) of all errors; None for a perfect mask.

    Among components of one size, what was missed comes first, and the label that comes first.
    """
    largest: ErrorObject | None = None
    for label, is_missed, error in find_errors(mask, reference, labels=labels):
        tight = BoundingBox.of(error)
        if tight is None:
            continue
        # One voxel around, where the grid has it, keeps 2D images apart from errors of one slice.
        box = tight.grown((1, 1, 1), within=to_triple(mask.shape))
        components, _ = find_components(error[box.slices])
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        n_voxels = int(sizes.max())
        if largest is None or (n_voxels, is_missed) > (largest.n_voxels, largest.is_missed):
            largest = ErrorObject(label, is_missed, LabelObject(box, components == sizes.argmax()), n_voxels)
    return largest


def place_click(
    mask: LabelMap,
    reference: LabelMap,
    *,
    geometry: Geometry,
    labels: Sequence[int],
    aim: Aim,
    rng: np.random.Generator,
) -> Click | None:
    """Click on the largest error: positive where a label was missed, negative where it spilled.

    Args:
        mask: (I, J, K) uint8 of label values, what the user sees.
        reference: the same, what the user knows.
        geometry: the grid of both.
        labels: values that the user cares for.
        aim: how well the user clicks. Depth is the distance in mm to the nearest voxel outside of the error.
        rng: source of randomness; a perfect user needs none.

    Returns:
        A click in RAS+ mm, whose voxel is always an error of that kind; None when there is none.
    """
    error = find_largest_error(mask, reference, labels=labels)
    if error is None:
        return None
    voxel = rng.choice(np.argwhere(error.item.mask)) if aim == "hurried" else _find_deepest(error.item, geometry)
    index = np.asarray(voxel + np.asarray(error.item.box.start), dtype=np.float64)
    if aim == "noisy":
        wanted, found = reference == error.label, mask == error.label
        allowed = wanted & ~found if error.is_missed else found & ~wanted
        index = _displace(index, allowed, geometry=geometry, rng=rng)
    x, y, z = geometry.to_mm(index).tolist()
    return Click(position_mm=(x, y, z), label=error.label, is_positive=error.is_missed)


def take_first(clicks: Sequence[Click], n: int) -> tuple[Click, ...]:
    """Take the first `n` positive and the first `n` negative clicks of each label, in their order.

    That is what step `n` of autoPET IV (MICCAI 2025) sees of the clicks placed beforehand: one more of each sign.
    """
    taken: list[Click] = []
    seen: Counter[tuple[int, bool]] = Counter()
    for click in clicks:
        kind = (click.label, click.is_positive)
        seen[kind] += 1
        if seen[kind] <= n:
            taken.append(click)
    return tuple(taken)


def _find_deepest(item: LabelObject, geometry: Geometry) -> npt.NDArray[np.intp]:
    """Find the voxel (3,) of an object's box that lies furthest inside; of several, the one nearest to their centre."""
    depth = find_depth_mm(item.mask, spacing_mm=geometry.spacing_mm)
    deepest = np.argwhere(depth == depth.max())
    offset_mm = (deepest - deepest.mean(axis=0)) * np.asarray(geometry.spacing_mm)
    nearest: npt.NDArray[np.intp] = deepest[int(np.square(offset_mm).sum(axis=1).argmin())]
    return nearest


def _displace(index: FloatArray, allowed: Mask, *, geometry: Geometry, rng: np.random.Generator) -> FloatArray:
    """Add noise to a voxel index (3,) so that the nearest voxel is still one of `allowed`."""
    steps = rng.normal(scale=NOISE_MM, size=(_TRIES, 3)) / np.asarray(geometry.spacing_mm)
    # A 2D image has no depth to err in.
    moved = index + steps * (np.asarray(allowed.shape) > 1)
    voxels = np.rint(moved).astype(np.intp)
    is_inside = np.all((voxels >= 0) & (voxels < allowed.shape), axis=1)
    kept = [point for point, voxel in zip(moved[is_inside], voxels[is_inside], strict=True) if allowed[tuple(voxel)]]
    return kept[0] if kept else index
