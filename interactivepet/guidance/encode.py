"""Clicks as maps that a network sees: for each label one of its positive, one of its negative clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry, Shape, Spacing
from interactivepet.core.interaction import Click
from interactivepet.core.plan import GuidancePlan
from interactivepet.errors import InteractionError
from interactivepet.guidance.margin import draw_ellipsoid, split_margins

__all__ = ["CUT_OFF_SCALES", "encode_clicks", "encode_mask", "encode_points", "encode_sign"]

CUT_OFF_SCALES = 4.0
"""A Gaussian is not followed further than this many scales along an axis; it has fallen to 0.0003 there."""


def encode_clicks(
    clicks: Sequence[Click], geometry: Geometry, *, labels: Sequence[int], guidance: GuidancePlan
) -> npt.NDArray[np.float32]:
    """Encode the clicks of a case as guidance channels.

    Args:
        clicks: in RAS+ mm; a click outside of the grid still reaches into it.
        geometry: the grid of the channels, with axes at right angles.
        labels: the L label values, in the order of the channels.
        guidance: encoding and scale.

    Returns:
        (2 L, I, J, K) float32 in [0, 1] as `encode_sign` makes it: channel 2 l from the positive and
        channel 2 l + 1 from the negative clicks of `labels[l]`.

    Raises:
        InteractionError: a click has a label that is not in `labels`.
    """
    unknown = sorted({click.label for click in clicks} - set(labels))
    if unknown:
        msg = f"clicks of label {unknown}, expected {sorted(labels)}; correct the clicks or declare the label"
        raise InteractionError(msg)
    channels = []
    for label in labels:
        for is_positive in (True, False):
            positions = [c.position_mm for c in clicks if c.label == label and c.is_positive is is_positive]
            points = geometry.to_voxel(np.array(positions, dtype=np.float64).reshape(-1, 3))
            channels.append(
                encode_sign(
                    points, geometry.shape, spacing_mm=geometry.spacing_mm, guidance=guidance, is_positive=is_positive
                )
            )
    return np.stack(channels) if channels else np.zeros((0, *geometry.shape), dtype=np.float32)


def encode_mask(mask: npt.NDArray[np.uint8], *, labels: Sequence[int]) -> npt.NDArray[np.float32]:
    """Encode a mask (I, J, K) of label values as (L, I, J, K) float32: 1 inside of each label, 0 elsewhere."""
    return np.stack([mask == label for label in labels]).astype(np.float32)


def encode_sign(
    points: npt.NDArray[np.floating], shape: Shape, *, spacing_mm: Spacing, guidance: GuidancePlan, is_positive: bool
) -> npt.NDArray[np.float32]:
    """Encode the clicks of one label and one sign as a plan says.

    Args:
        points: (N, 3) voxel indices along (i, j, k), oldest first.
        shape: voxels of the map along (i, j, k).
        spacing_mm: voxel spacing along (i, j, k).
        guidance: encoding and scale.
        is_positive: the sign; ellipsoids are drawn for positive clicks only.

    Returns:
        (I, J, K) float32 in [0, 1].
    """
    heat = encode_points(points, shape, spacing_mm=spacing_mm, scale_mm=guidance.scale_mm)
    if guidance.encoding == "gaussian" or not is_positive:
        return heat
    return draw_ellipsoid(heat, split_margins(points, shape, spacing_mm=spacing_mm).margins, spacing_mm=spacing_mm)


def encode_points(
    points: npt.NDArray[np.floating] | npt.NDArray[np.integer],
    shape: Shape,
    *,
    spacing_mm: Spacing,
    scale_mm: float,
) -> npt.NDArray[np.float32]:
    """Encode points as the maximum of Gaussians with peak 1.

    The peak is 1 rather than the integral, because a density's peak shrinks with the cube of its scale and
    becomes invisible to a network. A Gaussian is the product of one exponential an axis: hence the speed.

    Args:
        points: (N, 3) voxel indices along (i, j, k), whole or between voxels, inside the grid or out of it.
        shape: voxels of the map along (i, j, k).
        spacing_mm: voxel spacing along (i, j, k).
        scale_mm: standard deviation of the Gaussian in mm.

    Returns:
        (I, J, K) float32 in [0, 1]: exp(-d^2 / (2 scale^2)), d in mm to the nearest point; 0 without points.

    Raises:
        ValueError: `scale_mm` is not positive.
    """
    if not scale_mm > 0:
        msg = f"the scale of the guidance is {scale_mm} mm; it must be positive"
        raise ValueError(msg)
    heat = np.zeros(shape, dtype=np.float32)
    scales = [scale_mm / s for s in spacing_mm]
    for point in np.asarray(points, dtype=np.float64).tolist():
        (i, gi), (j, gj), (k, gk) = map(_make_profile, point, shape, scales)
        window = heat[i, j, k]
        np.maximum(window, (gi[:, None] * gj)[:, :, None] * gk, out=window)
    return heat


def _make_profile(centre: float, n: int, scale: float) -> tuple[slice, npt.NDArray[np.float32]]:
    """Give the range of voxels that a 1D Gaussian reaches on an axis of `n` voxels, and its values there."""
    start = min(max(0, int(np.ceil(centre - CUT_OFF_SCALES * scale))), n)
    stop = max(start, min(n, int(np.floor(centre + CUT_OFF_SCALES * scale)) + 1))
    distance = (np.arange(start, stop) - centre) / scale
    return slice(start, stop), np.exp(-0.5 * distance * distance).astype(np.float32)
