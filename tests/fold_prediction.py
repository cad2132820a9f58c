"""A case as the folds of one configuration predict it, written out: what every path of prediction must agree with."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.inference.network import return_to_scanner
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess


def predict_with_folds(
    ensemble: FoldEnsemble, case: Case, clicks: Sequence[Click], *, coarse: Prediction | None = None
) -> Prediction:
    """Preprocess, average the folds on the network's grid, and return to the scanner's."""
    ready = preprocess(case, ensemble.plan, box=find_crop(case, ensemble.plan, clicks=clicks))
    return return_to_scanner(ensemble.predict(ready, clicks, coarse=coarse), ready.trace)
