"""Which grids a task is learnt on: full resolution, slices, and a coarser one, each with its patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interactivepet.core.geometry import FloatArray, Shape, Spacing, to_triple
from interactivepet.core.plan import Configuration
from interactivepet.errors import PlanError
from interactivepet.planning.rules import ANISOTROPIC_RATIO
from interactivepet.planning.sizing import SMALLEST_BATCH, NetworkSpec, cover_shape, fit_patch

__all__ = ["Extents", "Grid", "find_grids"]

LOWRES_SHARE = 0.25
"""A coarser step is called for when the patch spans less than this share of the volume it should see (nnU-Net)."""

COARSENING = 1.03
"""Factor of a step by which the spacing is coarsened (nnU-Net)."""

LOWRES_VOXELS = 0.5
"""A coarser grid holds at most this share of the voxels, or it would be the same task twice (nnU-Net)."""

SPACING_RATIO = 2.0
"""Axes finer than the coarsest by more than this are coarsened first, as the network pools them first (nnU-Net)."""

SLICE_PERCENTILE = 50.0
"""A 2D patch covers the median image: one that covers the longest is padding to all others, and costs as much."""

SLICE_BATCH = 6
"""Whole images this many at a time, few as the cases may be, are worth a coarser spacing ..."""

SLICE_COARSENING = 2.0
"""... up to this factor. On whole-body projections of 384 x 1024 pixels, with lesions among physiological uptake and
eight minutes on one core, whole images of half the resolution reached a Dice of 0.46, patches of 352 x 448 one of 0.33.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """How far the cases and their objects reach.

    Attributes:
        finest_mm: spacing of the full resolution.
        boxes_mm: (n, 3) edges of what is kept of each case.
        flat: axes along which every case has one voxel.
        reach_mm: widest edge of a patch that objects call for.
        target_shape: of every case, for tasks on a fixed grid.
    """

    finest_mm: Spacing
    boxes_mm: FloatArray
    flat: tuple[int, ...]
    reach_mm: float
    target_shape: Shape | None

    def find_shape(self, spacing: Spacing, *, percentile: float = 50.0) -> Shape:
        """Find the cases' shape in voxels of this spacing, axis by axis at a percentile of the cases."""
        shapes = np.maximum(1, np.round(self.boxes_mm / np.array(spacing)))
        found = np.percentile(shapes, percentile, axis=0)
        return to_triple(1 if axis in self.flat else round(float(n)) for axis, n in enumerate(found))


@dataclass(frozen=True, slots=True)
class Grid:
    """A configuration's grid and the patch on it.

    Attributes:
        spacing: in mm along (i, j, k).
        median: shape of the median case in voxels.
        patch: in voxels.
        reasons: field of the plan -> why.
        batch: that is worth its memory, whatever share of the task it holds.
    """

    spacing: Spacing
    median: Shape
    patch: Shape
    reasons: Mapping[str, str]
    batch: int = SMALLEST_BATCH


def find_grids(
    extents: Extents, spec: NetworkSpec, *, wanted: tuple[Configuration, ...] | None, cropped: bool
) -> dict[Configuration, Grid]:
    """Give the grid of each configuration, the default first.

    Args:
        extents: of the task.
        spec: of all configurations' networks.
        wanted: None takes those that the extents call for.
        cropped: whether cases are cropped to their clicks, which leaves nothing for a coarser step to find.

    Raises:
        PlanError: `wanted` is impossible, or even the smallest patch exceeds the budget.
    """
    if extents.flat:
        _check_flat(wanted or ())
        return {"2d": _find_slice_grid(extents, spec)}
    full = _find_full_grid(extents, spec)
    if wanted is None:
        wanted = _choose_configurations(extents, full, cropped=cropped)
    _check_wanted(wanted, is_fixed=extents.target_shape is not None)
    grids: dict[Configuration, Grid] = {}
    for name in wanted:
        if name == "2d":
            grids[name] = _find_slice_grid(extents, spec)
        elif name == "3d_lowres":
            grids[name] = _find_coarse_grid(extents, spec, full=full)
        else:
            grids[name] = full
    return grids


def _check_wanted(wanted: tuple[Configuration, ...], *, is_fixed: bool) -> None:
    if "3d_cascade" in wanted and not {"3d_lowres", "3d_fullres"}.issubset(wanted):
        raise PlanError("3d_cascade refines the masks of 3d_lowres on the cases of 3d_fullres; ask for all three")
    if "3d_lowres" in wanted and is_fixed:
        raise PlanError(
            "3d_lowres has a coarser grid, but every case is resampled to one shape; leave out 3d_lowres and "
            "3d_cascade, or --target-shape"
        )


def _check_flat(wanted: tuple[Configuration, ...]) -> None:
    impossible = [name for name in wanted if name != "2d"]
    if impossible:
        raise PlanError(f"{', '.join(impossible)} cannot be planned, since every case is a 2D image; leave it out")


