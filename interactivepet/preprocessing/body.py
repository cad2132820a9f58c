"""Find the body in a preprocessed image, so that the air around it need not be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.blocks import average_blocks
from interactivepet.core.case import PreprocessedCase
from interactivepet.core.components import find_components
from interactivepet.core.geometry import Shape, Spacing, to_triple
from interactivepet.core.plan import Normalisation, Plan

__all__ = ["MARGIN_MM", "find_body"]

MARGIN_MM = 20.0
"""By which the body is widened: skin, fingers and respiratory motion between CT and PET lie within it."""

EMISSION_NAMES = ("pet", "suv", "fdg", "psma", "spect", "nm")
"""What the names of channels that show uptake start with; air has none."""

LOWEST_TISSUE_HU = -500.0
"""Between air (-1000) and fat (-100). A CT that the plan clips above this value does not show where air is."""

COARSE_EDGE = 128
"""Longest edge in voxels of the grid that the body is looked for on: fine enough for an arm, quick on any image."""

MOST_LOSS_PER_OCTAVE = 0.1
"""Between air and body the voxels above a threshold hardly become fewer when it is doubled: by no more than this."""

BODY_SHARES = (0.02, 0.6)
"""Smallest and largest share of the image that a body fills; with more there is no air worth skipping."""

LEAST_UPTAKE = 0.1
"""Share of the body's median uptake that tissue has at least: in FDG fat has a third of it, air a hundredth."""

SMALLEST_PART = 0.002
"""Share of the body that a separate part, such as an arm, has at least; smaller ones are noise."""

LEAST_LENGTH = 0.9
"""Share of the longest axis along which a body is seen. An organ that outshines the rest is shorter."""

Mask = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.float32]


def find_body(case: PreprocessedCase, plan: Plan) -> tuple[Mask, Mask] | None:
    """Find the body, where the rule is sure of it.

    The rule needs channels of emission (PET, SPECT) or CT. Of emission it looks for the lowest threshold at which the
    number of voxels above it is stable, whatever the unit; of CT it takes what is denser than `LOWEST_TISSUE_HU`.
    Holes, such as lungs, are filled. The body must fill a plausible share of the image and reach from one end of its
    longest axis to the other.

    Args:
        case: on the network's grid, normalised by the plan.
        plan: its channels and normalisation are read.

    Returns:
        Two masks (I, J, K) bool on the network's grid: the body, and the body widened by `MARGIN_MM`. None for MR and
        other channels, for 2D images, and where no body is found.
    """
    grid = case.trace.resampled
    kinds = [_find_kind(name) for name in plan.channels]
    if 1 in grid.shape or None in kinds:
        return None
    steps = _find_steps(grid.shape)
    body = _join(case.image, plan.normalisation, kinds=kinds, steps=steps)
    if body is None:
        return None
    body = _clean(body)
    spacing_mm = _scale(grid.spacing_mm, steps)
    if not _is_plausible(body, spacing_mm):
        return None
    return _refine(body, steps, grid.shape), _refine(_widen(body, spacing_mm), steps, grid.shape)


def _find_steps(shape: Shape) -> Shape:
    return to_triple(-(-n // COARSE_EDGE) for n in shape)


def _find_kind(name: str) -> Literal["emission", "ct"] | None:
    kind = name.strip().lower()
    if kind == "ct":
        return "ct"
    return "emission" if kind.startswith(EMISSION_NAMES) else None


def _join(image: Volume, plans: Sequence[Normalisation], *, kinds: Sequence[str | None], steps: Shape) -> Mask | None:
    """Unite what the channels show; None unless every one of emission, or one of CT without any, shows it."""
    found: list[Mask] = []
    for channel, plan, kind in zip(image, plans, kinds, strict=True):
        part = _find_uptake(channel, plan, steps) if kind == "emission" else _find_tissue(channel, plan, steps)
        if part is None and kind == "emission":
            return None
        if part is not None:
            found.append(part)
    return np.logical_or.reduce(found) if found else None


def _find_uptake(values: Volume, plan: Normalisation, steps: Shape) -> Mask | None:
    """Find the voxels above the lowest threshold at which their number is stable; None when there is none.

    No unit is needed: normalisation is linear, and the value of no uptake is known from the plan or is the minimum.
    Scatter around the body may lie above that threshold, but not above `LEAST_UPTAKE`. By that rule, most of what lies
    below the threshold must be air.
    """
    none = -plan.mean / plan.std if plan.scheme == "suv" else float(values.min())
    uptake = np.maximum(average_blocks(values, steps) - np.float32(none), 0)
    highest = float(uptake.max())
    thresholds = highest * 2.0 ** np.arange(-20, 1, 0.5)
    shares = 1.0 - np.searchsorted(np.sort(uptake, axis=None), thresholds, side="right") / uptake.size
    for threshold, share, later in zip(thresholds, shares, shares[2:], strict=False):
        if share < BODY_SHARES[0]:
            return None
        if share <= BODY_SHARES[1] and share - later <= MOST_LOSS_PER_OCTAVE * share:
            above = uptake > threshold
            tissue = LEAST_UPTAKE * float(np.median(uptake[above]))
            is_air = float(np.median(uptake[~above])) < tissue
            return np.asarray(uptake > max(threshold, tissue)) if is_air else None
    return None


def _find_tissue(values: Volume, plan: Normalisation, steps: Shape) -> Mask | None:
    """Find what is denser than air in a CT whose Hounsfield units can be told from the plan."""
    if plan.scheme != "ct" or (plan.clip is not None and plan.clip[0] > LOWEST_TISSUE_HU):
        return None
    limit = (LOWEST_TISSUE_HU - plan.mean) / max(plan.std, 1e-8)
    return np.asarray(average_blocks(values, steps) > limit)


def _clean(mask: Mask) -> Mask:
    """Leave out noise, and fill holes in the slices along every axis."""
    from scipy import ndimage

    parts, _ = find_components(mask, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    body: Mask = (sizes >= max(1.0, SMALLEST_PART * sizes.max()))[parts]
    for axis in range(3):
        slices = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, axis, 0)]
        body = np.stack(slices, axis=axis)
    return body


def _is_plausible(body: Mask, spacing_mm: Spacing) -> bool:
    low, high = BODY_SHARES
    axis = int(np.argmax(np.multiply(body.shape, spacing_mm)))
    seen = body.any(axis=tuple(a for a in range(3) if a != axis))
    return bool(low <= body.mean() <= high and seen.mean() >= LEAST_LENGTH)


def _widen(body: Mask, spacing_mm: Spacing) -> Mask:
    """Widen by the margin, and by a voxel at least along every axis."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~body, sampling=spacing_mm)
    return np.asarray(distance <= max(MARGIN_MM, *spacing_mm))


def _refine(mask: Mask, steps: Shape, shape: Shape) -> Mask:
    """Undo `average_blocks`."""
    for axis, step in enumerate(steps):
        mask = mask.repeat(step, axis=axis)
    return mask[tuple(slice(n) for n in shape)]


def _scale(spacing_mm: Spacing, steps: Shape) -> Spacing:
    return to_triple(mm * step for mm, step in zip(spacing_mm, steps, strict=True))
