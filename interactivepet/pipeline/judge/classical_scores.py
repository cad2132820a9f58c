"""What methods without training reach with the same clicks, beside the masks of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.classical import CLASSICAL_METHODS, ClassicalMethod
from interactivepet.core.interaction import Click
from interactivepet.core.report import ClassicalSummary
from interactivepet.errors import CaseError
from interactivepet.evaluation.metrics import dice
from interactivepet.inference.classical.segmenter import ClassicalSegmenter

__all__ = ["score_classical", "summarise_classical"]


def score_classical(
    case: Case, clicks: Sequence[Click], *, labels: Sequence[int], channel: str
) -> dict[ClassicalMethod, float]:
    """Score each method on one case.

    Args:
        case: image (C, I, J, K) and label (I, J, K).
        clicks: in RAS+ mm, oldest first.
        labels: values that count.
        channel: name of the first channel.

    Returns:
        Method -> mean Dice over the labels that the reference holds. Without any there is nothing to score; a method
        that needs another unit is left out.
    """
    if case.label is None:
        return {}
    present = [value for value in labels if (case.label == value).any()]
    found: dict[ClassicalMethod, float] = {}
    for method in CLASSICAL_METHODS if present else ():
        try:
            mask = ClassicalSegmenter(method, tuple(labels), channel).find_mask(case, clicks)
        except CaseError:
            continue
        found[method] = float(np.mean([dice(mask == value, case.label == value) or 0.0 for value in present]))
    return found


def summarise_classical(scores: Sequence[Mapping[ClassicalMethod, float]]) -> tuple[ClassicalSummary, ...]:
    """Average the Dice of each method over the cases; methods that some scored case cannot be given to drop."""
    scored = [case for case in scores if case]
    return tuple(
        ClassicalSummary(method=method, n=len(scored), mean_dice=float(np.mean([case[method] for case in scored])))
        for method in CLASSICAL_METHODS
        if scored and all(method in case for case in scored)
    )
