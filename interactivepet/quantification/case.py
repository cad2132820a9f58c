"""Measures of a whole case: each lesion, each label with its lesions, and the patient with all labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import MeasuredRegion, Organ, ReferenceUptake, Value
from interactivepet.core.uptake import UptakeUnit, name_total, name_uptake, name_volume
from interactivepet.quantification.lesions import SHARES_PERCENT, Lesion, find_lesions
from interactivepet.quantification.references import suggest_deauville, threshold_percist
from interactivepet.quantification.spread import measure_dmax_mm, measure_spread_mm

__all__ = ["measure_regions"]

References = Mapping[Organ, ReferenceUptake]


def measure_regions(
    image: npt.NDArray[Any],
    mask: npt.NDArray[np.uint8],
    *,
    geometry: Geometry,
    labels: Mapping[str, int],
    unit: UptakeUnit,
    references: References | None = None,
) -> tuple[MeasuredRegion, ...]:
    """Measure every lesion, every label and the patient.

    Args:
        image: (I, J, K), finite, in `unit`.
        mask: (I, J, K) uint8, 0 is background.
        geometry: the grid of both.
        labels: name -> value of every label; other values are not measured.
        unit: of the image; it decides the names of the measures.
        references: normal organs to compare with, in the same unit.

    Returns:
        Label by label its lesions, the largest first, and the label; last the patient. A label without a lesion has
        volume 0, and no uptake.
    """
    known = references or {}
    regions: list[MeasuredRegion] = []
    everything: list[Lesion] = []
    for name, value in labels.items():
        lesions = find_lesions(image, mask == value, geometry=geometry)
        for number, lesion in enumerate(lesions, start=1):
            values = _describe_uptake([lesion], unit, known) | _describe_lesion(lesion)
            regions.append(MeasuredRegion(level="lesion", label=name, lesion=number, values=values))
        values = _describe_group(lesions) | _describe_uptake(lesions, unit, known)
        regions.append(MeasuredRegion(level="label", label=name, values=values))
        everything += lesions
    values = _describe_group(everything) | _describe_uptake(everything, unit, known)
    values |= _suggest_score(everything, known)
    regions.append(MeasuredRegion(level="patient", values=values))
    return tuple(regions)


def _describe_uptake(lesions: Sequence[Lesion], unit: UptakeUnit, references: References) -> dict[str, Value]:
    """Describe uptake and volume of some lesions together."""
    voxels = np.concatenate([lesion.values for lesion in lesions]) if lesions else None
    volume_ml = float(sum(lesion.volume_ml for lesion in lesions))
    mean = None if voxels is None else float(voxels.mean())
    statistics: dict[str, float | None] = {
        "max": None if voxels is None else float(voxels.max()),
        "mean": mean,
        "median": None if voxels is None else float(np.median(voxels)),
        "min": None if voxels is None else float(voxels.min()),
        "peak_local": _find_local_peak(lesions),
        "peak_global": max((lesion.peaks.best for lesion in lesions), default=None),
    }
    values: dict[str, Value] = {name_uptake(name, unit): value for name, value in statistics.items()}
    values[name_volume(unit)] = volume_ml
    values[name_total(unit)] = (mean or 0.0) * volume_ml
    for percent in SHARES_PERCENT:
        volume = sum(lesion.volume_above_ml(percent) for lesion in lesions)
        values[f"volume_{percent}_percent_of_max_ml"] = float(volume)
    values["surface_area_mm2"] = float(sum(lesion.shape.surface_area_mm2 for lesion in lesions))
    values["mesh_volume_ml"] = float(sum(lesion.shape.mesh_volume_ml for lesion in lesions))
    return values | _compare(statistics, unit, references)


def _find_local_peak(lesions: Sequence[Lesion]) -> float | None:
    """Give the peak around the hottest voxel of all; of several as hot, the highest."""
    maximum = max((lesion.maximum for lesion in lesions), default=None)
    return max((lesion.peaks.local for lesion in lesions if lesion.maximum == maximum), default=None)


def _compare(statistics: Mapping[str, float | None], unit: UptakeUnit, references: References) -> dict[str, Value]:
    """Give the ratios to normal organs, and in SUL whether PERCIST calls the region measurable."""
    values: dict[str, Value] = {}
    peak = statistics["peak_global"]
    for organ, reference in references.items():
        for name, value in (("max", statistics["max"]), ("peak", peak)):
            values[f"{name}_to_{organ}_ratio"] = None if value is None else value / reference.mean
        if unit == "sul":
            threshold = threshold_percist(reference, organ)
            values[f"percist_threshold_{organ}_sul"] = threshold
            values[f"percist_measurable_by_{organ}"] = (
                None if peak is None or threshold is None else int(peak >= threshold)
            )
    return values


def _describe_lesion(lesion: Lesion) -> dict[str, Value]:
    """Describe what only one lesion has."""
    x, y, z = (float(value) for value in lesion.centroid_mm)
    return {
        "sphericity": lesion.shape.sphericity,
        "asphericity": lesion.shape.asphericity,
        "maximum_diameter_mm": lesion.shape.maximum_diameter_mm,
        "centroid_x_ras_mm": x,
        "centroid_y_ras_mm": y,
        "centroid_z_ras_mm": z,
    }


def _describe_group(lesions: Sequence[Lesion]) -> dict[str, Value]:
    """Describe what only several lesions have."""
    centroids_mm = np.array([lesion.centroid_mm for lesion in lesions]).reshape(-1, 3)
    return {
        "n_lesions": len(lesions),
        "dmax_mm": measure_dmax_mm(centroids_mm),
        "spread_mm": measure_spread_mm(centroids_mm),
    }


def _suggest_score(lesions: Sequence[Lesion], references: References) -> dict[str, Value]:
    """Suggest a Deauville score where both organs are known by their maxima."""
    maxima = {organ: reference.maximum for organ, reference in references.items()}
    liver, blood_pool = maxima.get("liver"), maxima.get("blood_pool")
    if liver is None or blood_pool is None:
        return {}
    hottest = max((lesion.maximum for lesion in lesions), default=None)
    if hottest is None:
        return {"deauville_suggestion": None}
    return {"deauville_suggestion": suggest_deauville(hottest, liver_maximum=liver, blood_pool_maximum=blood_pool)}
