"""Which positive clicks are the margin points of one object, and the ellipsoid that they span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.guidance.extreme import make_inward_mm

__all__ = ["MarginSplit", "draw_ellipsoid", "split_margins"]

HEIGHT = 0.75
"""Of the ellipsoid's map at its centre: below the peak of a click's Gaussian, so that clicks stay visible."""

REACH = 2.0
"""The map falls to 0 at this many times the ellipsoid's axes: it shows outside, too, how far the surface is."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MarginSplit:
    """The positive clicks of one label.

    Attributes:
        margins: sets of margin points, each (N, 3) voxel indices, N the number of the grid's sides.
        loose: the other clicks, each (3,).
    """

    margins: tuple[Points, ...]
    loose: tuple[Points, ...]


def split_margins(points: npt.ArrayLike, shape: Shape, *, spacing_mm: Spacing) -> MarginSplit:
    """Find the runs of clicks that are the margin points of one object.

    A run has as many clicks as the image has sides (six, four in 2D), and each of them ends their box on a side of
    its own.

    Args:
        points: (N, 3) voxel indices of positive clicks, whole or between voxels, oldest first.
        shape: voxels of the grid along (i, j, k).
        spacing_mm: of the grid.
    """
    rest = np.asarray(points, np.float64).reshape(-1, 3)
    n_sides = 2 * sum(n > 1 for n in shape)
    margins, loose, index = [], [], 0
    while index < len(rest):
        run = rest[index : index + n_sides]
        if len(run) == n_sides > 0 and _are_margin_points(run, shape, spacing_mm=spacing_mm):
            margins.append(run)
            index += n_sides
        else:
            loose.append(rest[index])
            index += 1
    return MarginSplit(tuple(margins), tuple(loose))


def _are_margin_points(points: Points, shape: Shape, *, spacing_mm: Spacing) -> bool:
    """Whether each point can be given a side of their box that it lies at, each side to another point.

    A margin point lies up to the inward step within the object, and a hand errs by as much. Touching voxels one after
    the other are a stroke.
    """
    from scipy.optimize import linear_sum_assignment

    steps = np.abs(np.diff(np.rint(points), axis=0)).max(axis=1)
    if (steps <= 1).sum() > len(steps) / 2:
        return False
    tolerance_mm = 2 * make_inward_mm(spacing_mm, shape=shape)
    axes = [axis for axis, n in enumerate(shape) if n > 1]
    places = (points * np.asarray(spacing_mm))[:, axes]
    offsets = np.concatenate([places - places.min(axis=0), places.max(axis=0) - places], axis=1)
    is_far = offsets > tolerance_mm
    rows, columns = linear_sum_assignment(is_far)
    return not is_far[rows, columns].any()


def draw_ellipsoid(
    heat: npt.NDArray[np.float32], margins: Sequence[Points], *, spacing_mm: Spacing
) -> npt.NDArray[np.float32]:
    """Draw the ellipsoid of each set of margin points into a map.

    Its axes are the grid's. Since margin points lie a step inside of the object, it reaches that step further than
    they do (`guidance.extreme.make_inward_mm`). The map falls from `HEIGHT` at the centre evenly to 0 at `REACH`
    times the axes; the surface lies at half the height.

    Args:
        heat: (I, J, K) float32, the map so far.
        margins: of `split_margins`.
        spacing_mm: of the grid.

    Returns:
        The larger of both in each voxel, (I, J, K) float32, a new array.
    """
    drawn = heat
    inward_mm = make_inward_mm(spacing_mm, shape=(heat.shape[0], heat.shape[1], heat.shape[2]))
    for points in margins:
        low, high = points.min(axis=0), points.max(axis=0)
        squares = np.zeros((1, 1, 1), np.float32)
        for axis, (n, mm) in enumerate(zip(heat.shape, spacing_mm, strict=True)):
            if n > 1:
                half = (high[axis] - low[axis]) / 2 + inward_mm / mm
                offset = (np.arange(n) - (low[axis] + high[axis]) / 2) / half
                edges = [n if a == axis else 1 for a in range(3)]
                squares = squares + (offset**2).astype(np.float32).reshape(edges)
        drawn = np.maximum(drawn, HEIGHT * np.maximum(0, 1 - np.sqrt(squares) / REACH))
    return np.asarray(drawn, np.float32)
