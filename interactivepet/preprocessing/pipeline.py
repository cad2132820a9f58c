"""The order of preprocessing: permute the axes, then crop, then resample, then normalise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import BoundingBox, SpatialTrace
from interactivepet.core.plan import Plan
from interactivepet.preprocessing.crop import crop
from interactivepet.preprocessing.normalise import normalise
from interactivepet.preprocessing.resample import CUBIC, find_target_shape, resample, resample_label
from interactivepet.preprocessing.room import check_room

__all__ = ["FOREGROUND_SAMPLES", "preprocess", "sample_foreground"]

FOREGROUND_SAMPLES = 500
"""Voxels of each label that are remembered for drawing patches; more would only make the file longer."""


def preprocess(case: Case, plan: Plan, *, box: BoundingBox) -> PreprocessedCase:
    """Bring a case onto the plan's grid and intensities.

    The axes come into the plan's order before anything is computed, so that an image gives the same voxels in whatever
    order it is stored. Cropping comes next because resampling is what costs time and memory. Normalisation comes last,
    on the grid that the network sees.

    Args:
        case: on the scanner's grid.
        plan: order of the axes, spacing or target shape, and normalisation, are read from it.
        box: the box of the case's own grid to keep, of `find_crop`.

    Raises:
        CaseError: the plan's grid is too fine for this machine's memory.
    """
    axes = plan.find_axes(case.geometry)
    kept = crop(case.permuted(axes), box.permuted(axes))
    grid = kept.geometry
    shape = plan.target_shape or find_target_shape(grid.shape, grid.spacing_mm, target_mm=plan.spacing_mm)
    check_room(case.id, shape, n_channels=len(kept.image))
    resampled = resample(kept.image, shape, order=CUBIC)
    # An array of our own is normalised in place: images are what fills the memory.
    image = normalise(resampled, plan.normalisation, out=None if resampled is kept.image else resampled)
    label = None if kept.label is None else resample_label(kept.label, shape)
    trace = SpatialTrace(original=case.geometry, crop=box, resampled=grid.resampled(shape))
    return PreprocessedCase(case.id, image, label, trace)


def sample_foreground(
    label: npt.NDArray[np.uint8], rng: np.random.Generator
) -> dict[int, tuple[tuple[int, int, int], ...]]:
    """Draw up to `FOREGROUND_SAMPLES` voxel indices of each label value of (I, J, K), sorted by value."""
    drawn: dict[int, tuple[tuple[int, int, int], ...]] = {}
    for value in np.unique(label[label > 0]):
        found = np.flatnonzero(label == value)
        chosen = rng.choice(len(found), size=min(len(found), FOREGROUND_SAMPLES), replace=False)
        voxels = zip(*np.unravel_index(found[np.sort(chosen)], label.shape), strict=True)
        drawn[int(value)] = tuple((int(i), int(j), int(k)) for i, j, k in voxels)
    return drawn
