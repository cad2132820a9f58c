from __future__ import annotations

import numpy as np
import pytest

from interactivepet.quantification.spread import measure_dmax_mm, measure_spread_mm


@pytest.mark.parametrize(
    ("centroids_mm", "dmax_mm", "spread_mm"),
    [
        ([], None, None),
        ([(1, 2, 3)], None, None),
        ([(0, 0, 0), (3, 4, 0)], 5.0, 5.0),
        ([(0, 0, 0), (0, 0, 10), (0, 0, 100)], 100.0, 190.0),
        ([(0, 0, 0), (0, 30, 40), (0, 30, 40)], 50.0, 100.0),
        ([(5, 5, 5), (5, 5, 5)], 0.0, 0.0),
    ],
)
def test_distances_between_lesions(
    centroids_mm: list[tuple[float, float, float]], dmax_mm: float | None, spread_mm: float | None
) -> None:
    centroids = np.array(centroids_mm, dtype=np.float64).reshape(-1, 3)
    assert measure_dmax_mm(centroids) == dmax_mm
    assert measure_spread_mm(centroids) == spread_mm
