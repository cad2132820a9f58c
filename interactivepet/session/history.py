"""What the ensemble makes of a case and its clicks at one moment, and how new clicks lead to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import fmean

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.ensemble import FusionRule, add_first_steps
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.errors import CaseError
from interactivepet.inference.region import find_scanner_box
from interactivepet.inference.tiles import plan_all_tiles
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.preprocessing.restore import make_background, restore_box
from interactivepet.session.grid_prediction import GridPrediction, correct_grid
from interactivepet.session.near_clicks import predict_near
from interactivepet.session.patched_array import PatchedArray
from interactivepet.session.size import warn_of_size

__all__ = ["CaseModel", "PredictionState"]


@dataclass(frozen=True, slots=True, eq=False)
class PredictionState:
    """Probabilities after some clicks.

    Attributes:
        n_clicks: how many were seen.
        fused: the configurations that are averaged.
        grids: of each of them, and of the first step of a cascade.
        canvas: their mean (1 + L, I, J, K) on the scanner's grid.
    """

    n_clicks: int
    fused: tuple[Configuration, ...]
    grids: Mapping[Configuration, GridPrediction]
    canvas: PatchedArray

    @property
    def is_near(self) -> bool:
        """Whether the case was only predicted near clicks."""
        return any(prediction.is_near for prediction in self.grids.values())


class CaseModel:
    """The folds of every configuration, ready for one case; what clicks do not change is computed once.

    Attributes:
        case: on the scanner's grid.
    """

    def __init__(self, folds: Mapping[Configuration, FoldEnsemble], case: Case) -> None:
        """Take a case; nothing is computed yet.

        Args:
            folds: by configuration, the first step of a cascade before the second.
            case: on the scanner's grid.

        Raises:
            CaseError: it has other channels than the folds were trained on.
        """
        channels = next(iter(folds.values())).plan.channels
        if len(case.image) != len(channels):
            raise CaseError(
                f"{case.id}: {len(case.image)} channels, expected {', '.join(channels)}; add or remove some"
            )
        self._folds = folds
        self.case = case
        self._ready: dict[Configuration, PreprocessedCase] = {}

    def prepare(self) -> None:
        """Preprocess the case for every plan that needs no clicks for it, so that the first answer need not wait."""
        for name, folds in self._folds.items():
            if folds.plan.crop.region == "body":
                self._prepare(name, (), prediction=None)

    def predict(self, clicks: Sequence[Click], *, fusion: FusionRule) -> Prediction:
        """Predict the whole case with all clicks at once, and keep nothing but the result; as of `advance`, `read`."""
        grids = self._predict_grids(None, clicks, fusion=fusion, is_whole=True)
        return self._restore([grids[name] for name in fusion.configurations])

    def read(self, state: PredictionState) -> Prediction:
        """Give the folds' mean probabilities (1 + L, I, J, K) on the scanner's grid, a new array."""
        return self._make_prediction(state.canvas.flatten(), [state.grids[name] for name in state.fused])

    def advance(self, state: PredictionState | None, clicks: Sequence[Click], *, fusion: FusionRule) -> PredictionState:
        """Give the state after all of `clicks`.

        Args:
            state: after the first `state.n_clicks` of them; None predicts the case with all of them, a large one only
                near them.
            clicks: in RAS+ mm, oldest first.
            fusion: which configurations to average.
        """
        grids = self._predict_grids(state, clicks, fusion=fusion, is_whole=not any(c.is_positive for c in clicks))
        return PredictionState(len(clicks), fusion.configurations, grids, self._paint(state, grids, fusion=fusion))

    def _predict_grids(
        self, state: PredictionState | None, clicks: Sequence[Click], *, fusion: FusionRule, is_whole: bool
    ) -> dict[Configuration, GridPrediction]:
        """Predict with every configuration.

        Where the case was predicted before, near the new clicks alone; before that, all of it if `is_whole`.
        """
        n_new = len(clicks) - (0 if state is None else state.n_clicks)
        grids: dict[Configuration, GridPrediction] = {}
        for name in add_first_steps(fusion.configurations):
            prediction = None if state is None else state.grids.get(name)
            ready = self._prepare(name, clicks, prediction=prediction)
            is_new = prediction is None or prediction.ready is not ready
            uses_coarse = name == "3d_cascade" and (is_new or n_new == len(clicks))
            coarse = self._restore([grids["3d_lowres"]]) if uses_coarse else None
            if prediction is None or is_new:
                grids[name] = self._predict_first(name, ready, clicks, coarse=coarse, is_whole=is_whole)
            elif n_new:
                grids[name] = correct_grid(self._folds[name], prediction, clicks=clicks, n_new=n_new, coarse=coarse)
            else:
                grids[name] = prediction
        return grids

    def _predict_first(
        self,
        name: Configuration,
        ready: PreprocessedCase,
        clicks: Sequence[Click],
        *,
        coarse: Prediction | None,
        is_whole: bool,
    ) -> GridPrediction:
        """Predict with one configuration what it has not seen before.

        A case of one tile is predicted whole. So is one that is cropped to its clicks, as in training; and the second
        step of a cascade looks near the clicks by itself.
        """
        folds = self._folds[name]
        whole = BoundingBox((0, 0, 0), ready.trace.resampled.shape)
        is_small = plan_all_tiles(whole, folds.plan.patch_size).n_tiles == 1
        if is_whole or is_small or coarse is not None or folds.plan.crop.region != "body":
            if name == next(iter(self._folds)):
                warn_of_size(self.case, folds.plan)
            found = folds.predict(ready, clicks, coarse=coarse)
            return GridPrediction(ready, PatchedArray.of(found.probabilities), found.skipped)
        return predict_near(folds, ready, clicks)

    def _prepare(
        self, name: Configuration, clicks: Sequence[Click], *, prediction: GridPrediction | None
    ) -> PreprocessedCase:
        """Preprocess the case, again only when a plan crops to clicks and the clicks have left the crop."""
        plan = self._folds[name].plan
        known = [] if prediction is None else [prediction.ready]
        known += [self._ready[name]] if name in self._ready else []
        if known and plan.crop.region == "body":
            return known[0]
        box = find_crop(self.case, plan, clicks=clicks)
        for ready in known:
            if ready.trace.crop == box:
                return ready
        self._ready[name] = preprocess(self.case, plan, box=box)
        return self._ready[name]

    def _restore(self, fused: Sequence[GridPrediction]) -> Prediction:
        """Average whole predictions on the scanner's grid."""
        return self._make_prediction(_average(fused, BoundingBox((0, 0, 0), self.case.geometry.shape)), fused)

    def _paint(
        self, state: PredictionState | None, grids: Mapping[Configuration, GridPrediction], *, fusion: FusionRule
    ) -> PatchedArray:
        """Average the grids on the scanner's grid, only where they changed."""
        fused = [grids[name] for name in fusion.configurations]
        boxes = [
            find_scanner_box(prediction.changed, prediction.ready.trace)
            for prediction in fused
            if prediction.changed is not None
        ]
        is_partial = (state is None or state.fused == fusion.configurations) and len(boxes) == len(fused)
        # outside of the crops the background is certain
        box = reduce(BoundingBox.union, boxes if is_partial else [prediction.ready.trace.crop for prediction in fused])
        values = _average(fused, box)
        if state is not None and is_partial:
            return state.canvas.changed(values, box)
        # in next to no memory
        background = np.broadcast_to(make_background(len(values), (1, 1, 1)), (len(values), *self.case.geometry.shape))
        return PatchedArray.of(background).changed(values, box)

    def _make_prediction(self, values: npt.NDArray[np.float32], fused: Sequence[GridPrediction]) -> Prediction:
        labels = next(iter(self._folds.values())).plan.label_values
        skipped = fmean(prediction.skipped for prediction in fused)
        return Prediction(self.case.id, values, self.case.geometry, labels, skipped)


def _average(fused: Sequence[GridPrediction], box: BoundingBox) -> npt.NDArray[np.float32]:
    """Average predictions in a box of the scanner's grid: (1 + L, *box.shape)."""
    parts = (restore_box(prediction.array.read, prediction.ready.trace, box=box) for prediction in fused)
    total = next(parts)
    for part in parts:
        total += part
    total /= np.float32(len(fused))
    return total
