"""Change the number of voxels along each axis while the outer faces of the grid stay where they are.

Splines on a regular grid are separable: an axis at a time, each a product with a small matrix. That is as exact as
evaluating them voxel by voxel, several times faster, and done in slabs it takes hardly any memory beside its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Shape, Spacing, to_triple

__all__ = ["CUBIC", "LINEAR", "SPACING_TOLERANCE", "find_target_shape", "resample", "resample_box", "resample_label"]

SplineOrder = Literal[1, 3]

CUBIC: Final = 3
"""Spline order for images (nnU-Net): sharp, and clipped afterwards to the values that were there."""

LINEAR: Final = 1
"""Spline order for probabilities: stays within [0, 1] and keeps sums at 1."""

SPACING_TOLERANCE = 1e-3
"""Relative difference of spacings below which a grid is left as it is."""

SMALLEST_WEIGHT = 1e-9
"""A cubic spline reaches over the whole axis, but what weighs less than this is far below float32."""

TIE_TOLERANCE = 1e-5
"""Shares that differ by less are equal: rounding must not decide."""

SLAB = 32
"""Planes of the result that are computed at a time."""

FloatVolume = npt.NDArray[np.float32]


def find_target_shape(shape: Shape, spacing_mm: Spacing, *, target_mm: Spacing) -> Shape:
    """Give the shape that comes nearest to the target spacing.

    An axis that already has it, or that has one voxel (a 2D image), keeps its length.
    """
    edges = [
        n if n == 1 or abs(mm / new - 1.0) <= SPACING_TOLERANCE else max(1, round(n * mm / new))
        for n, mm, new in zip(shape, spacing_mm, target_mm, strict=True)
    ]
    return to_triple(edges)


def resample(volume: FloatVolume, shape: Shape, *, order: SplineOrder, out: FloatVolume | None = None) -> FloatVolume:
    """Resample each leading channel by splines with edge values continued.

    Args:
        volume: (C, I, J, K).
        shape: the new (I, J, K).
        order: `CUBIC` or `LINEAR`.
        out: (C, *shape) to write into, such as a box of a larger array; None makes a new one.

    Returns:
        (C, *shape) float32 within the range of each channel's input: `out` where it was given, and without it
        the input itself when nothing changes.
    """
    if volume.shape[1:] == shape and out is None:
        return volume
    result = np.empty((volume.shape[0], *shape), np.float32) if out is None else out
    slabs = list(_plan_slabs((volume.shape[1], volume.shape[2], volume.shape[3]), shape, order=order))
    for channel, values in enumerate(volume):
        low, high = (values.min(), values.max()) if order > LINEAR else (None, None)
        for slab in slabs:
            planes = slab.apply(values[slab.source.slices])
            result[channel, slab.target] = planes if low is None else np.clip(planes, low, high, out=planes)
    return result


def resample_box(
    read: Callable[[BoundingBox], FloatVolume], old: Shape, *, new: Shape, box: BoundingBox, out: FloatVolume
) -> None:
    """Resample a box of a volume linearly, as `resample` does all of it.

    Args:
        read: gives the voxels (C, *box.shape) of a box of the volume.
        old: shape (I, J, K) of the volume.
        new: shape that all of it would be resampled to.
        box: of the new grid.
        out: (C, *box.shape) float32 to write into.
    """
    for slab in _plan_slabs(old, new, order=LINEAR, box=box):
        for values, target in zip(read(slab.source), out, strict=True):
            target[slab.target] = slab.apply(values)


def resample_label(label: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """Resample a label (I, J, K): each value's indicator linearly, then the likeliest value a voxel.

    Nearest-neighbour sampling would shift borders by up to half a voxel and drop thin structures. An object that is
    too small for the new grid keeps the voxel in which most of it lies: a lesion that vanished would make its case one
    without lesions, and its clicks would point at nothing.
    """
    if label.shape == shape:
        return label
    out = np.zeros(shape, np.uint8)
    for slab in _plan_slabs(to_triple(label.shape), shape, order=LINEAR):
        source = label[slab.source.slices]
        best = np.full((slab.target.stop - slab.target.start, *shape[1:]), -1.0, np.float32)
        values = np.unique(source)
        for value in values if values.any() else ():
            share = slab.apply((source == value).astype(np.float32))
            # on a tie the label wins over the background, or thin structures would vanish when an axis is halved
            wins = share >= best - TIE_TOLERANCE
            out[slab.target][wins] = value
            np.maximum(best, share, out=best)
    _keep_small(label, out)
    return out


def _keep_small(label: npt.NDArray[np.uint8], resampled: npt.NDArray[np.uint8]) -> None:
    """Mark a voxel of `resampled` for every object of `label` that is nowhere in it."""
    scale = np.asarray(resampled.shape) / label.shape
    if (scale >= 1).all():
        return
    components, n = find_components(label)
    n_found = np.zeros(n + 1)
    # plane by plane: organs have many voxels
    for i, plane in enumerate(components):
        j, k = np.nonzero(plane)
        to_j, to_k = (((old + 0.5) * share).astype(np.intp) for old, share in ((j, scale[1]), (k, scale[2])))
        is_there = resampled[int((i + 0.5) * scale[0])][to_j, to_k] == label[i][j, k]
        n_found += np.bincount(plane[j, k], weights=is_there, minlength=n + 1)
    is_lost = n_found == 0
    is_lost[0] = False
    if not is_lost.any():
        return
    old = np.argwhere(is_lost[components])
    order = np.argsort(components[tuple(old.T)], kind="stable")
    old, numbers = old[order], components[tuple(old[order].T)]
    for own in np.split(old, np.flatnonzero(np.diff(numbers)) + 1):
        places, counts = np.unique(((own + 0.5) * scale).astype(np.intp), axis=0, return_counts=True)
        voxel = tuple(places[counts.argmax()])
        if resampled[voxel] == 0:
            resampled[voxel] = label[tuple(own[0])]


@dataclass(frozen=True, slots=True, eq=False)
class _Slab:
    """Some planes of the result, and what they are made of.

    Attributes:
        source: box of the input.
        target: planes of the result along axis i.
        weights: float32 (new, old) along i (these planes alone), j and k; None leaves an axis as it is.
    """

    source: BoundingBox
    target: slice
    weights: tuple[FloatVolume | None, FloatVolume | None, FloatVolume | None]

    def apply(self, planes: FloatVolume) -> FloatVolume:
        """Give a new array of the target's planes."""
        along_i, along_j, along_k = self.weights
        result = planes
        if along_i is not None:
            result = (along_i @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:])
        if along_j is not None:
            result = np.matmul(along_j, result)
        if along_k is not None:
            result = np.matmul(result, along_k.T)
        return result.copy() if result is planes else result


