"""The planes through a region: small pictures of the uptake, and outlines as paths over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.uptake import UNIT_OF_VARIANT, UptakeUnit
from interactivepet.reporting.palette import SUV_TOP, encode_picture
from interactivepet.reporting.views import Plane, choose_planes, find_centre, find_field

__all__ = ["LesionView", "Outline", "draw_views"]

LEAST_SUV_TOP: Final = 4.0
"""SUV that is at least black around a region: background must not look like a lesion."""
SCALE_BARS_MM: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of one region on a plane.

    Attributes:
        path: of SVG, in mm from the upper left corner of the picture.
        region: its number, from 1.
    """

    path: str
    region: int


@dataclass(frozen=True, slots=True, eq=False)
class LesionView:
    """One plane through a region.

    Attributes:
        plane: which of the three, with the patient's directions at its edges.
        picture: PNG file.
        width_mm: of the picture.
        height_mm: of the picture.
        outlines: of every region on the plane.
        position_mm: of the plane along its normal axis, in RAS+ mm.
        top: uptake that is black.
        scale_bar_mm: a round length that fits; 0 when none does.
    """

    plane: Plane
    picture: bytes
    width_mm: float
    height_mm: float
    outlines: tuple[Outline, ...]
    position_mm: float
    top: float
    scale_bar_mm: int


def draw_views(
    image: Volume, regions: npt.NDArray[np.integer], *, geometry: Geometry, number: int, unit: UptakeUnit
) -> tuple[LesionView, ...]:
    """Draw the planes through the voxel that is closest to a region's centre.

    Args:
        image: (I, J, K) uptake, axes to the patient's right, anterior and superior.
        regions: (I, J, K), 0 or the region's number.
        geometry: the grid of both.
        number: of the region.
        unit: of the uptake.

    Returns:
        Axial, coronal and sagittal, or the only plane of a 2D image; none for a region without a voxel.
    """
    own = regions == number
    box = BoundingBox.of(own)
    if box is None:
        return ()
    inner = own[box.slices]
    near = find_centre(inner, (), geometry.cropped(box))
    centre = to_triple(index + start for index, start in zip(near, box.start, strict=True))
    field = find_field(own, centre, geometry)
    top = _find_top(float(image[box.slices][inner].max()), unit)
    return tuple(
        _draw_view(image, regions, geometry=geometry, plane=plane, centre=centre, field=field, top=top)
        for plane in choose_planes(geometry.shape)
    )


def _find_top(maximum: float, unit: UptakeUnit) -> float:
    """Give the uptake that is black: the region's own maximum, in SUV within limits."""
    if unit in UNIT_OF_VARIANT.values():
        return min(max(maximum, LEAST_SUV_TOP), SUV_TOP)
    return maximum if maximum > 0 else 1.0


def _draw_view(
    image: Volume,
    regions: npt.NDArray[np.integer],
    *,
    geometry: Geometry,
    plane: Plane,
    centre: Shape,
    field: BoundingBox,
    top: float,
) -> LesionView:
    slices = list(field.slices)
    slices[plane.normal] = slice(centre[plane.normal], centre[plane.normal] + 1)
    uptake, labels = (array[tuple(slices)].squeeze(plane.normal).T[::-1, ::-1] for array in (image, regions))
    edges_mm = geometry.spacing_mm[plane.vertical], geometry.spacing_mm[plane.horizontal]
    height_mm, width_mm = (n * edge for n, edge in zip(uptake.shape, edges_mm, strict=True))
    numbers = [int(value) for value in np.unique(labels) if value]
    return LesionView(
        plane=plane,
        picture=encode_picture(uptake, top=top),
        width_mm=width_mm,
        height_mm=height_mm,
        outlines=tuple(Outline(_trace(labels == value, edges_mm), value) for value in numbers),
        position_mm=float(geometry.to_mm(centre)[plane.normal]),
        top=top,
        scale_bar_mm=max((bar for bar in SCALE_BARS_MM if bar <= 0.4 * min(width_mm, height_mm)), default=0),
    )


def _trace(mask: npt.NDArray[np.bool_], edges_mm: tuple[float, float]) -> str:
    """Trace a mask (rows, columns) half-way between the voxel centres, as a path of SVG in mm."""
    from skimage.measure import find_contours

    parts = []
    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        # A voxel's centre is half a voxel from its edge; the padding moved everything by one.
        points = (line[:-1] - 0.5) * edges_mm
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points) + "Z")
    return "".join(parts)
