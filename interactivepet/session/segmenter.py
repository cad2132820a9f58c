"""The chosen folds and nnInteractive as one segmenter: what a prediction, a session and a simulation go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from interactivepet.core.case import Case
from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction, Segmentation
from interactivepet.ensemble.click_constraints import make_mask
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.ensemble.fuse import blend, find_silent
from interactivepet.inference.segmenter import Segmenter
from interactivepet.session.history import CaseModel
from interactivepet.session.prompts import check_clicks

__all__ = ["FAST_FOLDS", "EnsembleSegmenter", "SessionModel", "make_segmentation"]

FAST_FOLDS = 2
"""Folds of a fast session: the fewest of which one can correct the other."""


class SessionModel(Protocol):
    """What is needed of a task's results; `pipeline.predict.models.Models` is one."""

    @property
    def folds(self) -> Mapping[Configuration, FoldEnsemble]:
        """The trained folds by configuration, the first step of a cascade before the second."""
        ...

    @property
    def promptable(self) -> Segmenter | None:
        """nnInteractive, when it takes part."""
        ...

    def choice(self, clicks: Sequence[Click], *, is_corrected: bool) -> tuple[FusionRule, PostprocessingRule]:
        """Give the rules for a case with these clicks, of which some may correct a mask that was shown."""
        ...


class EnsembleSegmenter:
    """Predicts a case with all of its clicks at once, by the choice from cross-validation.

    Attributes:
        folds: by configuration, the first step of a cascade before the second.
        name: which folds of which configurations, and which nnInteractive.
        licence: every different licence of the weights.
        labels: values that clicks can have.
    """

    def __init__(self, model: SessionModel, *, fast: bool = False) -> None:
        """Take a task's results.

        Args:
            model: folds, nnInteractive and the choice.
            fast: use `FAST_FOLDS` folds and no mirrored inputs.
        """
        self._model = model
        self.folds = {name: _hasten(folds) if fast else folds for name, folds in model.folds.items()}
        parts: list[FoldEnsemble | Segmenter] = [
            *self.folds.values(),
            *([model.promptable] if model.promptable is not None else []),
        ]
        self.name = "; ".join(part.name for part in parts)
        self.licence = "; ".join(dict.fromkeys(part.licence for part in parts))
        self.labels = next(iter(self.folds.values())).plan.label_values

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Predict a case; as of `Segmenter`.

        Raises:
            CaseError: the case has other channels than the model was trained on.
            InteractionError: a click is outside of the image or has an unknown label, or there is none and the plan
                crops to clicks.
            SegmenterError: nnInteractive failed.
        """
        check_clicks(clicks, case_id=case.id, geometry=case.geometry, labels=self.labels)
        fusion, _ = self._model.choice(clicks, is_corrected=False)
        folds = CaseModel(self.folds, case)
        return self.fuse(case, clicks, fusion=fusion, predict_folds=lambda: folds.predict(clicks, fusion=fusion))

    def fuse(
        self, case: Case, clicks: Sequence[Click], *, fusion: FusionRule, predict_folds: Callable[[], Prediction]
    ) -> Prediction:
        """Blend nnInteractive's probabilities into those of the folds.

        Args:
            case: image (C, I, J, K) in the units of its files.
            clicks: in RAS+ mm, oldest first; without any, the folds predict alone.
            fusion: nnInteractive's share.
            predict_folds: gives the folds' mean on the case's own grid; not called where nnInteractive decides alone.

        Returns:
            Probabilities (1 + L, I, J, K) on the case's own grid.
        """
        promptable, weight = self._model.promptable, fusion.nninteractive_weight
        if promptable is None or not clicks or weight == 0:
            return predict_folds()
        shown = promptable.segment(case, clicks)
        if weight >= 1 and not find_silent(self.labels, clicks):
            return shown
        return blend(predict_folds(), shown, clicks, weight=weight)


def make_segmentation(
    case: Case,
    prediction: Prediction,
    clicks: Sequence[Click],
    *,
    fusion: FusionRule,
    postprocessing: PostprocessingRule,
) -> Segmentation:
    """Make the mask (I, J, K) of a case in which every click holds but the `unmet` ones; arguments of `make_mask`."""
    mask, unmet = make_mask(prediction, clicks, fusion=fusion, postprocessing=postprocessing)
    return Segmentation(case.id, mask, case.geometry, prediction.labels, unmet, case.source)


def _hasten(ensemble: FoldEnsemble) -> FoldEnsemble:
    """Give fewer folds without mirrored inputs."""
    return FoldEnsemble(ensemble.plan, tuple(replace(fold, tta=False) for fold in ensemble.folds[:FAST_FOLDS]))
