"""Polygons to pixels and back in one plane: even-odd filling, and tracing that holes survive.

Plane coordinates are (u, v) in pixels, `mask[u, v]`; a pixel's centre lies at its integer index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["ON_CONTOUR_PIXELS", "fill_polygons", "trace_mask"]

ON_CONTOUR_PIXELS = 0.01
"""A pixel centre this close to a contour lies on it.

Some writers draw contours through the outermost pixels' centres, which a hundredth of a millimetre of rounding
would otherwise put on either side.
"""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Vertex = tuple[float, float]


def fill_polygons(polygons: Sequence[FloatArray], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose centres lie inside of an odd number of polygons, or on a contour.

    Even-odd filling gives holes for contours inside of contours and for keyholes alike, in any winding.

    Args:
        polygons: (N, 2) each, corners (u, v), closed without repeating the first.
        shape: (U, V) of the plane; what lies outside of it is cut.

    Returns:
        (U, V).
    """
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    toggles = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    rows, columns = _cross(starts, ends, n=shape[0])
    np.add.at(toggles, (rows, np.clip(np.ceil(columns), 0, shape[1]).astype(np.int64)), 1)
    mask: npt.NDArray[np.bool_] = np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1
    _mark_touched(mask, starts, ends)
    _mark_touched(mask.T, starts[:, ::-1], ends[:, ::-1])
    return mask


def _cross(starts: FloatArray, ends: FloatArray, *, n: int, slack: float = 0.0) -> tuple[IntArray, FloatArray]:
    """Find where edges cross the lines u = 0 ... n - 1.

    Without slack an edge owns its lower end only, so that a closed polygon crosses each line an even number of
    times. With slack it owns both ends, and what lies that little beyond them.

    Returns:
        The line and the v of every crossing.
    """
    # An edge and its reverse must cross at the same v to the last bit: a keyhole's channel runs both ways.
    is_rising = (starts[:, :1] < ends[:, :1]) | ((starts[:, :1] == ends[:, :1]) & (starts[:, 1:] <= ends[:, 1:]))
    low, high = np.where(is_rising, starts, ends), np.where(is_rising, ends, starts)
    first = np.clip(np.ceil(low[:, 0] - slack), 0, n).astype(np.int64)
    stop = np.clip(np.floor(high[:, 0] + slack) + 1 if slack else np.ceil(high[:, 0]), 0, n).astype(np.int64)
    counts = np.maximum(stop - first, 0)
    edges = np.repeat(np.arange(len(low)), counts)
    lines = first[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts)
    low, high = low[edges], high[edges]
    length = high[:, 0] - low[:, 0]
    share = np.clip((lines - low[:, 0]) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    return lines, low[:, 1] + share * (high[:, 1] - low[:, 1])


def _mark_touched(mask: npt.NDArray[np.bool_], starts: FloatArray, ends: FloatArray) -> None:
    """Mark, in place, the pixels whose centres lie on an edge."""
    rows, columns = _cross(starts, ends, n=mask.shape[0], slack=ON_CONTOUR_PIXELS)
    nearest = np.rint(columns)
    touched = (np.abs(columns - nearest) <= ON_CONTOUR_PIXELS) & (nearest >= 0) & (nearest < mask.shape[1])
    mask[rows[touched], nearest[touched].astype(np.int64)] = True


def trace_mask(mask: npt.NDArray[np.bool_]) -> tuple[FloatArray, ...]:
    """Trace the outlines of a mask, half-way between the centres of marked and unmarked pixels.

    A hole is joined to the outline around it by a channel of no width (keyhole, DICOM PS3.3 C.8.8.6.3), so that
    readers who fill by even-odd, by winding, or contour by contour all leave it empty. Pixels that touch only at
    a corner get outlines of their own. `fill_polygons` gives the same mask back.

    Args:
        mask: (U, V).

    Returns:
        One closed polygon (N, 2) a component, corners (u, v), the first not repeated.
    """
    from skimage.measure import find_contours

    padded = np.pad(mask, 1)
    polygons: list[list[Vertex]] = []
    holes: list[list[Vertex]] = []
    for loop in find_contours(padded.astype(np.float32), 0.5, fully_connected="low"):
        vertices = _turn([(float(u), float(v)) for u, v in loop[:-1]])
        u, v = vertices[0]
        (holes if padded[int(u), int(v - 0.5)] else polygons).append(vertices)
    for hole in sorted(holes, key=lambda vertices: vertices[0][1]):
        # A channel along a row through marked pixels cuts no outline, and leads to one that is further left.
        u, v = hole[0]
        gap = np.flatnonzero(~padded[int(u), : int(v + 0.5)])[-1]
        target = (u, float(gap) + 0.5)
        polygon = next(candidate for candidate in polygons if target in candidate)
        at = polygon.index(target) + 1
        polygon[at:at] = [*hole, hole[0], target]
    return tuple(np.asarray(polygon) - 1.0 for polygon in polygons)


def _turn(vertices: list[Vertex]) -> list[Vertex]:
    """Start a loop at its leftmost vertex on a row of pixel centres."""
    start = min((v, u, at) for at, (u, v) in enumerate(vertices) if u.is_integer())[2]
    return vertices[start:] + vertices[:start]
