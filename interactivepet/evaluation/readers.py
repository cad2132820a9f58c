"""Readers against each other: pairwise Dice and the spread of their volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from interactivepet.core.readers import ReaderCase, ReaderPair, ReadersReport
from interactivepet.evaluation.consensus import Consensus
from interactivepet.evaluation.metrics import dice, volume_ml

__all__ = ["compare_readers", "summarise_readers"]


def compare_readers(
    case_id: str,
    masks: Mapping[str, npt.NDArray[np.uint8]],
    *,
    consensus: Consensus,
    voxel_volume_ml: float,
    labels: Mapping[str, int],
) -> tuple[ReaderCase, ...]:
    """Compare the masks of one case, label by label.

    Args:
        case_id: the case's identifier.
        masks: reader -> (I, J, K) uint8, all of one shape; at least two.
        consensus: of these masks.
        voxel_volume_ml: of the grid.
        labels: name -> value.
    """
    rows = []
    for name, value in labels.items():
        drawn = {reader: mask == value for reader, mask in masks.items()}
        volumes_ml = {reader: volume_ml(mask, voxel_volume_ml=voxel_volume_ml) for reader, mask in drawn.items()}
        pairs = tuple(
            ReaderPair(first=first, second=second, dice=dice(drawn[first], drawn[second]))
            for first, second in combinations(drawn, 2)
        )
        rows.append(
            ReaderCase(
                case=case_id,
                label=name,
                volumes_ml=volumes_ml,
                consensus_ml=volume_ml(consensus.mask == value, voxel_volume_ml=voxel_volume_ml),
                volume_cv_percent=_vary(list(volumes_ml.values())),
                pairs=pairs,
                qualities=consensus.qualities[name],
            )
        )
    return tuple(rows)


def summarise_readers(
    readers: Sequence[str], cases: Sequence[ReaderCase], *, failed: Mapping[str, str]
) -> ReadersReport:
    """Average over the cases, label by label.

    Args:
        readers: in the order of the report.
        cases: of `compare_readers`; a reader may lack some of them.
        failed: case -> why it could not be compared.
    """
    labels = dict.fromkeys(case.label for case in cases)
    return ReadersReport(
        readers=tuple(readers),
        cases=tuple(cases),
        pairs={label: _average_pairs(readers, [case for case in cases if case.label == label]) for label in labels},
        mean_volume_cv_percent={
            label: _average([case.volume_cv_percent for case in cases if case.label == label]) for label in labels
        },
        failed=dict(failed),
    )


def _average_pairs(readers: Sequence[str], cases: Sequence[ReaderCase]) -> tuple[ReaderPair, ...]:
    return tuple(
        ReaderPair(
            first=first,
            second=second,
            dice=_average(
                [pair.dice for case in cases for pair in case.pairs if (pair.first, pair.second) == (first, second)]
            ),
        )
        for first, second in combinations(readers, 2)
    )


def _vary(volumes_ml: Sequence[float]) -> float | None:
    """Give the coefficient of variation in percent."""
    mean = float(np.mean(volumes_ml))
    return 100.0 * float(np.std(volumes_ml, ddof=1)) / mean if mean > 0 else None


def _average(values: Sequence[float | None]) -> float | None:
    """Average what is defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
