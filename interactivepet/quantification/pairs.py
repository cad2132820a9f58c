"""Measures of a mask beside those of its reference, on one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import Value
from interactivepet.core.report import MeasurePair
from interactivepet.core.uptake import UptakeUnit, name_total, name_uptake, name_volume
from interactivepet.quantification.case import measure_regions

__all__ = ["list_compared", "pair_measures"]

LabelMap = npt.NDArray[np.uint8]


def list_compared(unit: UptakeUnit) -> tuple[str, ...]:
    """List the measures of a label that masks and references are compared by."""
    uptake = (name_uptake(statistic, unit) for statistic in ("max", "mean", "peak_global"))
    return (name_volume(unit), name_total(unit), *uptake, "n_lesions", "dmax_mm")


def pair_measures(
    case_id: str,
    image: npt.NDArray[Any],
    *,
    mask: LabelMap,
    reference: LabelMap,
    geometry: Geometry,
    labels: Mapping[str, int],
    unit: UptakeUnit,
) -> tuple[MeasurePair, ...]:
    """Measure every label of a case in its mask and in its reference.

    Args:
        case_id: the case's identifier.
        image: (I, J, K), finite, in `unit`.
        mask: (I, J, K) uint8, 0 is background.
        reference: the same.
        geometry: the grid of all three.
        labels: name -> value.
        unit: of the image.
    """
    ours, theirs = (_measure_labels(image, drawn, geometry, labels, unit) for drawn in (mask, reference))
    return tuple(
        MeasurePair(case=case_id, label=name, measure=measure, value=ours[name][measure], reference=found[measure])
        for name, found in theirs.items()
        for measure in list_compared(unit)
    )


def _measure_labels(
    image: npt.NDArray[Any], mask: LabelMap, geometry: Geometry, labels: Mapping[str, int], unit: UptakeUnit
) -> dict[str, dict[str, Value]]:
    """Give the measures of each label."""
    regions = measure_regions(image, mask, geometry=geometry, labels=labels, unit=unit)
    return {region.label: region.values for region in regions if region.level == "label"}
