"""What a picture of a volume shows: planes in radiological display, the slices and the part of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.interaction import Click

__all__ = [
    "AXIAL",
    "CORONAL",
    "SAGITTAL",
    "Plane",
    "choose_planes",
    "find_centre",
    "find_field",
    "find_field_of_box",
    "find_object",
    "flatten",
    "is_emission",
    "reorient",
    "reorient_geometry",
]

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]

FIELD_MM = 160.0
"""Least edge of the part that is shown of a large volume: smaller, and nobody can tell where it lies."""
FIELD_PER_EXTENT = 2.0
"""The part that is shown is at least this many times as long as the object."""
ZOOM_FROM = 1.5
"""A volume is shown in part only if it is more than this many times as long as that part would be."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One of the three planes of a volume in RAS+ order of its axes, as radiologists look at it.

    The horizontal axis grows to the left of the screen (patient's right, or anterior), the vertical axis
    upwards (anterior, or superior).
    """

    name: str
    normal: int
    """Axis that the slices are stacked along."""
    horizontal: int
    vertical: int
    letters: tuple[str, str, str, str]
    """Directions at the left, right, top and bottom of the screen."""


AXIAL = Plane("Axial", 2, 0, 1, ("R", "L", "A", "P"))
CORONAL = Plane("Coronal", 1, 0, 2, ("R", "L", "S", "I"))
SAGITTAL = Plane("Sagittal", 0, 1, 2, ("A", "P", "S", "I"))


def choose_planes(shape: Shape) -> tuple[Plane, ...]:
    """Give the planes worth a picture: all three, or the single one of a 2D image."""
    planes = (AXIAL, CORONAL, SAGITTAL)
    return next(((plane,) for plane in planes if shape[plane.normal] == 1), planes)


def is_emission(channels: Sequence[str]) -> bool:
    """Whether channel 0 shows uptake, which is drawn dark on white."""
    return channels[0].strip().lower() not in {"ct", "mr", "mri", "t1", "t2", "flair"}


def reorient(array: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
    """Turn (..., I, J, K) so that its last three axes run closest to right, anterior and superior."""
    order, is_flipped = _find_order(geometry)
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in order))
    return np.flip(turned, axis=tuple(lead + axis for axis, flip in enumerate(is_flipped) if flip))


def reorient_geometry(geometry: Geometry) -> Geometry:
    """Give the grid of the arrays that `reorient` returns: the same voxels at the same places."""
    order, is_flipped = _find_order(geometry)
    shape = (geometry.shape[order[0]], geometry.shape[order[1]], geometry.shape[order[2]])
    affine = geometry.affine.copy()
    affine[:3, :3] = geometry.affine[:3, list(order)]
    for axis, flip in enumerate(is_flipped):
        if flip:
            affine[:3, 3] += (shape[axis] - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
    return Geometry(shape, affine)


def flatten(array: npt.NDArray[Any], plane: Plane) -> npt.NDArray[Any]:
    """Give a slab of one slice, axes in RAS+ order, as (rows, columns) from the upper left corner of the screen."""
    return array.squeeze(plane.normal).T[::-1, ::-1]


def find_object(masks: Iterable[LabelMap]) -> Mask | None:
    """Give the largest component of the first label map (I, J, K) that holds any label, as (I, J, K) bool."""
    for mask in masks:
        if mask.any():
            components, _ = find_components(mask != 0)
            sizes = np.bincount(components.ravel())
            sizes[0] = 0
            largest: Mask = components == sizes.argmax()
            return largest
    return None


def find_centre(target: Mask | None, clicks: Sequence[Click], geometry: Geometry) -> Shape:
    """Give the voxel whose three slices show most.

    Args:
        target: (I, J, K) bool, one object; None when there is none.
        clicks: the second choice.
        geometry: the grid of the object.

    Returns:
        The object's voxel closest in mm to its centre of mass; without an object, the first click that lies
        in the grid; without any, the middle of the grid.
    """
    if target is not None:
        voxels = np.argwhere(target)
        offsets_mm = (voxels - voxels.mean(axis=0)) * geometry.spacing_mm
        return _as_shape(voxels[np.square(offsets_mm).sum(axis=1).argmin()])
    for click in clicks:
        if geometry.contains(click.position_mm):
            return _as_shape(np.floor(geometry.to_voxel(click.position_mm) + 0.5))
    return _as_shape(np.asarray(geometry.shape) // 2)


def find_field(target: Mask | None, centre: Shape, geometry: Geometry) -> BoundingBox:
    """Give the part of the grid to show: a cube in mm round the centre of a large volume, or all of the grid.

    A 2D image is shown whole: it fits into one panel, and its spacing is often not real.

    Args:
        target: (I, J, K) bool, the object that must fit; None when there is none, and nothing to zoom to.
        centre: voxel in the middle of the part.
        geometry: the grid.
    """
    box = None if target is None else BoundingBox.of(target)
    if box is None or 1 in geometry.shape:
        return BoundingBox((0, 0, 0), geometry.shape)
    return find_field_of_box(box, centre, geometry)


def find_field_of_box(box: BoundingBox, centre: Shape, geometry: Geometry) -> BoundingBox:
    """Give the part of a volume to show, as `find_field` does, for an object that fills a box."""
    spacing_mm = np.asarray(geometry.spacing_mm)
    edge_mm = max(FIELD_MM, FIELD_PER_EXTENT * float((np.asarray(box.shape) * spacing_mm).max()))
    if (np.asarray(geometry.shape) * spacing_mm).max() <= ZOOM_FROM * edge_mm:
        return BoundingBox((0, 0, 0), geometry.shape)
    middle = BoundingBox(centre, _as_shape(np.asarray(centre) + 1))
    return middle.grown(_as_shape(np.ceil(edge_mm / 2 / spacing_mm)), geometry.shape)


def _find_order(geometry: Geometry) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Give, for right, anterior and superior, the voxel axis closest to it and whether it runs backwards."""
    cosines = geometry.affine[:3, :3] / np.asarray(geometry.spacing_mm)
    order = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[w, a]) for w, a in enumerate(axes)))
    return order, tuple(bool(cosines[world, axis] < 0) for world, axis in enumerate(order))


def _as_shape(values: npt.NDArray[Any]) -> Shape:
    """Give three numbers as a tuple of integers."""
    return to_triple(int(value) for value in values)
