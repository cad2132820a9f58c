"""Clicks made from a label, as a user who knows the answer would place them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydantic import Field

from interactivepet.core.artefact import Record
from interactivepet.core.geometry import Geometry, Spacing
from interactivepet.core.interaction import Click
from interactivepet.guidance.draw import draw_around, draw_inside, draw_negative
from interactivepet.guidance.extreme import find_extreme_points, make_inward_mm
from interactivepet.guidance.objects import LabelObject, find_depth_mm, find_objects, find_shell

__all__ = [
    "ClickOptions",
    "draw_inside",
    "draw_negative",
    "find_extreme_points",
    "find_objects",
    "simulate_clicks",
]

Indices = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]

_NOISE_FACTORS = (1.0, 0.5, 0.25, 0.125)
"""A displacement that would change what a click says is shortened by the first of these that does not.

If none of them helps, the click stays where it was.
"""


class ClickOptions(Record):
    """Which clicks are made for every object (connected component) of every label."""

    extreme: bool = True
    """The interior margin points: one for each side of each axis."""
    centre: bool = False
    """The voxel that lies deepest in the object."""
    n_random: int = Field(default=0, ge=0)
    """Points anywhere in the object."""
    n_boundary: int = Field(default=0, ge=0)
    """Points on the object's outermost layer of voxels."""
    n_negative: int = Field(default=0, ge=0)
    """Points outside of the label, near to the object."""
    negative_distance_mm: float = Field(default=15.0, gt=0.0)
    """How far from the object its negative points may lie: where masks spill over."""
    noise_mm: float = Field(default=0.0, ge=0.0)
    """Standard deviation of the displacement along each axis; it never changes what a click says."""
    inward_mm: float | None = Field(default=None, ge=0.0)
    """How far extreme points move inwards; None follows the spacing (`guidance.extreme.make_inward_mm`)."""


def simulate_clicks(
    label: npt.NDArray[np.uint8], geometry: Geometry, *, options: ClickOptions, rng: np.random.Generator
) -> tuple[Click, ...]:
    """Make clicks from a label.

    Args:
        label: (I, J, K) uint8, 0 is background.
        geometry: the label's grid.
        options: which clicks.
        rng: source of randomness; without random points and noise it is not used.

    Returns:
        Label by label and object by object, first the positive, then the negative clicks, in RAS+ mm, at
        voxel centres when there is no noise. A voxel is clicked at most once for an object. A positive
        click's voxel belongs to its object, a negative click's does not belong to the label. An empty label
        gives ().

    Raises:
        ValueError: label and geometry have different shapes.
    """
    if label.shape != geometry.shape:
        msg = f"label of shape {label.shape} on a grid of shape {geometry.shape}; pass the label's own grid"
        raise ValueError(msg)
    clicks: list[Click] = []
    for value in (int(v) for v in np.unique(label) if v != 0):
        inside = label == value
        for item in find_objects(label, value=value):
            positive = _place_positive(item, geometry, options=options, rng=rng)
            negative = _place_negative(item, inside, geometry, options=options, rng=rng)
            clicks.extend(_make_clicks(positive, geometry, label=value, is_positive=True))
            clicks.extend(_make_clicks(negative, geometry, label=value, is_positive=False))
    return tuple(clicks)


def _place_positive(
    item: LabelObject, geometry: Geometry, *, options: ClickOptions, rng: np.random.Generator
) -> FloatArray:
    """Place the positive clicks of one object, (n, 3) continuous voxel indices of the whole grid."""
    mask, spacing_mm = item.mask, geometry.spacing_mm
    chosen: list[Indices] = []
    if options.extreme:
        inward_mm = make_inward_mm(spacing_mm, shape=geometry.shape) if options.inward_mm is None else options.inward_mm
        chosen.append(find_extreme_points(mask, spacing_mm=spacing_mm, inward_mm=inward_mm))
    if options.centre:
        deepest = find_depth_mm(mask, spacing_mm=spacing_mm).argmax()
        chosen.append(np.array([np.unravel_index(deepest, mask.shape)], dtype=np.intp))
    chosen.append(draw_inside(mask, n=options.n_random, rng=rng))
    chosen.append(draw_inside(find_shell(mask), n=options.n_boundary, rng=rng))
    # dict.fromkeys drops repeated voxels and keeps the order.
    points = np.array(list(dict.fromkeys(map(tuple, np.concatenate(chosen)))), dtype=np.intp).reshape(-1, 3)
    placed = _displace(points, mask, spacing_mm=spacing_mm, noise_mm=options.noise_mm, rng=rng)
    return placed + np.asarray(item.box.start, dtype=np.float64)


def _place_negative(
    item: LabelObject,
    inside: npt.NDArray[np.bool_],
    geometry: Geometry,
    *,
    options: ClickOptions,
    rng: np.random.Generator,
) -> FloatArray:
    """Place the negative clicks of one object, (n, 3) continuous voxel indices of the whole grid."""
    if options.n_negative == 0:
        return np.empty((0, 3))
    points = draw_around(
        np.argwhere(find_shell(item.mask)) + np.asarray(item.box.start),
        inside,
        n=options.n_negative,
        spacing_mm=geometry.spacing_mm,
        distance_mm=options.negative_distance_mm,
        rng=rng,
    )
    return _displace(points, ~inside, spacing_mm=geometry.spacing_mm, noise_mm=options.noise_mm, rng=rng)


def _displace(
    points: Indices,
    allowed: npt.NDArray[np.bool_],
    *,
    spacing_mm: Spacing,
    noise_mm: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Displace voxel indices, (n, 3), at random; the nearest voxel stays in the array and in `allowed`."""
    if noise_mm == 0.0:
        return points.astype(np.float64)
    step = rng.normal(scale=noise_mm, size=points.shape) / np.asarray(spacing_mm)
    # A 2D image has no depth to err in.
    step *= np.asarray(allowed.shape) > 1
    return np.array([_shorten(point, s, allowed) for point, s in zip(points, step, strict=True)]).reshape(-1, 3)


def _shorten(point: Indices, step: FloatArray, allowed: npt.NDArray[np.bool_]) -> FloatArray:
    """Add the longest part of a step, by `_NOISE_FACTORS`, that ends in a voxel of `allowed`."""
    for factor in _NOISE_FACTORS:
        moved = point + factor * step
        voxel = np.rint(moved).astype(np.intp)
        if np.all((voxel >= 0) & (voxel < allowed.shape)) and allowed[tuple(voxel)]:
            return np.asarray(moved, dtype=np.float64)
    return point.astype(np.float64)


def _make_clicks(points: FloatArray, geometry: Geometry, *, label: int, is_positive: bool) -> Iterator[Click]:
    """Turn continuous voxel indices, (n, 3), into clicks."""
    for x, y, z in geometry.to_mm(points).tolist():
        yield Click(position_mm=(x, y, z), label=label, is_positive=is_positive)
