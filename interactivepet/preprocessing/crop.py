"""Choose what is kept of an image before it is resampled, and cut the rest away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

from interactivepet.core.case import Case, find_body_box
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.errors import InteractionError

__all__ = ["crop", "find_crop"]


def crop(case: Case, box: BoundingBox) -> Case:
    """Keep the voxels of `box`; the geometry moves along."""
    label = None if case.label is None else case.label[box.slices]
    return Case(case.id, case.image[(slice(None), *box.slices)], case.geometry.cropped(box), label)


def find_crop(case: Case, plan: Plan, *, clicks: Sequence[Click]) -> BoundingBox:
    """Find the box that the plan keeps.

    `body` keeps what is not background in every channel. `clicks` keeps the labelled voxels and the clicks with
    `margin_mm` around them, as far as the body reaches; a label without any voxel, and without clicks, keeps
    the body.

    Args:
        case: on the scanner's grid; in training with its label (empty when nothing is labelled), else without.
        plan: its `crop` is read.
        clicks: in RAS+ mm; those outside of the image count at its border.

    Raises:
        InteractionError: the plan crops to clicks, but the case has neither a click nor a label.
    """
    shape, rule = case.geometry.shape, plan.crop
    margin = _to_voxels(rule.margin_mm, case.geometry)
    body = find_body_box(case.image)
    if rule.region == "body":
        return body.grown(margin, within=shape)
    marked = _find_marked(case, clicks)
    if marked is not None:
        # Where somebody pointed is kept even when it is background.
        wide = marked.grown(margin, within=shape)
        return wide.intersection(body.union(marked)) or wide
    if case.label is None:
        raise InteractionError(
            f"{case.id}: no clicks, but this plan crops to them (crop.region is clicks); place at least one click, "
            "or plan and train with crop.region body"
        )
    return body.grown(margin, within=shape)


def _find_marked(case: Case, clicks: Sequence[Click]) -> BoundingBox | None:
    """Find the box of label and clicks; None when there are neither."""
    boxes = [BoundingBox.of_voxel(case.geometry.find_voxel(click.position_mm)) for click in clicks]
    labelled = None if case.label is None else BoundingBox.of(case.label > 0)
    if labelled is not None:
        boxes.append(labelled)
    return reduce(BoundingBox.union, boxes) if boxes else None


def _to_voxels(margin_mm: float, geometry: Geometry) -> Shape:
    # Rounded, or the noise of a rotated grid would add a voxel.
    return to_triple(math.ceil(round(margin_mm / mm, 3)) for mm in geometry.spacing_mm)
