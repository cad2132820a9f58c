"""The order of preprocessing: crop, then resample, then normalise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import BoundingBox, SpatialTrace
from interactivepet.core.plan import Plan
from interactivepet.preprocessing.crop import crop
from interactivepet.preprocessing.normalise import normalise
from interactivepet.preprocessing.resample import CUBIC, find_target_shape, resample, resample_label

__all__ = ["FOREGROUND_SAMPLES", "preprocess", "sample_foreground"]

FOREGROUND_SAMPLES = 500
"""Voxels of each label that are remembered for drawing patches; more would only make the file longer."""


def preprocess(case: Case, plan: Plan, *, body: BoundingBox) -> PreprocessedCase:
    """Bring a case onto the plan's grid and intensities.

    Cropping comes first because resampling is what costs time and memory. Normalisation comes last,
    on the grid that the network sees.

    Args:
        case: on the scanner's grid.
        plan: spacing and normalisation are read from it.
        body: the box to keep, of `planning.fingerprint.find_body_box`.
    """
    kept = crop(case, body)
    shape = find_target_shape(kept.geometry.shape, kept.geometry.spacing_mm, target_mm=plan.spacing_mm)
    image = normalise(resample(kept.image, shape, order=CUBIC), plan.normalisation)
    label = None if kept.label is None else resample_label(kept.label, shape)
    trace = SpatialTrace(original=case.geometry, crop=body, resampled=kept.geometry.resampled(shape))
    return PreprocessedCase(case.id, image, label, trace)


def sample_foreground(
    label: npt.NDArray[np.uint8], rng: np.random.Generator
) -> dict[int, tuple[tuple[int, int, int], ...]]:
    """Draw up to `FOREGROUND_SAMPLES` voxel indices of each label value of (I, J, K), sorted by value."""
    drawn: dict[int, tuple[tuple[int, int, int], ...]] = {}
    for value in np.unique(label[label > 0]):
        found = np.argwhere(label == value)
        chosen = rng.choice(len(found), size=min(len(found), FOREGROUND_SAMPLES), replace=False)
        drawn[int(value)] = tuple((int(i), int(j), int(k)) for i, j, k in found[np.sort(chosen)])
    return drawn
