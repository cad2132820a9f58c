from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from interactivepet.core.suv import SuvVariant
from interactivepet.core.uptake import UNIT_OF_VARIANT, UNITS, UptakeUnit, average_uptake, name_uptake


def test_every_unit_and_variant_is_known() -> None:
    assert set(UNITS) == set(get_args(UptakeUnit))
    assert set(UNIT_OF_VARIANT) == set(get_args(SuvVariant))


@pytest.mark.parametrize(
    ("unit", "name"),
    [("suv", "suv_peak_global"), ("sul", "sul_peak_global"), ("counts", "uptake_peak_global_counts")],
)
def test_names_hold_statistic_and_unit(unit: UptakeUnit, name: str) -> None:
    assert name_uptake("peak_global", unit) == name


@pytest.mark.parametrize(
    ("values", "mean"), [([1.0, 3.0, 0.0, -5.0], 2.0), ([0.0, 0.0], 0.0), ([-1.0], 0.0), ([7.0], 7.0)]
)
def test_only_positive_voxels_are_averaged(values: list[float], mean: float) -> None:
    assert average_uptake(np.array(values, np.float32)) == mean
