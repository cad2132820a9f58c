"""Draw what nnInteractive's sessions see for a point, a box, a lasso or a scribble."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["CHANNELS", "KINDS", "Kind", "draw_shape", "make_ball"]

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Voxel = tuple[int, int, int]

Kind = Literal["point", "scribble", "lasso", "box2d", "box3d"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CHANNELS: dict[Kind, int] = {"box2d": 1, "box3d": 1, "lasso": 1, "point": 3, "scribble": 5}
"""Channel of a positive prompt, counted from the previous mask, which is 0; a negative prompt has the next."""

BOX_SLACK = 2
"""Voxels by which a user draws each side of a box too wide or too tight, at most."""

LASSO_SLACK = 3
"""Voxels by which a user draws around an object, at most."""

OUTLINE_SHARE = 1 / 3
"""Share of the scribbles that follow the object's inner border; the others cross its inside."""

OUTLINE_REACH = 8.0
"""Voxels from the middle of such a scribble to its ends, at most."""

STRAY_SHARE = 0.12
"""Share of the scribbles that may leave the object where a straight line does."""


@lru_cache(maxsize=256)
def make_ball(radius: int, zoom: float = 1.0) -> FloatArray:
    """Draw a point: a ball that is 1 in its centre and fades with the distance to its surface.

    In an image that is shown `zoom` times smaller, sessions first widen the ball and then average its voxels.

    Args:
        radius: voxels of the unzoomed image.
        zoom: at least 1.

    Returns:
        A cube with an odd edge around the point; values in [0, 1]. Not to be written to.
    """
    reach = round(zoom) - 1
    grid = np.indices((2 * radius + 1,) * 3) - radius
    ball = ndimage.distance_transform_edt((grid**2).sum(axis=0) <= radius**2)
    wide = np.pad(ball / ball.max(), reach + radius)
    wide = ndimage.uniform_filter(ndimage.maximum_filter(wide, 2 * reach + 1), round(zoom))
    half = int((radius + reach) / zoom)
    line = len(wide) // 2 + zoom * np.arange(-half, half + 1)
    values = ndimage.map_coordinates(wide, np.meshgrid(line, line, line, indexing="ij"), order=1)
    return values.astype(np.float32)


def draw_shape(kind: Kind, region: Mask, voxel: Voxel, *, rng: np.random.Generator) -> Mask:
    """Draw a box, a lasso or a scribble around or in a region.

    Args:
        kind: what the user draws; all but `box3d` lie in one slice across a random axis.
        region: (I, J, K), what the prompt stands for.
        voxel: (i, j, k) in the region; slices go through it.
        rng: the source of chance.

    Returns:
        (I, J, K), the voxels of the prompt.
    """
    if kind == "box3d":
        return _draw_box(region, rng)
    axis = int(rng.integers(3))
    plane = np.moveaxis(region, axis, 0)[voxel[axis]]
    middle = tuple(voxel[other] for other in range(3) if other != axis)
    drawn = np.zeros_like(region)
    inside = np.moveaxis(drawn, axis, 0)
    if kind == "box2d":
        inside[voxel[axis]] = _draw_box(plane, rng)
    elif kind == "lasso":
        inside[voxel[axis]] = _draw_lasso(plane, rng)
    else:
        inside[voxel[axis]] = _draw_scribble(plane, np.array(middle), rng)
    return drawn


def _draw_box(region: Mask, rng: np.random.Generator) -> Mask:
    """Fill the region's bounding box, its sides displaced; a side never passes the region's middle."""
    where = np.argwhere(region)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    middle = (low + high) // 2
    low = np.minimum(low + rng.integers(-BOX_SLACK, BOX_SLACK + 1, size=low.shape), middle)
    high = np.maximum(high + rng.integers(-BOX_SLACK, BOX_SLACK + 1, size=high.shape), middle + 1)
    box = np.zeros_like(region)
    box[tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))] = True
    return box


def _draw_lasso(plane: Mask, rng: np.random.Generator) -> Mask:
    """Fill a line that is drawn around the region of a slice with some distance."""
    slack = int(rng.integers(LASSO_SLACK + 1))
    wide = ndimage.binary_dilation(plane, iterations=slack) if slack else plane
    filled: Mask = ndimage.binary_fill_holes(wide)
    return filled


def _draw_scribble(plane: Mask, middle: npt.NDArray[np.intp], rng: np.random.Generator) -> Mask:
    """Draw a stroke of two voxels' thickness through the region of a slice, or along its border."""
    if rng.random() < OUTLINE_SHARE:
        stroke = _draw_outline(plane, rng)
    else:
        ends = rng.permutation(np.argwhere(plane))[:2]
        points = np.concatenate([np.linspace(middle, end, 2 * max(plane.shape)) for end in ends])
        stroke = np.zeros_like(plane)
        stroke[tuple(np.rint(points).astype(np.intp).T)] = True
    thick: Mask = ndimage.binary_dilation(stroke, np.ones((2, 2), dtype=bool))
    if rng.random() >= STRAY_SHARE:
        thick &= plane
    return thick


def _draw_outline(plane: Mask, rng: np.random.Generator) -> Mask:
    """Take the part of the region's outermost voxels that lies around one of them."""
    border: Mask = plane & ~ndimage.binary_erosion(plane)
    voxels = np.argwhere(border)
    distance = np.linalg.norm(np.indices(plane.shape).T - voxels[rng.integers(len(voxels))], axis=-1).T
    near: Mask = border & (distance <= OUTLINE_REACH)
    return near