def _plan_slabs(old: Shape, new: Shape, *, order: SplineOrder, box: BoundingBox | None = None) -> Iterator[_Slab]:
    """Plan a resampled volume, or a box of it, in slabs along axis i; planes are counted from the box's first one."""
    box = box or BoundingBox((0, 0, 0), new)
    j, k = (_find_source(old[n], new[n], order, start=box.start[n], stop=box.stop[n]) for n in (1, 2))
    for start in range(box.start[0], box.stop[0], SLAB):
        stop = min(start + SLAB, box.stop[0])
        i = _find_source(old[0], new[0], order, start=start, stop=stop)
        source = BoundingBox((i[0], j[0], k[0]), (i[1], j[1], k[1]))
        target = slice(start - box.start[0], stop - box.start[0])
        yield _Slab(source, target, (i[2], j[2], k[2]))


def _find_source(
    old: int, new: int, order: SplineOrder, *, start: int, stop: int
) -> tuple[int, int, FloatVolume | None]:
    """Give the first and last + 1 of the voxels that `start` to `stop` of the result are made of, and their weights."""
    if old == new:
        return start, stop, None
    weights = _make_weights(old, new, order=order)[start:stop]
    if len(weights) == new:
        return 0, old, weights
    used = np.flatnonzero((weights != 0).any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    return first, last, weights[:, first:last]


@lru_cache(maxsize=16)
def _make_weights(old: int, new: int, *, order: SplineOrder) -> FloatVolume:
    """Give the matrix (new, old) that resamples a line: what the spline makes of each unit vector."""
    from scipy import ndimage

    weights = ndimage.zoom(np.eye(old), (new / old, 1), order=order, mode="nearest", grid_mode=True)
    weights[np.abs(weights) < SMALLEST_WEIGHT] = 0.0
    return np.asarray(weights, np.float32)
