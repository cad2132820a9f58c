from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.fuse import average, blend, find_silent, to_segmentation
from interactivepet.errors import FusionError

SHAPE = (3, 4, 2)
CLICKS = (Click(position_mm=(0, 0, 0), label=1), Click(position_mm=(1, 1, 1), label=3))


def predict(seed: int, case_id: str = "A", labels: tuple[int, ...] = (1, 3), shift_mm: float = 0.0) -> Prediction:
    raw = np.random.default_rng(seed).random((1 + len(labels), *SHAPE))
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    return Prediction(case_id, (raw / raw.sum(0)).astype(np.float32), Geometry(SHAPE, affine), labels)


def test_average_is_the_mean_and_leaves_its_arguments_alone() -> None:
    folds = [predict(seed) for seed in range(3)]
    before = [fold.probabilities.copy() for fold in folds]
    mean = average(folds)
    expected = np.mean([fold.probabilities for fold in folds], axis=0)
    np.testing.assert_allclose(mean.probabilities, expected, rtol=1e-6)
    assert mean.probabilities.dtype == np.float32
    assert mean.labels == (1, 3)
    for fold, old in zip(folds, before, strict=True):
        np.testing.assert_array_equal(fold.probabilities, old)


def test_blend_weighs_the_promptable_model() -> None:
    folds, promptable = predict(0), predict(1)
    np.testing.assert_array_equal(blend(folds, promptable, CLICKS, weight=0).probabilities, folds.probabilities)
    np.testing.assert_array_equal(blend(folds, promptable, CLICKS, weight=1).probabilities, promptable.probabilities)
    quarter = blend(folds, promptable, CLICKS, weight=0.25)
    expected = 0.75 * folds.probabilities + 0.25 * promptable.probabilities
    np.testing.assert_allclose(quarter.probabilities, expected, rtol=1e-6)
    np.testing.assert_allclose(quarter.probabilities.sum(0), 1, rtol=1e-6)
    assert quarter.probabilities.dtype == np.float32


def make_answer(value: int) -> Prediction:
    """A promptable model's answer for labels 1 and 3 that was asked for one of them."""
    inside = np.random.default_rng(5).random(SHAPE) < 0.4
    zero = np.zeros_like(inside)
    answer = np.stack([~inside, inside if value == 1 else zero, inside if value == 3 else zero])
    return Prediction("A", answer.astype(np.float32), Geometry(SHAPE, np.eye(4)), (1, 3))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_labels_that_nobody_showed_keep_what_the_folds_say(weight: float) -> None:
    folds, answer = predict(0), make_answer(3)
    background = np.zeros_like(answer.probabilities)
    background[0] = 1.0
    nothing = replace(answer, probabilities=background)
    refused = (Click(position_mm=(0, 0, 0), label=1, is_positive=False),)
    mixed = blend(folds, nothing, refused, weight=weight)
    np.testing.assert_allclose(mixed.probabilities, folds.probabilities, atol=1e-6)

    mixed = blend(folds, answer, (*refused, CLICKS[1]), weight=weight)
    np.testing.assert_allclose(mixed.probabilities.sum(0), 1, rtol=1e-6)
    outside = answer.probabilities[2] == 0
    np.testing.assert_allclose(mixed.probabilities[1][outside], folds.probabilities[1][outside], rtol=1e-6)
    if weight == 1.0:
        assert (mixed.probabilities[2] == answer.probabilities[2]).all()


def test_a_label_is_shown_by_a_positive_click() -> None:
    refused = Click(position_mm=(0, 0, 0), label=1, is_positive=False)
    assert find_silent((1, 3), ()) == (1, 3)
    assert find_silent((1, 3), (refused, CLICKS[1])) == (1,)
    assert find_silent((1, 3), CLICKS) == ()


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(FusionError, match="no prediction"):
        average([])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predict(1, case_id="B"), "A and B"),
        (predict(1, labels=(1, 2)), r"A: labels \(1, 3\) and \(1, 2\)"),
        (predict(1, shift_mm=0.5), "A: grids .* 0.5 mm"),
        (replace(predict(1), geometry=Geometry((3, 4, 3), np.eye(4))), "A: grids .* inf mm"),
    ],
)
def test_what_does_not_belong_together_is_refused(other: Prediction, message: str) -> None:
    with pytest.raises(FusionError, match=message):
        average([predict(0), other])
    with pytest.raises(FusionError, match=message):
        blend(predict(0), other, CLICKS, weight=0)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(FusionError, match="weight"):
        blend(predict(0), predict(1), CLICKS, weight=weight)


def test_a_grid_within_the_tolerance_is_the_same() -> None:
    assert average([predict(0), predict(1, shift_mm=0.005)]).case_id == "A"


def test_segmentation_follows_the_threshold_and_the_likeliest_label() -> None:
    rows = [[0.6, 0.1, 0.3], [0.5, 0.1, 0.4], [0.2, 0.5, 0.3], [0.0, 0.5, 0.5]]
    probabilities = np.array(rows, dtype=np.float32).T.reshape(3, 4, 1, 1)
    prediction = Prediction("A", probabilities, Geometry((4, 1, 1), np.eye(4)), (1, 3))
    half = to_segmentation(prediction, threshold=0.5)
    assert half.mask.dtype == np.uint8
    assert half.mask.ravel().tolist() == [0, 3, 1, 1]
    assert to_segmentation(prediction, threshold=0.4).mask.ravel().tolist() == [3, 3, 1, 1]
    assert to_segmentation(prediction, threshold=0.9).mask.ravel().tolist() == [0, 0, 0, 1]
