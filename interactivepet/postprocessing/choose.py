"""The choice among candidates by cross-validation, and the honest estimate of what the choice is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from interactivepet.core.ensemble import PostprocessingRule

__all__ = ["choose_simplest", "make_candidates"]

Scores = npt.NDArray[np.float64]

LARGEST_SPECK_ML = 2.0
"""A larger component is never dropped for its size: in a task of large tumours half the smallest one seen can be
30 ml, and the next patient's only lesion 17 ml."""


def make_candidates(volumes_ml: Sequence[float], *, with_clicks: bool) -> tuple[PostprocessingRule, ...]:
    """List every sensible combination of the steps, from the simplest to the most complicated.

    Dropping small components after all but the largest are gone could only empty the mask, so these two
    steps are never combined. Fewer steps are simpler; among rules with as many steps, those that take less
    away come first.

    Args:
        volumes_ml: volumes of the objects (components) of the reference labels, in ml, in any order.
        with_clicks: whether the masks were made with clicks, so that components can be kept for them.

    Returns:
        The candidates; the first one does nothing.
    """
    sizes = (0.0, *_find_minimum_volumes(volumes_ml))
    rules = [
        PostprocessingRule(keep_clicked=clicked, largest_component=largest, minimum_volume_ml=size, fill_holes=filled)
        for clicked, largest, size, filled in product(
            (False, True) if with_clicks else (False,), (False, True), sizes, (False, True)
        )
        if not (largest and size > 0)
    ]
    # The sort is stable: within one number of steps the order of the product above remains.
    return tuple(sorted(rules, key=_count_steps))


def choose_simplest(scores: Scores, *, margin: float) -> int:
    """Choose a candidate by its mean score, in favour of the simpler one.

    Start with the first candidate and walk through the others in order; move to a candidate only if its
    mean gain over the present choice exceeds both `margin` and the gain's own standard error over the cases:
    a gain that a handful of cases could turn round is no reason to leave the simpler rule. This is the
    one-standard-error rule (Breiman 1984, Classification and Regression Trees, section 3.4.3) on paired scores.

    Args:
        scores: (n_candidates, n_cases), higher is better; candidates from simple to complicated.
        margin: in the unit of the scores, 0 or more.

    Returns:
        Index of the chosen candidate; the first when there is no case to learn from.
    """
    chosen = 0
    n_cases = scores.shape[1]
    if n_cases == 0:
        return chosen
    for index in range(1, len(scores)):
        gain = scores[index] - scores[chosen]
        error = float(gain.std(ddof=1)) / np.sqrt(n_cases) if n_cases > 1 else 0.0
        if gain.mean() > max(margin, error):
            chosen = index
    return chosen


def _find_minimum_volumes(volumes_ml: Sequence[float]) -> tuple[float, ...]:
    """Give up to three volumes in ml, rising, that few of the reference's own objects fall below.

    Half the smallest object is a size that no object was seen to have; the 1 % and 5 % quantiles trade a few
    small objects for fewer false positives. None exceeds `LARGEST_SPECK_ML`. Rounded to two significant digits,
    for the reader.
    """
    if len(volumes_ml) == 0:
        return ()
    values = np.minimum((0.5 * min(volumes_ml), *np.quantile(volumes_ml, (0.01, 0.05))), LARGEST_SPECK_ML)
    rounded = {float(f"{value:.2g}") for value in values}
    return tuple(sorted(value for value in rounded if value > 0))


def _count_steps(rule: PostprocessingRule) -> int:
    """Count the steps that a rule takes."""
    steps = (rule.keep_clicked, rule.largest_component, rule.minimum_volume_ml > 0, rule.fill_holes)
    return sum(steps)
