from __future__ import annotations

import pytest

from interactivepet.core.simulation import SimulatedCase
from interactivepet.evaluation.operators import summarise_operators
from tests.reporting.examples import make_simulated_case


def make_session(case: str, dice: list[float], volumes_ml: list[float | None]) -> SimulatedCase:
    session = make_simulated_case(case, dice)
    steps = zip(session.steps, volumes_ml, strict=True)
    return session.model_copy(update={"steps": tuple(s.model_copy(update={"volume_ml": v}) for s, v in steps)})


@pytest.mark.parametrize(
    ("dice", "volumes_ml", "mean", "sd", "variation"),
    [
        # operator by operator, case by case
        ([[0.5, 0.7], [0.5, 0.7]], [[4.0, 2.0], [4.0, 2.0]], 0.6, 0.0, 0.0),
        ([[0.4, 0.7], [0.6, 0.7]], [[1.0, 2.0], [3.0, 2.0]], 0.6, 0.2 / 2**0.5 / 2, 100 * 2**0.5 / 2 / 2),
        # a case in which nobody marked anything has no variation
        ([[0.5, 1.0], [0.5, 1.0]], [[4.0, 0.0], [4.0, 0.0]], 0.75, 0.0, 0.0),
        # sessions of earlier versions have no volume
        ([[0.5, 0.7], [0.5, 0.7]], [[None, None], [4.0, None]], 0.6, 0.0, None),
    ],
)
def test_spread_between_operators(
    dice: list[list[float]],
    volumes_ml: list[list[float | None]],
    mean: float,
    sd: float,
    variation: float | None,
) -> None:
    operators = [
        {case: make_session(case, [0.0, value], [0.0, volume]) for case, value, volume in zip("AB", d, v, strict=True)}
        for d, v in zip(dice, volumes_ml, strict=True)
    ]
    found = summarise_operators("ours", operators)
    assert (found.system, found.n_cases, len(found.points)) == ("ours", 2, 2)
    assert (found.points[0].mean_dice, found.points[0].dice_sd) == (0, 0)
    assert (found.points[1].mean_dice, found.points[1].dice_sd) == pytest.approx((mean, sd))
    assert found.points[1].volume_cv_percent == (variation if variation is None else pytest.approx(variation))
