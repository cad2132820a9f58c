from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import Organ, ReferenceUptake
from interactivepet.errors import CaseError
from interactivepet.quantification.references import (
    ReferenceSphere,
    measure_reference,
    suggest_deauville,
    threshold_percist,
)

GEOMETRY = Geometry((20, 20, 20), np.array([[-4.0, 0, 0, 40], [0, 4.0, 0, -40], [0, 0, 4.0, 100], [0, 0, 0, 1]]))
"""i runs to the patient's left."""


def make_image() -> np.ndarray:
    """Uptake 1 everywhere and 3 where i is above 10: x below 0 mm."""
    image = np.ones(GEOMETRY.shape, np.float32)
    image[11:] = 3
    return image


@pytest.mark.parametrize(
    ("centre_mm", "diameter_mm", "values"),
    [
        ((20.0, 0.0, 140.0), 30.0, [1.0, 1.0]),
        ((-20.0, 0.0, 140.0), 30.0, [3.0, 3.0]),
        # a voxel at the border and its six face neighbours, one of them across the border
        ((0.0, 0.0, 140.0), 9.0, [1.0] * 6 + [3.0]),
    ],
)
def test_a_sphere_measures_an_organ(
    centre_mm: tuple[float, float, float], diameter_mm: float, values: list[float]
) -> None:
    found = measure_reference(make_image(), ReferenceSphere(centre_mm, diameter_mm), geometry=GEOMETRY)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.maximum == max(values)


@pytest.mark.parametrize(
    ("centre_mm", "diameter_mm", "message"),
    [
        ((500.0, 0.0, 140.0), 30.0, r"sphere of 30 mm at \(500, 0, 140\) in RAS\+ mm reaches out of the image"),
        ((38.0, 0.0, 140.0), 30.0, "reaches out of the image; give a centre"),
        ((0.0, 0.0, 101.0), 30.0, "reaches out of the image"),
        ((2.0, 2.0, 142.0), 1.0, "holds no centre of a voxel"),
    ],
)
def test_a_sphere_that_measures_nothing_is_refused(
    centre_mm: tuple[float, float, float], diameter_mm: float, message: str
) -> None:
    with pytest.raises(CaseError, match=message):
        measure_reference(make_image(), ReferenceSphere(centre_mm, diameter_mm), geometry=GEOMETRY)


def test_a_sphere_in_the_air_is_refused() -> None:
    with pytest.raises(CaseError, match="holds a mean uptake of 0, expected uptake above 0; place it inside the organ"):
        measure_reference(make_image() * 0, ReferenceSphere((0, 0, 140), 20), geometry=GEOMETRY)


@pytest.mark.parametrize(
    ("organ", "sd", "threshold"), [("liver", 0.25, 3.5), ("blood_pool", 0.25, 4.5), ("liver", None, None)]
)
def test_percist_threshold(organ: Organ, sd: float | None, threshold: float | None) -> None:
    assert threshold_percist(ReferenceUptake(mean=2.0, sd=sd), organ) == threshold


@pytest.mark.parametrize(
    ("maximum", "liver", "blood_pool", "score"),
    [
        (1.0, 3.0, 2.0, 2),
        (2.0, 3.0, 2.0, 2),
        (2.1, 3.0, 2.0, 3),
        (3.0, 3.0, 2.0, 3),
        (3.1, 3.0, 2.0, 4),
        (5.9, 3.0, 2.0, 4),
        (6.0, 3.0, 2.0, 5),
        (40.0, 3.0, 2.0, 5),
        # a blood pool that is hotter than the liver: the liver decides
        (1.9, 2.0, 2.5, 2),
        (2.2, 2.0, 2.5, 4),
    ],
)
def test_deauville_suggestion(maximum: float, liver: float, blood_pool: float, score: int) -> None:
    assert suggest_deauville(maximum, liver_maximum=liver, blood_pool_maximum=blood_pool) == score
