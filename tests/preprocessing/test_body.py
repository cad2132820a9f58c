from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from interactivepet.core.plan import Normalisation, Plan
from interactivepet.preprocessing.body import MARGIN_MM, find_body
from tests.whole_body import SHAPE, SPACING_MM, WholeBody, make_ready, make_whole_body

MakePlan = Callable[..., Plan]
Make = Callable[[WholeBody], list[np.ndarray]]

SUV = Normalisation(scheme="suv", clip=(0.0, 20.0), std=3.0)
ZSCORE = Normalisation(scheme="zscore")
HU = Normalisation(scheme="ct", clip=(-900.0, 300.0), mean=20.0, std=150.0)
SOFT_TISSUE = Normalisation(scheme="ct", clip=(-100.0, 300.0), mean=20.0, std=150.0)


@dataclass(frozen=True)
class Channel:
    """A channel's name, its normalisation, and what it shows of a body."""

    name: str
    plan: Normalisation
    show: Callable[[WholeBody], np.ndarray]


def count(body: WholeBody) -> np.ndarray:
    return (3000 * body.uptake).round()


def add_line(body: WholeBody) -> np.ndarray:
    """An injection line and a vial outside of the body."""
    shown = body.uptake.copy()
    shown[5:7, 38:42, 20:60] = 40.0
    return shown


def dose_tracer(body: WholeBody) -> np.ndarray:
    """PSMA: organs a hundred times as hot as muscle."""
    shown = body.uptake.copy()
    shown[32:48, 34:46, 30:50] = 70.0
    return shown


PET = Channel("PET", SUV, lambda body: body.uptake)
CT = Channel("CT", HU, lambda body: body.hounsfield())

FOUND = {
    "PET in SUV": (PET,),
    "PET in Bq/ml": (Channel("PET", ZSCORE, lambda body: 5000 * body.uptake),),
    "FDG with a hot line outside": (Channel("FDG", SUV, add_line),),
    "PSMA with hot organs": (Channel("PSMA", SUV, dose_tracer),),
    "SPECT in counts": (Channel("SPECT", ZSCORE, count),),
    "air of exactly 0": (Channel("PET", SUV, lambda body: np.where(body.body, body.uptake, 0.0)),),
    "much noise": (Channel("PET", SUV, lambda body: make_whole_body(noise=0.03).uptake),),
    "CT in HU": (CT,),
    "CT padded with -3024": (Channel("CT", HU, lambda body: np.where(body.body, body.hounsfield(), -3024.0)),),
    "PET and CT": (PET, CT),
    "PET and CT clipped to soft tissue": (PET, Channel("CT", SOFT_TISSUE, lambda body: body.hounsfield())),
}

UNSURE = {
    "MR": (Channel("MR", ZSCORE, lambda body: 500 * body.uptake),),
    "PET and MR": (PET, Channel("T1", ZSCORE, lambda body: 500 * body.uptake)),
    "CT clipped to soft tissue alone": (Channel("CT", SOFT_TISSUE, lambda body: body.hounsfield()),),
    "nothing": (Channel("PET", SUV, lambda body: np.zeros(SHAPE)),),
    "noise alone": (Channel("PET", SUV, lambda body: np.random.default_rng(0).gamma(2.0, 0.2, SHAPE)),),
    "body everywhere": (Channel("PET", SUV, lambda body: np.random.default_rng(0).uniform(0.4, 0.8, SHAPE)),),
    "tissue around hot organs": (
        Channel("PET", SUV, lambda body: np.random.default_rng(0).uniform(0.4, 0.8, SHAPE) + 5 * body.body),
    ),
    "one hot organ": (Channel("SPECT", ZSCORE, lambda body: 500.0 * body.lesions),),
    "organs that outshine a body of noise": (
        Channel("SPECT", ZSCORE, lambda body: np.where(np.indices(SHAPE)[2] < 70, dose_tracer(body) > 30, 0) * 900.0),
    ),
}


def find(channels: tuple[Channel, ...], make_plan: MakePlan) -> tuple[np.ndarray, np.ndarray] | None:
    from interactivepet.preprocessing.normalise import normalise

    plans = [channel.plan for channel in channels]
    plan = make_plan(SPACING_MM, *plans).model_copy(update={"channels": tuple(channel.name for channel in channels)})
    body = make_whole_body()
    image = np.stack([channel.show(body) for channel in channels]).astype(np.float32)
    return find_body(make_ready(*normalise(image, plans)), plan)


@pytest.mark.parametrize("channels", FOUND.values(), ids=FOUND)
def test_a_body_is_found(channels: tuple[Channel, ...], make_plan: MakePlan) -> None:
    truth = make_whole_body()

    found = find(channels, make_plan)

    assert found is not None
    body, widened = found
    for name, part in (("arms", truth.arms), ("lungs", truth.lungs), ("lesions", truth.lesions), ("all", truth.body)):
        assert widened[part].all(), name
    assert body[truth.body].mean() > 0.98
    assert body.mean() < 1.3 * truth.body.mean()
    # the nearest air stays, the rest goes
    assert widened.mean() < 2 * truth.body.mean()
    assert not widened[:4].any() or "line" in str(channels)


@pytest.mark.parametrize("channels", UNSURE.values(), ids=UNSURE)
def test_an_image_without_a_clear_body_is_left_alone(channels: tuple[Channel, ...], make_plan: MakePlan) -> None:
    assert find(channels, make_plan) is None


def test_a_slice_is_left_alone(make_plan: MakePlan) -> None:
    plan = make_plan(SPACING_MM, SUV).model_copy(update={"channels": ("PET",)})
    assert find_body(make_ready(make_whole_body().uptake[:, 40:41]), plan) is None


def test_a_large_grid_is_searched_coarsely(make_plan: MakePlan) -> None:
    truth = make_whole_body()
    fine = truth.uptake.repeat(3, axis=0).repeat(2, axis=1)[:, :-1]
    spacing = (SPACING_MM[0] / 3, SPACING_MM[1] / 2, SPACING_MM[2])
    plan = make_plan(spacing, SUV).model_copy(update={"channels": ("PET",)})

    found = find_body(make_ready(fine, spacing_mm=spacing), plan)

    assert found is not None
    body, widened = found
    assert body.shape == fine.shape
    expected = truth.body.repeat(3, axis=0).repeat(2, axis=1)[:, :-1]
    assert widened[expected].all()
    assert body[expected].mean() > 0.97
    assert MARGIN_MM == 20.0
