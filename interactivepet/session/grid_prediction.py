"""A case as the folds of one configuration see it: predicted once, then again only near new clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from interactivepet.core.case import PreprocessedCase
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import FoldEnsemble, to_coarse_mask
from interactivepet.inference.region import find_windows, make_shares
from interactivepet.session.patched_array import PatchedArray

__all__ = ["GridPrediction", "correct_grid"]


@dataclass(frozen=True, slots=True, eq=False)
class GridPrediction:
    """The probabilities of one configuration at one moment.

    Attributes:
        ready: the case on the network's grid.
        array: the folds' mean probabilities (1 + L, I, J, K) on that grid.
        skipped: share in [0, 1] of the network's runs that were left out when the whole case was predicted.
        changed: the box of that grid in which it differs from the prediction before; None where all of it does.
        is_near: whether it began near clicks, and the rest of the case was never predicted.
    """

    ready: PreprocessedCase
    array: PatchedArray
    skipped: float
    changed: BoundingBox | None = None
    is_near: bool = False


def correct_grid(
    ensemble: FoldEnsemble,
    prediction: GridPrediction,
    *,
    clicks: Sequence[Click],
    n_new: int,
    coarse: Prediction | None,
) -> GridPrediction:
    """Predict again near the last clicks.

    The first clicks on a case are seen as training showed them: without a previous mask, or with the coarse one in
    a cascade. Later ones correct what the prediction itself says (`training.correct`).

    Args:
        ensemble: the folds.
        prediction: before the new clicks.
        clicks: all of the case, in RAS+ mm, the new ones last.
        n_new: how many of them the prediction has not seen, at least one.
        coarse: of `3d_lowres` on the scanner's grid, which `3d_cascade` refines.
    """
    grid, plan = prediction.ready.trace.resampled, ensemble.plan
    first = None
    if n_new == len(clicks):
        first = np.zeros(grid.shape, np.uint8) if coarse is None else to_coarse_mask(coarse, prediction.ready.trace)
    windows = find_windows(clicks[-n_new:], grid, patch=plan.patch_size, scale_mm=plan.guidance.scale_mm)
    array, labels = prediction.array, np.asarray((0, *plan.label_values), np.uint8)
    for box, core in windows:
        earlier = array.read(box)
        # the likeliest class, as corrections in training take it
        previous = labels[earlier.argmax(axis=0)] if first is None else first[box.slices]
        found = np.mean(
            [fold.predict_box(prediction.ready, clicks, previous=previous, box=box) for fold in ensemble.folds],
            axis=0,
        )
        shares = make_shares((box, core), grid.shape)
        array = array.changed(earlier + shares * (found - earlier), box)
    return replace(prediction, array=array, changed=reduce(BoundingBox.union, (box for box, _ in windows)))
