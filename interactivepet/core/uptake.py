"""Units of uptake, and the names that measures have in each of them."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy.typing as npt

from interactivepet.core.suv import SuvVariant

__all__ = [
    "LARGEST_MEAN_SUV",
    "UNITS",
    "UNIT_OF_VARIANT",
    "UptakeUnit",
    "average_uptake",
    "name_total",
    "name_uptake",
    "name_volume",
]

LARGEST_MEAN_SUV: Final = 50.0
"""Mean of an image's positive voxels above which it is not SUV: the mean over a body is about 1 by definition, and a
tumour's cut-out stays far below 50, while Bq/ml are thousands."""

UptakeUnit = Literal["suv", "sul", "suv_ibw", "suv_bsa", "bq_per_ml", "counts", "unknown"]
"""SUV by body weight, lean body mass (SUL), ideal body weight (all g/ml) or body surface (cm2/ml), activity in Bq/ml,
counts per voxel, or a unit that nothing tells."""

UNITS: Final[tuple[UptakeUnit, ...]] = ("suv", "sul", "suv_ibw", "suv_bsa", "bq_per_ml", "counts", "unknown")

UNIT_OF_VARIANT: Final[dict[SuvVariant, UptakeUnit]] = {"bw": "suv", "lbm": "sul", "ibw": "suv_ibw", "bsa": "suv_bsa"}
"""What `suv.json` calls SUV -> its unit."""

_NAMES: Final[dict[UptakeUnit, str]] = {
    "suv": "suv_{}",
    "sul": "sul_{}",
    "suv_ibw": "suv_ibw_{}",
    "suv_bsa": "suv_bsa_{}",
    "bq_per_ml": "uptake_{}_bq_per_ml",
    "counts": "uptake_{}_counts",
    "unknown": "uptake_{}_image_units",
}
_TOTALS: Final[dict[UptakeUnit, str]] = {
    "suv": "tlg_g",
    "sul": "tlg_sul_g",
    "suv_ibw": "tlg_suv_ibw_g",
    "suv_bsa": "tlg_suv_bsa_cm2",
    "bq_per_ml": "total_uptake_bq",
    "counts": "total_uptake_counts_ml",
    "unknown": "total_uptake_image_units_ml",
}


def name_uptake(statistic: str, unit: UptakeUnit) -> str:
    """Name a statistic of the uptake, such as `max`: `suv_max`, `uptake_max_bq_per_ml`."""
    return _NAMES[unit].format(statistic)


def name_total(unit: UptakeUnit) -> str:
    """Name mean uptake times volume: total lesion glycolysis for SUV (g/ml times ml), total activity for Bq/ml."""
    return _TOTALS[unit]


def name_volume(unit: UptakeUnit) -> str:
    """Name the volume of a mask: the metabolic tumour volume (MTV) for SUV."""
    return "mtv_ml" if unit in UNIT_OF_VARIANT.values() else "volume_ml"


def average_uptake(values: npt.NDArray[Any]) -> float:
    """Average the positive voxels of an image, to compare with `LARGEST_MEAN_SUV`; 0 where there are none."""
    return float(values.mean(where=values > 0)) if (values > 0).any() else 0.0
