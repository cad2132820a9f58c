from __future__ import annotations

import pytest
import torch
from torch import nn

from interactivepet.core.plan import ClickSampling, TrainingPlan
from interactivepet.training.optimise import find_rate, make_average, make_optimizer


def make_training(**changes: object) -> TrainingPlan:
    settings = {"batch_size": 2, "epochs": 1, "iterations_per_epoch": 1, "clicks": ClickSampling(noise_mm=0.0)}
    return TrainingPlan(**{**settings, **changes})


def test_the_learning_rate_falls_as_a_polynomial() -> None:
    training = make_training(learning_rate=0.01)
    rates = [find_rate(training, step / 4) for step in range(5)]
    assert rates == pytest.approx([0.01, 0.01 * 0.75**0.9, 0.01 * 0.5**0.9, 0.01 * 0.25**0.9, 0.0])


def test_the_learning_rate_falls_as_half_a_cosine() -> None:
    training = make_training(learning_rate=0.02, schedule="cosine")
    assert [find_rate(training, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.02, 0.01, 0.0])


def test_warm_restarts_return_to_the_highest_rate_three_times() -> None:
    training = make_training(learning_rate=0.02, schedule="restarts")
    assert [find_rate(training, p) for p in (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.02, 0.01, 0.02, 0.02, 0.02, 0.0]
    )
    assert find_rate(training, 0.2499) < 1e-4


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_the_learning_rate_rises_first_when_that_is_planned(schedule: str) -> None:
    training = make_training(learning_rate=0.01, schedule=schedule, warm_up=0.2)
    assert [find_rate(training, p) for p in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([0.0, 0.005, 0.01, 0.0])
    assert find_rate(training, 0.2) > find_rate(training, 0.3) > find_rate(training, 0.9)


def test_a_run_beyond_its_end_has_no_rate() -> None:
    assert find_rate(make_training(), 1.5) == 0.0


def test_each_optimiser_has_the_plans_settings() -> None:
    network = nn.Linear(2, 2)
    (adamw,) = make_optimizer(network, make_training(optimizer="adamw", weight_decay=0.1)).param_groups
    assert (adamw["lr"], adamw["weight_decay"]) == (0.001, 0.1)
    sgd = make_optimizer(network, make_training(optimizer="sgd"))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["nesterov"]


def test_no_average_unless_planned() -> None:
    assert make_average(nn.Linear(1, 1), make_training()) is None


def test_the_average_follows_quickly_at_first() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = make_average(network, make_training(ema=0.99))
    assert average is not None
    expected = None
    for step in range(30):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update_parameters(network)
        decay = min(0.99, (1 + step) / (10 + step))
        expected = float(step) if expected is None else decay * expected + (1 - decay) * step
    assert float(average.module.weight.detach()) == pytest.approx(expected, rel=1e-4)
    assert not any(a is b for a, b in zip(average.parameters(), network.parameters(), strict=True))


def test_the_average_asks_nothing_of_the_device() -> None:
    # values of this device cannot be read at all
    network = nn.BatchNorm1d(3, device="meta")
    average = make_average(network, make_training(ema=0.9))
    assert average is not None
    for _ in range(3):
        average.update_parameters(network)
    assert int(average.n_averaged) == 3


def test_the_average_goes_on_where_it_was_saved() -> None:
    network, training = nn.Linear(2, 2), make_training(ema=0.9)
    first, second = make_average(network, training), make_average(network, training)
    assert first is not None
    assert second is not None
    for _ in range(5):
        first.update_parameters(network)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        network.weight.add_(1.0)
    first.update_parameters(network)
    second.update_parameters(network)
    assert torch.equal(first.module.weight, second.module.weight)
