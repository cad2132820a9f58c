"""All folds of one configuration as one network, with the second step of a cascade."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import transpose
from interactivepet.core.case import PreprocessedCase
from interactivepet.core.geometry import SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.fuse import average, to_segmentation
from interactivepet.inference.network import FoldNetwork
from interactivepet.inference.progress import show_progress
from interactivepet.preprocessing.resample import LINEAR, resample

__all__ = ["FoldEnsemble", "to_coarse_mask"]

logger = logging.getLogger(__name__)

COARSE_THRESHOLD = 0.5
"""Of the low-resolution step's mask, in training and in use alike."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldEnsemble:
    """The folds of one configuration.

    Attributes:
        plan: that they were trained with.
        folds: at least one.
    """

    plan: Plan
    folds: tuple[FoldNetwork, ...]

    @property
    def name(self) -> str:
        """Which folds of which configuration."""
        return f"{self.plan.configuration} {' '.join(fold.name for fold in self.folds)}"

    @property
    def licence(self) -> str:
        """Every different licence of the folds' weights."""
        return "; ".join(dict.fromkeys(fold.licence for fold in self.folds))

    def predict(
        self, ready: PreprocessedCase, clicks: Sequence[Click], *, coarse: Prediction | None = None
    ) -> Prediction:
        """Average the folds on the network's grid, and show how far they are.

        Args:
            ready: the case on that grid.
            clicks: in RAS+ mm; may be empty.
            coarse: of `3d_lowres` on the scanner's grid, which `3d_cascade` refines.
        """
        previous = None if coarse is None else to_coarse_mask(coarse, ready.trace)
        first = self.folds[0]
        tiles = first.plan_tiles(ready, clicks, previous=previous)
        if skipped := tiles.find_skipped(first.mirror_axes):
            logger.info("%s: %.0f %% of the network's runs skipped, as they would see air", ready.id, 100 * skipped)
        n_passes = tiles.count_passes(first.mirror_axes) * len(self.folds)
        with show_progress(ready.id, n_passes) as tick:
            return average(
                fold.predict(ready, clicks, previous=previous, tiles=tiles, tick=tick) for fold in self.folds
            )


def to_coarse_mask(coarse: Prediction, trace: SpatialTrace) -> npt.NDArray[np.uint8]:
    """Bring the first step's prediction onto the second step's grid, as a mask (I, J, K) of label values."""
    axes = trace.axes
    inside = transpose(coarse.probabilities, axes)[(slice(None), *trace.crop.permuted(axes).slices)]
    shown = Prediction(
        coarse.case_id, resample(inside, trace.resampled.shape, order=LINEAR), trace.resampled, coarse.labels
    )
    return to_segmentation(shown, threshold=COARSE_THRESHOLD).mask
