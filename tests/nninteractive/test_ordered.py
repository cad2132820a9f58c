"""A promptable model sees every case in the plan's order of axes, and its answer comes back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from interactivepet.core.axes import Permutation, transpose
from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import to_coarse_mask
from interactivepet.nninteractive.ordered import OrderedSegmenter
from interactivepet.planning.plan import make_plans
from interactivepet.preprocessing.pipeline import preprocess
from tests.planning.factory import make_fingerprint

CASE = Case(
    "A",
    np.random.default_rng(0).gamma(2.0, size=(1, 6, 8, 10)).astype(np.float32),
    Geometry((6, 8, 10), np.diag([-4.0, 4.0, 5.0, 1.0])),
)


class Cumulative:
    """Answers with what depends on the order of the axes; remembers the cases that it saw."""

    name = "cumulative"
    licence = "MIT"

    def __init__(self) -> None:
        self.seen: list[Case] = []

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        self.seen.append(case)
        share = np.cumsum(case.image[0], axis=2) / (1 + case.image[0].sum(axis=2, keepdims=True))
        return Prediction(case.id, np.stack((1 - share, share)), case.geometry, (1,))


@pytest.fixture
def plan() -> Plan:
    plans = make_plans(make_fingerprint().model_copy(update={"axis_order": "xyz"}), "cpu")
    return plans.plan(plans.default)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_answer_does_not_depend_on_the_order_of_storage(plan: Plan, axes: Permutation) -> None:
    model = Cumulative()
    segmenter = OrderedSegmenter(model, plan)
    stored = CASE.permuted(axes)
    found = segmenter.segment(stored, ())
    expected = Cumulative().segment(CASE, ())
    assert found.geometry is stored.geometry
    assert np.array_equal(found.probabilities, expected.probabilities.transpose(0, *(1 + axis for axis in axes)))
    assert np.array_equal(model.seen[0].image, CASE.image)
    # a session goes on as long as it gets the same object
    segmenter.segment(stored, ())
    assert model.seen[0] is model.seen[1]
    assert (segmenter.name, segmenter.licence) == ("cumulative", "MIT")


def test_a_plan_without_an_order_passes_cases_on(plan: Plan) -> None:
    model = Cumulative()
    stored = CASE.permuted((2, 1, 0))
    OrderedSegmenter(model, plan.model_copy(update={"axis_order": None})).segment(stored, ())
    assert model.seen[0] is stored


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_first_step_of_a_cascade_reaches_the_second_in_its_order(plan: Plan, axes: Permutation) -> None:
    share = CASE.image / CASE.image.max()
    coarse = Prediction("A", np.concatenate((1 - share, share)), CASE.geometry, (1,))
    stored = CASE.permuted(axes)
    turned = Prediction("A", transpose(coarse.probabilities, axes), stored.geometry, (1,))
    box = BoundingBox((1, 0, 2), (6, 7, 10))
    usual = preprocess(CASE, plan, box=box).trace
    ready = preprocess(stored, plan, box=box.permuted(axes)).trace
    expected = to_coarse_mask(coarse, usual)
    assert expected.any()
    assert np.array_equal(to_coarse_mask(turned, ready), expected)
