"""Boxes and scribbles as clicks: what the networks were trained to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.errors import InteractionError
from interactivepet.guidance.extreme import make_inward_mm

__all__ = [
    "BOX_INWARD_SHARE",
    "SCRIBBLE_STEP_MM",
    "Position",
    "check_clicks",
    "make_box_clicks",
    "make_scribble_clicks",
]

BOX_INWARD_SHARE = 0.2
"""How far the point of a face moves towards the box's centre, as a share of the way. The face's centre itself often
lies beside an object that only touches the face elsewhere."""

SCRIBBLE_STEP_MM = 6.0
"""Clicks of a scribble keep this distance: nearer ones look the same to a network whose guidance is as wide."""

Position = tuple[float, float, float]
"""RAS+ mm."""


def make_box_clicks(
    start_mm: Position, stop_mm: Position, *, geometry: Geometry, label: int, is_positive: bool
) -> tuple[Click, ...]:
    """Turn a box into the points that stand for the interior margin points of what is in it.

    The points are the centres of the box's faces, moved towards its centre by `BOX_INWARD_SHARE`, and at least as
    far as margin points are moved into an object. Axes along which the box is within one voxel (a box drawn on one
    slice, a 2D image) have no faces: how far the object reaches there is not known.

    Args:
        start_mm: a corner of the box in RAS+ mm.
        stop_mm: the opposite corner. The box's edges run along the image's own axes.
        geometry: of the image.
        label: value of the label.
        is_positive: whether the box holds the label, or shows what is not the label.

    Returns:
        Six clicks, or four, two; one for a box within one voxel. What of the box lies outside of the image is left out.

    Raises:
        InteractionError: all of it does.
    """
    corners = _clip_box(geometry.to_voxel((start_mm, stop_mm)), geometry)
    centre = corners.mean(axis=0)
    inward = make_inward_mm(geometry.spacing_mm, shape=geometry.shape)
    points = []
    for axis, mm in enumerate(geometry.spacing_mm):
        half = abs(float(corners[1, axis] - corners[0, axis])) / 2
        if half <= 0.5:
            continue
        offset = max(0.0, half - max(BOX_INWARD_SHARE * half, inward / mm))
        points += [centre + sign * offset * np.eye(3)[axis] for sign in (-1, 1)]
    # A box so small that all points fall together is one click.
    distinct = np.unique(np.round(points or [centre], 6), axis=0)
    return _make_clicks(geometry.to_mm(distinct), label=label, is_positive=is_positive)


def make_scribble_clicks(points_mm: Sequence[Position], *, label: int, is_positive: bool) -> tuple[Click, ...]:
    """Thin the points (N, 3) of a stroke, in RAS+ mm, to clicks that keep `SCRIBBLE_STEP_MM` from each other.

    Raises:
        InteractionError: there is no point, or one is not finite.
    """
    if not len(points_mm):
        raise InteractionError("a scribble without points; expected at least one")
    if not np.isfinite(points_mm).all():
        raise InteractionError("a scribble with a point that is not finite; expected numbers in mm")
    kept: list[npt.NDArray[np.float64]] = []
    for point in np.asarray(points_mm, np.float64):
        if all(np.linalg.norm(point - other) >= SCRIBBLE_STEP_MM for other in kept):
            kept.append(point)
    return _make_clicks(np.array(kept), label=label, is_positive=is_positive)


def check_clicks(clicks: Sequence[Click], *, case_id: str, geometry: Geometry, labels: Sequence[int]) -> None:
    """Refuse clicks that the model cannot see.

    Raises:
        InteractionError: a click lies outside of the image, or its label is not among `labels`.
    """
    for click in clicks:
        where = tuple(round(v, 1) for v in click.position_mm)
        if not geometry.contains(click.position_mm):
            raise InteractionError(
                f"{case_id}: {where} mm (RAS) lies outside of the image of {geometry.shape} voxels; check "
                "that it was placed on this image, and say with --frame (of interactivepet_predict -in, or of "
                "interactivepet_import folder or clicks) what the coordinate system of the clicks is: lps, ras or voxel"
            )
        if click.label not in labels:
            raise InteractionError(
                f"{case_id}: click at {where} mm has label {click.label}, expected one of {tuple(labels)}"
            )


def _clip_box(corners: npt.NDArray[np.float64], geometry: Geometry) -> npt.NDArray[np.float64]:
    """Move corners (2, 3), in voxels, of a box that overhangs the image to the centres of its outermost voxels."""
    last = np.asarray(geometry.shape) - 1.0
    outside = (corners.max(axis=0) < -0.5) | (corners.min(axis=0) > last + 0.5)
    if not np.isfinite(corners).all() or outside.any():
        raise InteractionError(
            f"a box that lies outside of the image of {geometry.shape} voxels; check that it was drawn on this image, "
            "and the coordinate system of its corners (RAS mm; --frame of interactivepet_predict --interactive)"
        )
    inside = (corners >= -0.5) & (corners <= last + 0.5)
    return np.where(inside, corners, np.clip(corners, 0.0, last))


def _make_clicks(points_mm: npt.NDArray[np.float64], *, label: int, is_positive: bool) -> tuple[Click, ...]:
    return tuple(Click(position_mm=(x, y, z), label=label, is_positive=is_positive) for x, y, z in points_mm.tolist())
