"""What new clicks change: the windows that are predicted again, how they blend in, how far they reach."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import invert
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, SpatialTrace, to_triple
from interactivepet.core.interaction import Click

__all__ = ["Window", "find_scanner_box", "find_windows", "make_shares"]

BORDER_SIGMAS = 4.0
"""Standard deviations of the Gaussian weight from a window's core to its border, as in a tile of the sliding window."""

HALF_SIGMAS = 3.0
"""Where a new prediction weighs as much as the earlier one. Further in the new one wins soon (0.92 at two standard
deviations): it knows the click."""

GUIDED_SCALES = 2.0
"""How far a slice may be from a click to be predicted again: there the guidance has fallen to 0.14."""

FloatVolume = npt.NDArray[np.float32]

Window = tuple[BoundingBox, BoundingBox]
"""What is predicted at once, and its core: the box of the clicks that it is for."""


def find_windows(clicks: Sequence[Click], grid: Geometry, *, patch: Shape, scale_mm: float) -> list[Window]:
    """Find boxes of at least a patch around clicks, the clicks in the middle as far as the grid allows.

    Clicks within half a patch of each other, directly or through others, share a window: the margin points of one
    object, or a scribble. An axis along which the patch is one voxel, that across the slices of a 2D network, is
    predicted as far as `GUIDED_SCALES` of the guidance.

    Args:
        clicks: in RAS+ mm; those outside of the grid count at its border.
        grid: of the network.
        patch: the network's.
        scale_mm: of the guidance.
    """
    room = to_triple(
        edge // 4 if edge > 1 else int(np.ceil(GUIDED_SCALES * scale_mm / mm))
        for edge, mm in zip(patch, grid.spacing_mm, strict=True)
    )
    cores: list[BoundingBox] = []
    for click in clicks:
        core = BoundingBox.of_voxel(grid.find_voxel(click.position_mm))
        reach = core.grown(room, within=grid.shape)
        near = [other for other in cores if reach.intersection(other.grown(room, within=grid.shape))]
        cores = [other for other in cores if other not in near]
        cores.append(reduce(BoundingBox.union, near, core))
    return [(core.grown(room, within=grid.shape).widened(patch, within=grid.shape), core) for core in cores]


def make_shares(window: Window, shape: Shape) -> FloatVolume:
    """Make the share (I, J, K) in [0, 1] that a window's prediction has beside the earlier one.

    Along each axis the weight is 1 in the core and falls to the window's border as a Gaussian; towards a border
    of the grid it does not fall, as there is no seam. The share is weight / (weight + weight at `HALF_SIGMAS`), less
    what would be left at the border.

    Args:
        window: box and core.
        shape: of the grid.
    """
    box, core = window
    weights = np.ones(box.shape)
    for axis, profile in enumerate(_make_profile(box, core, shape, axis=axis) for axis in range(3)):
        weights *= np.expand_dims(profile, [a for a in range(3) if a != axis])
    weights = np.maximum(weights - np.exp(-0.5 * BORDER_SIGMAS**2), 0.0)
    return np.asarray(weights / (weights + np.exp(-0.5 * HALF_SIGMAS**2)), np.float32)


def find_scanner_box(box: BoundingBox, trace: SpatialTrace) -> BoundingBox:
    """Find the voxels of the scanner's grid that depend on a box of the network's grid."""
    axes = trace.axes
    crop = trace.crop.permuted(axes)
    edges = []
    for a, b, old, new in zip(box.start, box.stop, trace.resampled.shape, crop.shape, strict=True):
        ratio = new / old
        first, last = int(np.floor((a - 0.5) * ratio - 0.5)), int(np.ceil((b + 0.5) * ratio - 0.5))
        edges.append((max(0, first), min(new, last + 1)))
    moved = [(a + s, b + s) for (a, b), s in zip(edges, crop.start, strict=True)]
    return BoundingBox(to_triple(a for a, _ in moved), to_triple(b for _, b in moved)).permuted(invert(axes))


def _make_profile(box: BoundingBox, core: BoundingBox, shape: Shape, *, axis: int) -> npt.NDArray[np.float64]:
    start, stop = box.start[axis], box.stop[axis]
    first, last = core.start[axis], core.stop[axis] - 1
    place = np.arange(start, stop)
    # from the core to the first voxel beyond the window; never reached where the window ends with the grid
    below = np.inf if start == 0 else first - start + 1
    above = np.inf if stop == shape[axis] else stop - last
    distance = np.maximum(first - place, 0) / below + np.maximum(place - last, 0) / above
    return np.asarray(np.exp(-0.5 * (BORDER_SIGMAS * distance) ** 2))
