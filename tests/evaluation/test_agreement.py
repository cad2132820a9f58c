from __future__ import annotations

import pytest

from interactivepet.core.report import Agreement, MeasurePair
from interactivepet.evaluation.agreement import compare_measures, list_differences


def make_pairs(
    *values: tuple[float | None, float | None], label: str = "x", measure: str = "mtv_ml"
) -> list[MeasurePair]:
    return [
        MeasurePair(case=str(n), label=label, measure=measure, value=value, reference=reference)
        for n, (value, reference) in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("pairs", "n", "bias", "sd"),
    [
        (make_pairs((1, 1), (2, 2)), 2, 0, 0),
        (make_pairs((2, 1), (3, 2), (4, 3)), 3, 1, 0),
        (make_pairs((1, 2), (5, 4), (6, 6)), 3, 0, 1),
        # what is not defined in one of the two does not count
        (make_pairs((1, 2), (5, 4), (6, 6), (None, 3), (3, None), (None, None)), 3, 0, 1),
        (make_pairs((3, 1)), 1, 2, None),
    ],
)
def test_bias_and_limits(pairs: list[MeasurePair], n: int, bias: float, sd: float | None) -> None:
    (found,) = compare_measures(pairs)
    assert (found.n, found.bias) == (n, bias)
    assert found.sd == sd
    limits = (None, None) if sd is None else (pytest.approx(bias - 1.96 * sd), pytest.approx(bias + 1.96 * sd))
    assert (found.lower, found.upper) == limits


def test_a_measure_that_is_defined_nowhere_has_no_row() -> None:
    assert compare_measures(make_pairs((None, 1), (None, None))) == ()
    assert compare_measures(()) == ()


def test_labels_and_measures_keep_their_order() -> None:
    pairs = [
        *make_pairs((1, 2), label="b"),
        *make_pairs((1, 3), label="b", measure="suv_max"),
        *make_pairs((7, 4), label="a"),
    ]
    found = compare_measures(pairs)
    assert [(one.label, one.measure, one.bias) for one in found] == [
        ("b", "mtv_ml", -1),
        ("b", "suv_max", -2),
        ("a", "mtv_ml", 3),
    ]
    assert found[1] == Agreement(
        label="b", measure="suv_max", n=1, mean_reference=3, bias=-2, sd=None, lower=None, upper=None
    )
    assert list_differences(pairs, label="a", measure="mtv_ml") == [(7, 4)]
