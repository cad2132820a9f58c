"""How far the measures of masks agree with those of their references: bias and limits of agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from interactivepet.core.report import Agreement, MeasurePair

__all__ = ["compare_measures", "list_differences"]

LIMIT_SD: Final = 1.96
"""Limits of agreement hold 95 % of normally distributed differences."""


def compare_measures(pairs: Sequence[MeasurePair]) -> tuple[Agreement, ...]:
    """Summarise pairs of measures, label by label and measure by measure in the order of the pairs.

    Cases in which a measure is not defined in mask or reference do not count: a missed lesion has a volume of 0 but no
    uptake.

    Source:
        Bland and Altman 1986, Lancet 327:307.
    """
    kinds = dict.fromkeys((pair.label, pair.measure) for pair in pairs)
    found = (_summarise(label, measure, pairs) for label, measure in kinds)
    return tuple(one for one in found if one is not None)


def list_differences(pairs: Sequence[MeasurePair], *, label: str, measure: str) -> list[tuple[float, float]]:
    """List (mask, reference) of every case in which a measure of a label is defined in both."""
    return [
        (pair.value, pair.reference)
        for pair in pairs
        if (pair.label, pair.measure) == (label, measure) and pair.value is not None and pair.reference is not None
    ]


def _summarise(label: str, measure: str, pairs: Sequence[MeasurePair]) -> Agreement | None:
    values = np.array(list_differences(pairs, label=label, measure=measure), dtype=np.float64).reshape(-1, 2)
    if len(values) == 0:
        return None
    differences = values[:, 0] - values[:, 1]
    bias = float(differences.mean())
    sd = float(differences.std(ddof=1)) if len(values) > 1 else None
    return Agreement(
        label=label,
        measure=measure,
        n=len(values),
        mean_reference=float(values[:, 1].mean()),
        bias=bias,
        sd=sd,
        lower=None if sd is None else bias - LIMIT_SD * sd,
        upper=None if sd is None else bias + LIMIT_SD * sd,
    )