def _choose_configurations(extents: Extents, full: Grid, *, cropped: bool) -> tuple[Configuration, ...]:
    """Choose the configurations that the extents call for.

    Slices by themselves when the task is anisotropic (nnU-Net plans them always). Two steps when the patch spans
    less than `LOWRES_SHARE` of what it should see: the median case, or on the `cpu` budget what lies within reach of
    the objects, since a patch that was bounded by its objects lacks no context.
    """
    slices: tuple[Configuration, ...] = ("2d",) if max(full.spacing) >= ANISOTROPIC_RATIO * min(full.spacing) else ()
    seen = np.prod([min(n, extents.reach_mm / mm) for n, mm in zip(full.median, full.spacing, strict=True)])
    narrow = np.prod(full.patch) < LOWRES_SHARE * seen
    two_steps: tuple[Configuration, ...] = ()
    if narrow and not cropped and extents.target_shape is None:
        two_steps = ("3d_lowres", "3d_cascade")
    return ("3d_fullres", *slices, *two_steps)


def _find_full_grid(extents: Extents, spec: NetworkSpec) -> Grid:
    """Give the grid of full resolution, or the fixed one, and the widest patch that is affordable."""
    if extents.target_shape is not None:
        return _find_fixed_grid(extents, spec, shape=extents.target_shape, seen=extents.target_shape)
    spacing = extents.finest_mm
    median = extents.find_shape(spacing)
    reasons = {
        "spacing_mm": "median of the cases; the coarsest axis of an anisotropic task at its 10th percentile",
        "patch_size": "equal edges in mm within the median shape (cpu: near objects), shrunk to fit the budget",
    }
    return Grid(spacing, median, fit_patch(median, spacing, spec=spec, reach_mm=extents.reach_mm), reasons)


def _find_fixed_grid(extents: Extents, spec: NetworkSpec, *, shape: Shape, seen: Shape) -> Grid:
    """Give the grid of a fixed shape, and a patch that covers `seen` of it where that is affordable."""
    spacing = to_triple(float(mm) for mm in np.median(extents.boxes_mm, axis=0) / shape)
    patch = _fit_or_cover(seen, spacing, spec)
    reasons = {
        "spacing_mm": "the median case divided by target_shape, which was asked for",
        "patch_size": "covers target_shape, or what of it fits the budget",
    }
    return Grid(spacing, shape, patch, reasons)


def _fit_or_cover(shape: Shape, spacing: Spacing, spec: NetworkSpec) -> Shape:
    """Give the patch that covers a shape, or the largest that is affordable."""
    whole = cover_shape(shape, spacing, spec=spec)
    return whole if spec.fits(whole, spacing, batch_size=SMALLEST_BATCH) else fit_patch(shape, spacing, spec=spec)


def _find_coarse_grid(extents: Extents, spec: NetworkSpec, *, full: Grid) -> Grid:
    """Coarsen the spacing until the patch covers `LOWRES_SHARE` of the median case, whatever the objects' reach."""
    spacing = full.spacing
    while True:
        spacing = _coarsen(spacing)
        median = extents.find_shape(spacing)
        if np.prod(median) > LOWRES_VOXELS * np.prod(full.median):
            continue
        patch = fit_patch(median, spacing, spec=spec)
        if np.prod(patch) >= LOWRES_SHARE * np.prod(median):
            break
    reasons = {
        "spacing_mm": "coarsened from 3d_fullres in steps of 3 % until a patch covers a quarter of the median case",
        "patch_size": "equal edges in mm within the median shape, shrunk to fit the budget",
    }
    return Grid(spacing, median, patch, reasons)


def _coarsen(spacing: Spacing) -> Spacing:
    """Coarsen by one step the axes that are finer than `SPACING_RATIO` allows, or all when none is."""
    fine = [SPACING_RATIO * mm < max(spacing) for mm in spacing]
    return to_triple(
        mm if any(fine) and not is_fine else mm * COARSENING for mm, is_fine in zip(spacing, fine, strict=True)
    )


def _find_slice_grid(extents: Extents, spec: NetworkSpec) -> Grid:
    """Give the grid of slices along the coarsest axis, and a patch of one slice, whole where affordable.

    The spacing within the slice is coarsened until `SLICE_BATCH` whole images fit, by `SLICE_COARSENING` at most.
    """
    axis = extents.flat[0] if extents.flat else int(np.argmax(extents.finest_mm))
    if extents.target_shape is not None:
        seen = _flatten(extents.target_shape, axis)
        return _find_fixed_grid(extents, spec, shape=extents.target_shape, seen=seen)
    factor, spacing = 1.0, extents.finest_mm
    while True:
        shape = _flatten(extents.find_shape(spacing, percentile=SLICE_PERCENTILE), axis)
        patch = cover_shape(shape, spacing, spec=spec)
        if spec.fits(patch, spacing, batch_size=SLICE_BATCH):
            break
        if factor == SLICE_COARSENING:
            patch = _fit_or_cover(shape, spacing, spec)
            break
        factor = min(factor * COARSENING, SLICE_COARSENING)
        spacing = to_triple(mm if a == axis else mm * factor for a, mm in enumerate(extents.finest_mm))
    reasons = {
        "spacing_mm": f"median of the cases times {factor:.2f}, at most 2, so that six whole images fit the budget",
        "patch_size": "covers the median image, or what of it fits the budget",
    }
    return Grid(spacing, extents.find_shape(spacing), patch, reasons, SLICE_BATCH)


def _flatten(shape: Shape, axis: int) -> Shape:
    return to_triple(1 if a == axis else n for a, n in enumerate(shape))
