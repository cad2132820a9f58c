"""A promptable model sees every case in the plan's order of axes, and its answer comes back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from interactivepet.core.axes import Permutation
from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.ordered import OrderedSegmenter
from interactivepet.planning.plan import make_plans
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
