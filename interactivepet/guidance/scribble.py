"""A simulated user who draws: one stroke on the slice where most is wrong, as autoPET V simulates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.guidance.click_user import find_errors

__all__ = ["Stroke", "draw_scribble", "draw_stroke", "find_axial_axis"]

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.intp]

Stroke = Literal["centreline", "random", "boundary"]
"""`centreline`: along the skeleton. `random`: a line between two pixels. `boundary`: along a part of the margin."""

TRIMMED_SHARE: Final = 0.1
"""A centreline of more than `TRIMMED_FROM` pixels loses this share at either end."""
TRIMMED_FROM: Final = 10

BOUNDARY_SHARE: Final = 0.2
"""Share of the margin's pixels that a stroke along it passes, at least 2."""

_NEIGHBOURS = tuple((di, dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if (di, dj) != (0, 0))


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """The largest region of one kind of error on any slice: (n, m) bool, and which slice it is."""

    number: int
    mask: Mask
    area: int


def draw_scribble(
    mask: LabelMap,
    reference: LabelMap,
    *,
    geometry: Geometry,
    labels: Sequence[int],
    stroke: Stroke,
    rng: np.random.Generator,
) -> tuple[Click, ...]:
    """Draw one scribble over what is wrong with a mask.

    For what was missed and for what was spilled of each label, the largest connected region of all axial slices is
    drawn over; the longest of these strokes is the scribble, a missed one on a tie.

    Args:
        mask: (I, J, K) uint8 of label values, what the user sees.
        reference: the same, what the user knows.
        geometry: the grid of both; its axis nearest to superior is across the slices.
        labels: values that the user cares for.
        stroke: how it is drawn.
        rng: source of randomness; a centreline needs none.

    Returns:
        A click in RAS+ mm for each voxel of the stroke, all of one label and sign; () for a perfect mask, and where
        the reference holds nothing: autoPET V corrects no case without a lesion.

    Source:
        autoPET V (MICCAI 2026), simulation of scribbles.
    """
    if not reference.any():
        return ()
    axis = find_axial_axis(geometry)
    strokes: list[tuple[int, bool, Pixels]] = []
    for label, is_missed, error in find_errors(mask, reference, labels=labels):
        region = _find_largest_region(error, axis)
        if region is not None:
            pixels = draw_stroke(region.mask, stroke, rng=rng)
            strokes.append((label, is_missed, np.insert(pixels, axis, region.number, axis=1)))
    if not strokes:
        return ()
    label, is_missed, voxels = max(strokes, key=lambda found: (len(found[2]), found[1]))
    return tuple(
        Click(position_mm=(x, y, z), label=label, is_positive=is_missed) for x, y, z in geometry.to_mm(voxels).tolist()
    )


def find_axial_axis(geometry: Geometry) -> int:
    """Give the voxel axis across the axial slices: nearest to superior, or the one of one voxel in a 2D image."""
    if 1 in geometry.shape:
        return geometry.shape.index(1)
    return int(np.abs(geometry.affine[2, :3] / np.asarray(geometry.spacing_mm)).argmax())


def draw_stroke(region: Mask, stroke: Stroke, *, rng: np.random.Generator) -> Pixels:
    """Draw a stroke within a connected region of a slice.

    Args:
        region: (n, m) bool, at least one pixel.
        stroke: how.
        rng: see `draw_scribble`.

    Returns:
        (N, 2) pixels of the region, in no order; all of it where there is too little to draw in.
    """
    if stroke == "centreline":
        found = _draw_centreline(region)
    elif stroke == "random":
        found = _draw_line(region, rng)
    else:
        found = _draw_boundary(region, rng)
    return np.argwhere(region) if len(found) == 0 else found


def _find_largest_region(error: Mask, axis: int) -> _Region | None:
    """Find the largest region, connected through edges and corners of pixels, on any slice; the first on a tie."""
    slices = np.moveaxis(error, axis, 0)
    largest: _Region | None = None
    for number in np.flatnonzero(slices.any(axis=(1, 2))).tolist():
        parts, _ = find_components(np.ascontiguousarray(slices[number]), connectivity=8)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        area = int(sizes.max())
        if largest is None or area > largest.area:
            largest = _Region(number, parts == sizes.argmax(), area)
    return largest


def _draw_centreline(region: Mask) -> Pixels:
    """Follow the skeleton between its two pixels that lie furthest apart, without the ends of a long one."""
    from scipy.spatial.distance import pdist, squareform
    from skimage.graph import route_through_array
    from skimage.morphology import skeletonize

    skeleton = skeletonize(region)
    pixels = np.argwhere(skeleton)
    if len(pixels) < 2:
        return np.empty((0, 2), dtype=np.intp)
    distances = squareform(pdist(pixels))
    first, last = np.unravel_index(int(distances.argmax()), distances.shape)
    costs = np.where(skeleton, 1.0, -1.0)  # what is negative is never passed
    path, _ = route_through_array(costs, tuple(pixels[first]), tuple(pixels[last]), fully_connected=True)
    if len(path) > TRIMMED_FROM:
        path = path[int(len(path) * TRIMMED_SHARE) : int(len(path) * (1 - TRIMMED_SHARE))]
    return np.array(path, dtype=np.intp)


def _draw_line(region: Mask, rng: np.random.Generator) -> Pixels:
    """Draw a straight line between two pixels of the region, where it lies inside."""
    from skimage.draw import line

    (i0, j0), (i1, j1) = rng.choice(np.argwhere(region), size=2).tolist()
    pixels = np.stack(line(i0, j0, i1, j1), axis=1)
    inside: Pixels = pixels[region[tuple(pixels.T)]]
    return inside


def _draw_boundary(region: Mask, rng: np.random.Generator) -> Pixels:
    """Walk along the region's own margin from a pixel drawn at random, never over a pixel twice."""
    from skimage.segmentation import find_boundaries

    margin = {(int(i), int(j)) for i, j in np.argwhere(find_boundaries(np.pad(region, 1), mode="inner")) - 1}
    if len(margin) < 2:
        return np.empty((0, 2), dtype=np.intp)
    i, j = sorted(margin)[int(rng.integers(len(margin)))]
    path = [(i, j)]
    for _ in range(max(2, int(BOUNDARY_SHARE * len(margin)))):
        here = path[-1]
        steps = [(here[0] + di, here[1] + dj) for di, dj in _NEIGHBOURS]
        onward = [pixel for pixel in steps if pixel in margin and pixel not in path]
        if not onward:
            break
        path.append(onward[0])
    return np.array(path, dtype=np.intp)
