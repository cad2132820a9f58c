"""What tells an image in another unit from one that is only hotter, colder, larger or smaller."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from interactivepet.core.intensities import FACTOR_LIMIT, IntensityRange, measure_range

SHAPE = (16, 16, 16)


def make_pet(seed: int, *, air: float = 0.0, peak: float = 8.0) -> np.ndarray:
    """Make SUV: noise of the body, a lesion, and perhaps a share of air with values just above 0."""
    rng = np.random.default_rng(seed)
    image = rng.gamma(4.0, 0.25, SHAPE)
    image[6:10, 6:10, 6:10] = peak
    image[: int(air * SHAPE[0])] *= 1e-4
    return image.astype(np.float32)


def make_ct(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(40.0, 30.0, SHAPE)
    image[:4] = -1000.0
    image[10:12] = 700.0
    return image.astype(np.float32)


def see(make: object) -> IntensityRange:
    ranges = [measure_range(make(seed)) for seed in range(4)]  # type: ignore[operator]
    return reduce(IntensityRange.joined, ranges)


IN_UNIT, OUTSIDE, OTHER_UNIT = "in unit", "outside", "other unit"

CASES = [
    ("SUV", make_pet, make_pet(9), IN_UNIT),
    ("SUV of a whole body, mostly air", make_pet, make_pet(9, air=0.9), IN_UNIT),
    ("SUV of a hot lesion", make_pet, make_pet(9, peak=80.0), IN_UNIT),
    ("SUV without any lesion", make_pet, make_pet(9, peak=1.0), IN_UNIT),
    ("twice the dose", make_pet, 2 * make_pet(9), IN_UNIT),
    ("Bq/ml", make_pet, 5000 * make_pet(9), OTHER_UNIT),
    ("Bq/ml of a whole body, mostly air", make_pet, 5000 * make_pet(9, air=0.9), OTHER_UNIT),
    ("percent SUV", make_pet, 100 * make_pet(9), OTHER_UNIT),
    ("twenty times", make_pet, 20 * make_pet(9), OUTSIDE),
    ("GBq/ml", make_pet, 5e-6 * make_pet(9), OTHER_UNIT),
    ("HU", make_ct, make_ct(9), IN_UNIT),
    ("HU of bone", make_ct, np.where(make_ct(9) > 500, 1500, make_ct(9)), IN_UNIT),
    ("stored values without intercept", make_ct, make_ct(9) + 10000, OUTSIDE),
    ("HU over a thousand", make_ct, make_ct(9) / 1000, OTHER_UNIT),
    ("HU times a hundred", make_ct, make_ct(9) * 100, OTHER_UNIT),
]


@pytest.mark.parametrize(("make", "image", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_units(make: object, image: np.ndarray, expected: str) -> None:
    seen, found = see(make), measure_range(image)
    assert found is not None
    judged = OTHER_UNIT if found.factor(seen) > FACTOR_LIMIT else OUTSIDE if found.is_outside(seen) else IN_UNIT
    assert judged == expected, (str(found), str(seen))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, 3.0, np.float32),
        np.full(SHAPE, np.nan, np.float32),
        np.where(np.arange(SHAPE[0])[:, None, None] < 1, -5.0, np.zeros(SHAPE)),
    ],
    ids=["zeros", "constant", "nan", "nothing above 0"],
)
def test_what_has_no_range(image: np.ndarray) -> None:
    assert measure_range(image) is None


def test_a_projection_of_bytes_has_a_range() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 1)).astype(np.uint8)
    found = measure_range(image)
    assert found is not None
    assert 127 <= found.low < found.high <= 255
