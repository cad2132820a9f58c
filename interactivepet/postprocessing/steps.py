"""The four clean-up steps of a predicted mask, and a rule of them applied to every label of a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.ensemble import PostprocessingRule
from interactivepet.core.geometry import BoundingBox, Geometry, Shape
from interactivepet.core.interaction import Click

__all__ = ["apply_rule", "drop_small", "fill_holes", "keep_clicked", "keep_largest"]

BACKGROUND_CONNECTIVITY: Final = 6
"""The dual of `CONNECTIVITY`: background does not leak out of a hole through an edge or a corner."""

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]
Voxels = npt.NDArray[np.int64]


def keep_clicked(mask: Mask, positive_voxels: Voxels) -> Mask:
    """Keep the components that hold at least one positive click.

    A click counts for the component of the very voxel that it lies in. When no component holds any, the
    mask is left as it is: losing a whole lesion to a click that missed it by a voxel would be worse than
    keeping a false positive.

    Args:
        mask: (I, J, K) bool.
        positive_voxels: (N, 3) integer voxel indices of the positive clicks; those outside are ignored.

    Returns:
        (I, J, K) bool.
    """
    components, n = find_components(mask)
    is_inside = np.all((positive_voxels >= 0) & (positive_voxels < mask.shape), axis=1)
    is_kept = np.zeros(n + 1, dtype=np.bool_)
    is_kept[components[tuple(positive_voxels[is_inside].T)]] = True
    is_kept[0] = False
    return _select(components, is_kept) if is_kept.any() else mask.copy()


def keep_largest(mask: Mask) -> Mask:
    """Keep the component with the most voxels, (I, J, K) bool; of equal ones, the first in the scan order."""
    components, n = find_components(mask)
    sizes = np.bincount(components.ravel(), minlength=n + 1)
    sizes[0] = 0
    is_kept = np.zeros(n + 1, dtype=np.bool_)
    is_kept[sizes.argmax()] = n > 0
    return _select(components, is_kept)


def drop_small(mask: Mask, *, minimum_volume_ml: float, voxel_volume_ml: float) -> Mask:
    """Drop the components of (I, J, K) bool that are smaller than `minimum_volume_ml`."""
    components, n = find_components(mask)
    is_kept = np.bincount(components.ravel(), minlength=n + 1) * voxel_volume_ml >= minimum_volume_ml
    is_kept[0] = False
    return _select(components, is_kept)


def fill_holes(mask: Mask) -> Mask:
    """Fill the cavities of (I, J, K) bool: background that shared faces do not join to the grid's border.

    An axis of length 1 has no border: in a 2D image, with K = 1, the holes of the plane are filled.
    """
    margin = [(1, 1) if n > 1 else (0, 0) for n in mask.shape]
    background, _ = find_components(~np.pad(mask, margin), connectivity=BACKGROUND_CONNECTIVITY)
    # in a plane or a volume the margin is one piece; along a single line it is two
    outside = np.unique([background[0, 0, 0], background[-1, -1, -1]])
    holes = (background != 0) & ~np.isin(background, outside)
    i, j, k = (slice(a, a + n) for (a, _), n in zip(margin, mask.shape, strict=True))
    filled: Mask = mask | holes[i, j, k]
    return filled


def apply_rule(
    mask: LabelMap,
    rule: PostprocessingRule,
    *,
    geometry: Geometry,
    clicks: Sequence[Click],
    labels: Sequence[int],
) -> LabelMap:
    """Clean a mask up, label by label, in the order of the rule's fields.

    Every label is first reduced (clicked, largest, small), and only then is every label filled, so that a
    hole may take the place of what another label lost, but never a voxel that another label still holds.
    A label without any positive click in the case is not reduced by `keep_clicked`.

    Args:
        mask: (I, J, K) uint8, 0 is background.
        rule: the steps.
        geometry: the grid of the mask.
        clicks: the case's clicks, of every label and sign.
        labels: values to clean; others stay as they are.

    Returns:
        (I, J, K) uint8, a new array.
    """
    cleaned = mask.copy()
    box = BoundingBox.of(mask != 0)
    if box is None or rule == PostprocessingRule():
        return cleaned
    # One voxel of margin, so that a flat object of a 3D grid does not turn into a 2D image.
    box = box.grown((1, 1, 1), geometry.shape)
    inner = cleaned[box.slices]
    for label in labels:
        voxels = _find_clicked_voxels(clicks, geometry, label=label, start=box.start)
        before = inner == label
        inner[before & ~_reduce(before, rule, voxels=voxels, voxel_volume_ml=geometry.voxel_volume_ml)] = 0
    for label in labels if rule.fill_holes else ():
        inner[fill_holes(inner == label) & (inner == 0)] = label
    return cleaned


def _reduce(mask: Mask, rule: PostprocessingRule, *, voxels: Voxels, voxel_volume_ml: float) -> Mask:
    """Apply the steps that take voxels away."""
    if rule.keep_clicked:
        mask = keep_clicked(mask, voxels)
    if rule.largest_component:
        mask = keep_largest(mask)
    if rule.minimum_volume_ml > 0:
        mask = drop_small(mask, minimum_volume_ml=rule.minimum_volume_ml, voxel_volume_ml=voxel_volume_ml)
    return mask


def _find_clicked_voxels(clicks: Sequence[Click], geometry: Geometry, *, label: int, start: Shape) -> Voxels:
    """Give the voxels (N, 3), counted from `start`, that hold the positive clicks of a label."""
    positions = [c.position_mm for c in clicks if c.is_positive and c.label == label]
    voxels = [geometry.find_voxel(position) for position in positions if geometry.contains(position)]
    relative: Voxels = np.reshape(voxels, (-1, 3)).astype(np.int64) - np.asarray(start)
    return relative


def _select(components: npt.NDArray[np.unsignedinteger], is_kept: Mask) -> Mask:
    """Give the voxels of the components whose number is marked in `is_kept`."""
    selected: Mask = is_kept[components]
    return selected
