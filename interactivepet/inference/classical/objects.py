"""Which positive clicks show one object, and the box in which that object is looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.interaction import Click
from interactivepet.guidance.extreme import make_inward_mm
from interactivepet.guidance.margin import split_margins

__all__ = ["RADIUS_MM", "ClickedObject", "find_clicked_objects", "find_clicked_voxels"]

RADIUS_MM = 30.0
"""How far around clicks that are no margin points an object is looked for, and how far apart two such clicks of one
object may lie: half of it is the radius of most lesions."""

JOIN_MM = 10.0
"""How far outside of the box of margin points a click still corrects their object."""

Points = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class ClickedObject:
    """One object that a user pointed at.

    Attributes:
        points: (N, 3) voxel indices of its positive clicks, oldest first.
        box: where the object is looked for: the box of margin points and their inward step, or `RADIUS_MM` around
            other clicks.
        has_margin: whether margin points show where the object ends.
    """

    points: Points
    box: BoundingBox
    has_margin: bool


def find_clicked_voxels(
    clicks: Sequence[Click], geometry: Geometry, *, label: int, is_positive: bool
) -> tuple[Shape, ...]:
    """Find the voxels that clicks of one label and one sign lie in, oldest first; clicks outside of the image drop."""
    wanted = [c for c in clicks if c.label == label and c.is_positive == is_positive]
    inside = [geometry.find_voxel(c.position_mm) for c in wanted if geometry.contains(c.position_mm)]
    return tuple(dict.fromkeys(inside))


def find_clicked_objects(clicks: Sequence[Click], geometry: Geometry, *, label: int) -> tuple[ClickedObject, ...]:
    """Split the positive clicks of a label into objects.

    As many clicks in a row as the image has sides (six, four in 2D), each of which ends their box on a side of its
    own, are the margin points of one object. A click in or near such a box corrects this object. Any other clicks
    are of one object when a chain of steps of at most `RADIUS_MM` joins them.

    Args:
        clicks: in RAS+ mm, oldest first.
        geometry: of the image.
        label: whose objects are wanted.

    Returns:
        The objects; () without a positive click of the label within the image.
    """
    voxels = find_clicked_voxels(clicks, geometry, label=label, is_positive=True)
    split = split_margins(np.reshape(voxels, (-1, 3)), geometry.shape, spacing_mm=geometry.spacing_mm)
    margins = [points.astype(np.intp) for points in split.margins]
    loose = [point.astype(np.intp) for point in split.loose]
    spacing = np.asarray(geometry.spacing_mm)
    boxes = [_bound(points) for points in margins]
    others = []
    for point in loose:
        distances = [_distance_mm(point, box, spacing_mm=spacing) for box in boxes]
        if distances and min(distances) <= JOIN_MM:
            index = int(np.argmin(distances))
            margins[index] = np.concatenate([margins[index], point[None]])
        else:
            others.append(point)
    inward_mm = make_inward_mm(geometry.spacing_mm, shape=geometry.shape)
    found = [_make_object(points, geometry, margin_mm=inward_mm, has_margin=True) for points in margins]
    chains = _chain(np.reshape(others, (-1, 3)).astype(np.intp), spacing_mm=spacing)
    return (*found, *(_make_object(points, geometry, margin_mm=RADIUS_MM, has_margin=False) for points in chains))


def _chain(points: Points, *, spacing_mm: npt.NDArray[np.float64]) -> Iterator[Points]:
    """Give the points (N, 3) of each chain of steps of at most `RADIUS_MM`."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    if len(points) == 0:
        return
    places = points * spacing_mm
    n_chains, numbers = connected_components(cdist(places, places) <= RADIUS_MM)
    for number in range(n_chains):
        yield points[numbers == number]


def _bound(points: Points) -> BoundingBox:
    return reduce(BoundingBox.union, [BoundingBox.of_voxel(to_triple(int(n) for n in point)) for point in points])


def _distance_mm(point: Points, box: BoundingBox, *, spacing_mm: npt.NDArray[np.float64]) -> float:
    """Measure how far, in mm, a point (3,) lies outside of a box."""
    outside = np.maximum(0, np.maximum(np.asarray(box.start) - point, point - np.asarray(box.stop) + 1))
    return float(np.linalg.norm(outside * spacing_mm))


def _make_object(points: Points, geometry: Geometry, *, margin_mm: float, has_margin: bool) -> ClickedObject:
    margin = to_triple(
        0 if n == 1 else max(1, round(margin_mm / mm))
        for n, mm in zip(geometry.shape, geometry.spacing_mm, strict=True)
    )
    return ClickedObject(points, _bound(points).grown(margin, within=geometry.shape), has_margin)
