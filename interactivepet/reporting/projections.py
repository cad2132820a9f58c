"""A turning maximum-intensity projection: the body from angles all around it, regions tinted over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, FloatArray, to_triple
from interactivepet.reporting.palette import encode_picture

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["N_ANGLES", "Projections", "draw_projections"]

N_ANGLES: Final = 24
"""Even: each picture is the mirror image of the one from the other side."""
PIXEL_MM: Final = 4.0
"""Edge of a pixel and of the voxels that are turned: about the resolution of PET."""
AIR: Final = 0.02
"""Share of the window below which a voxel is air."""
_LEAST_BODY = 0.002
"""Planes in which less than this share of the voxels is no air are cut off."""
_LEAST_REGION = 0.2
"""Interpolated share of a region from which a pixel is tinted: a region of one voxel stays visible."""

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """Pictures of one body and where its regions lie in them.

    Attributes:
        pictures: PNG files; the n-th is seen from `360 n / N` degrees, 0 from the front, 90 from the patient's left.
        width_mm: of every picture; the axis of the turn is its middle.
        height_mm: of every picture.
        marks_mm: (N regions, 4) of each region's centre: to the right of the picture and towards the viewer from the
            axis, both at 0 degrees, and down from the upper edge; then how far to its right a text lies beside it.
    """

    pictures: tuple[bytes, ...]
    width_mm: float
    height_mm: float
    marks_mm: FloatArray


def draw_projections(
    image: Volume,
    regions: npt.NDArray[np.integer],
    *,
    spacing_mm: Sequence[float],
    statuses: Sequence[int],
    top: float,
) -> Projections:
    """Draw the body from all around.

    Args:
        image: (I, J, K) uptake, axes to the patient's right, anterior and superior.
        regions: (I, J, K), 0 or the region's number from 1.
        spacing_mm: of the voxels along these axes.
        statuses: of each region, from 1 in the order of `STATUS_COLOURS`.
        top: uptake that is black.
    """
    box = _find_body(image, regions, threshold=AIR * top)
    cut = regions[box.slices]
    body = _resample(image[box.slices], spacing_mm)
    shown = np.array([0, *statuses], np.uint8)[cut]
    tints = {status: _resample(shown == status, spacing_mm) for status in sorted(set(statuses))}
    half = [_project(body, tints, angle=2 * np.pi * n / N_ANGLES) for n in range(N_ANGLES // 2)]
    columns = _find_columns([uptake for uptake, _ in half], threshold=AIR * top)
    pictures = [(uptake[:, columns], tint[:, columns]) for uptake, tint in half]
    pictures += [(uptake[:, ::-1], tint[:, ::-1]) for uptake, tint in pictures]
    return Projections(
        tuple(encode_picture(uptake, top=top, statuses=tint) for uptake, tint in pictures),
        width_mm=pictures[0][0].shape[1] * PIXEL_MM,
        height_mm=body.shape[2] * PIXEL_MM,
        marks_mm=_find_marks(cut, len(statuses), spacing_mm=spacing_mm, body=body.shape),
    )


def _find_body(image: Volume, regions: npt.NDArray[np.integer], *, threshold: float) -> BoundingBox:
    """Cut the air off, and no region."""
    inside, marked = image > threshold, regions > 0
    starts, stops = [], []
    for axis, across in enumerate(((1, 2), (0, 2), (0, 1))):
        keep = np.flatnonzero((inside.mean(axis=across) > _LEAST_BODY) | marked.any(axis=across))
        starts.append(int(keep[0]) if keep.size else 0)
        stops.append(int(keep[-1]) + 1 if keep.size else image.shape[axis])
    return BoundingBox(to_triple(starts), to_triple(stops))


def _resample(array: npt.NDArray[Any], spacing_mm: Sequence[float]) -> Volume:
    """Bring an array to cubes of `PIXEL_MM`: of fine voxels the maximum of a block counts, the rest is interpolated."""
    values = array.astype(np.float32)
    for axis, edge_mm in enumerate(spacing_mm):
        step = max(1, int(PIXEL_MM // edge_mm))
        if step > 1:
            values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
        n = values.shape[axis]
        count = max(1, round(n * step * edge_mm / PIXEL_MM))
        places = np.clip((np.arange(count) + 0.5) * PIXEL_MM / (step * edge_mm) - 0.5, 0, n - 1)
        low = np.minimum(places.astype(int), max(0, n - 2))
        share = (places - low).astype(np.float32).reshape([-1 if axis == other else 1 for other in range(3)])
        upper = values.take(np.minimum(low + 1, n - 1), axis=axis)
        values = values.take(low, axis=axis) * (1 - share) + upper * share
    return values


def _project(body: Volume, tints: Mapping[int, Volume], *, angle: float) -> tuple[Volume, npt.NDArray[np.uint8]]:
    """Give the highest uptake along each ray, and the status of the region that it meets: (rows, columns) each."""
    turn, n_columns = _make_turn(body.shape, angle)

    def find_highest(volume: Volume) -> Volume:
        rays = turn @ volume.reshape(-1, volume.shape[2])
        highest: Volume = rays.reshape(n_columns, -1, volume.shape[2]).max(axis=1).T[::-1]
        return highest

    status = np.zeros((body.shape[2], n_columns), np.uint8)
    # A lesion is never hidden by what is none.
    for number in sorted(tints, reverse=True):
        status[find_highest(tints[number]) > _LEAST_REGION] = number
    return find_highest(body), status


def _make_turn(shape: Sequence[int], angle: float) -> tuple[csr_array, int]:
    """Make the matrix that turns axial planes, each a row of I * J voxels, by linear interpolation.

    Returns:
        (columns * depths, I * J): what each point on each ray is made of; and the number of columns.
    """
    from scipy.sparse import csr_array

    n_columns = int(np.ceil(np.hypot(shape[0], shape[1]))) + 1
    offsets = np.arange(n_columns) - (n_columns - 1) / 2
    across, towards = np.meshgrid(offsets, offsets, indexing="ij")
    # Seen from the front, the right of the picture is the patient's left.
    x = -across * np.cos(angle) - towards * np.sin(angle) + (shape[0] - 1) / 2
    y = -across * np.sin(angle) + towards * np.cos(angle) + (shape[1] - 1) / 2
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    weights, rows, columns = [], [], []
    for di, dj in product((0, 1), repeat=2):
        weight = np.abs(1 - di - (x - i)) * np.abs(1 - dj - (y - j))
        known = (i + di >= 0) & (i + di < shape[0]) & (j + dj >= 0) & (j + dj < shape[1])
        weights.append(weight[known])
        rows.append(np.flatnonzero(known.ravel()))
        columns.append(((i + di) * shape[1] + j + dj)[known])
    entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(n_columns**2, shape[0] * shape[1])), n_columns


def _find_columns(pictures: Sequence[Volume], *, threshold: float) -> slice:
    """Find the columns that are not air in any picture, the same number on both sides of the axis."""
    inside = np.max([picture.max(axis=0) for picture in pictures], axis=0) > threshold
    inside |= inside[::-1]
    keep = np.flatnonzero(inside)
    return slice(int(keep[0]), int(keep[-1]) + 1) if keep.size else slice(0, inside.size)


def _find_marks(
    regions: npt.NDArray[np.integer], n: int, *, spacing_mm: Sequence[float], body: Sequence[int]
) -> FloatArray:
    """Find the centres of the regions in the body's pictures; the middle for a region without voxels."""
    from scipy.ndimage import center_of_mass, find_objects

    middle_mm = np.multiply(body, PIXEL_MM) / 2
    marks = np.zeros((n, 4))
    marks[:, 2] = middle_mm[2]
    for number, part in enumerate(find_objects(regions.astype(np.int32, copy=False))[:n]):
        if part is None:
            continue
        start = [one.start for one in part]
        centre = (np.add(center_of_mass(regions[part] == number + 1), start) + 0.5) * spacing_mm - middle_mm
        widest_mm = max((part[axis].stop - start[axis]) * spacing_mm[axis] for axis in (0, 1))
        marks[number] = (-centre[0], centre[1], middle_mm[2] - centre[2], widest_mm / 2 + PIXEL_MM)
    return marks
