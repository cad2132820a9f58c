from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.plan import Normalisation
from interactivepet.preprocessing.normalise import normalise


def test_each_channel_follows_its_own_plan() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(5.0, 3.0, size=(3, 6, 7, 8)).astype(np.float32)
    before = image.copy()
    ct = Normalisation(scheme="ct", clip=(2.0, 8.0), mean=5.0, std=2.0)
    suv = Normalisation(scheme="suv", clip=(0.0, 9.0), std=4.0)

    out = normalise(image, (ct, suv, Normalisation(scheme="zscore")))

    assert out.dtype == np.float32
    assert out.shape == image.shape
    assert out[0] == pytest.approx((np.clip(before[0], 2, 8) - 5) / 2, abs=1e-6)
    assert out[1] == pytest.approx(np.clip(before[1], 0, 9) / 4, abs=1e-6)
    assert out[2].mean() == pytest.approx(0.0, abs=1e-5)
    assert out[2].std() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(image, before)


def test_suv_of_zero_stays_zero_so_that_padding_is_air() -> None:
    image = np.array([[[[-0.5, 0.0, 3.0]]]], np.float32)
    out = normalise(image, (Normalisation(scheme="suv", clip=(0.0, 9.0), std=3.0),))
    assert out.tolist() == [[[[0.0, 0.0, 1.0]]]]


def test_a_zscore_may_be_clipped_before() -> None:
    image = np.array([[[[0.0, 1.0, 2.0, 1000.0]]]], np.float32)
    out = normalise(image, (Normalisation(scheme="zscore", clip=(0.0, 3.0)),))
    assert out[0, 0, 0] == pytest.approx((np.array([0, 1, 2, 3]) - 1.5) / np.std([0, 1, 2, 3]))


@pytest.mark.parametrize("value", [0.0, 1e6, -3.5])
def test_a_constant_channel_becomes_zero(value: float) -> None:
    out = normalise(np.full((1, 4, 4, 1), value, np.float32), (Normalisation(scheme="zscore"),))
    assert not out.any()


def test_a_number_of_plans_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        normalise(np.zeros((2, 2, 2, 2), np.float32), (Normalisation(scheme="zscore"),))


def test_minmax_maps_the_image_to_0_and_1_after_its_clip() -> None:
    image = np.array([[[[-5.0, 2.0, 4.0, 100.0]]]], np.float32)
    assert normalise(image, (Normalisation(scheme="minmax"),))[0, 0, 0] == pytest.approx([0, 7 / 105, 9 / 105, 1])
    clipped = normalise(image, (Normalisation(scheme="minmax", clip=(0.0, 8.0)),))
    assert clipped[0, 0, 0].tolist() == [0.0, 0.25, 0.5, 1.0]
    assert not normalise(np.full((1, 2, 2, 2), 7.5, np.float32), (Normalisation(scheme="minmax"),)).any()


def test_an_array_can_be_normalised_in_place() -> None:
    image = np.random.default_rng(0).normal(5.0, 3.0, size=(2, 6, 7, 8)).astype(np.float32)
    rules = (Normalisation(scheme="zscore", clip=(0.0, 8.0)), Normalisation(scheme="ct", mean=2.0, std=4.0))
    expected = normalise(image, rules)
    assert normalise(image, rules, out=image) is image
    assert np.array_equal(image, expected)
