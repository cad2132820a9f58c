from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from interactivepet.core.plan import Plan
from interactivepet.networks import precision
from interactivepet.networks.build import build_network
from interactivepet.training.engine import Engine, make_engine
from interactivepet.training.loop import train_epoch, validate_epoch

MakePlan = Callable[..., Plan]
Batch = dict[str, np.ndarray]

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: False)


def make_batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    target = np.zeros((2, 8, 8, 8), np.uint8)
    target[:, 2:6, 2:6, 2:6] = 1
    data = rng.normal(size=(2, 4, 8, 8, 8)).astype(np.float32)
    data[:, 0] += 3.0 * target
    return {"data": data, "target": target}


def repeat(batch: Batch) -> Iterator[Batch]:
    while True:
        yield batch


def make_small_engine(make_plan: MakePlan, **training: Any) -> Engine:
    plan = make_plan((8, 8, 8), **training)
    torch.manual_seed(0)
    return make_engine(build_network(plan.network, deep_supervision=True), plan, device=CPU)


class Constant(nn.Module):
    """Gives the same logits (N, 3, I, J, K), whatever it sees."""

    def __init__(self, guess: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(30.0 * nn.functional.one_hot(guess, 3).movedim(-1, 1).float())

    def forward(self, data: torch.Tensor) -> list[torch.Tensor]:
        return [self.logits]


def test_the_plan_decides_on_the_optimiser(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan, optimizer="sgd", learning_rate=0.02, momentum=0.8, weight_decay=1e-3)
    (group,) = engine.optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.02, 0.8, 1e-3, True)
    assert engine.precision is None
    assert not engine.scaler.is_enabled()


def test_bfloat16_needs_no_scaler(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: True)
    engine = make_small_engine(make_plan)
    assert engine.precision is torch.bfloat16
    assert not engine.scaler.is_enabled()
    with engine.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


def test_training_lowers_the_loss(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan, momentum=0.9)
    losses = [float(loss) for loss in train_epoch(engine, repeat(make_batch()), n_iterations=25)]
    assert len(losses) == 25
    assert losses[-1] < 0.7 * losses[0]
    assert validate_epoch(engine, repeat(make_batch(1)), n_iterations=1).loss < losses[0]


def test_an_epoch_draws_as_many_batches_as_it_was_told(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan)
    batches = iter([make_batch()] * 5)
    assert len(list(train_epoch(engine, batches, n_iterations=3))) == 3
    assert len(list(batches)) == 2


def test_large_gradients_are_scaled_down(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan, optimizer="sgd", learning_rate=1.0, momentum=0.001, weight_decay=0.0)
    with torch.no_grad():
        for parameter in engine.network.parameters():
            parameter.mul_(100.0)
    before = torch.cat([p.detach().flatten().clone() for p in engine.network.parameters()])
    list(train_epoch(engine, repeat(make_batch()), n_iterations=1))
    after = torch.cat([p.detach().flatten() for p in engine.network.parameters()])
    assert 0 < float((after - before).norm()) < 12.1


def test_a_step_may_change_its_batch(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan)
    batch = make_batch()
    seen = []

    def transform(batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        data, target = batch["data"], batch["target"]
        seen.append((tuple(data.shape), tuple(target.shape)))
        return torch.zeros_like(data), torch.zeros_like(target)

    (changed,) = train_epoch(engine, repeat(batch), n_iterations=1, transform=transform)

    empty = {name: np.zeros_like(array) for name, array in batch.items()}
    (expected,) = train_epoch(make_small_engine(make_plan), repeat(empty), n_iterations=1)
    assert seen == [((2, 4, 8, 8, 8), (2, 8, 8, 8))]
    assert torch.equal(changed, expected)


def test_the_average_is_what_is_validated(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan, ema=0.9)
    start = next(engine.network.parameters()).detach().clone()
    list(train_epoch(engine, repeat(make_batch()), n_iterations=3))
    last, mean = (next(network.parameters()).detach() for network in (engine.network, engine.result))
    assert engine.result is not engine.network
    assert 0 < float((mean - start).norm()) < float((last - start).norm())
    with torch.no_grad():
        for parameter in engine.network.parameters():
            parameter.fill_(math.nan)
    assert math.isfinite(validate_epoch(engine, repeat(make_batch()), n_iterations=1).loss)


def test_without_an_average_the_network_itself_is_validated(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan)
    assert engine.result is engine.network


def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_nothing(run: Callable[..., Any]) -> Callable[..., Any]:
        def fail(data: torch.Tensor) -> None:
            raise RuntimeError("no compiler\nand more")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plan = make_plan((8, 8, 8))
    network = build_network(plan.network, deep_supervision=True)
    engine = make_engine(network, plan, device=CPU, compile_network=True)
    assert engine.forward is engine.network
    assert caplog.messages == ["the network is not compiled and runs as it is: no compiler"]


def test_a_compiled_network_is_what_steps_run(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def compile_and_count(run: Callable[..., Any]) -> Callable[..., Any]:
        def call(data: torch.Tensor) -> Any:
            runs.append(tuple(data.shape))
            return run(data)

        return call

    monkeypatch.setattr(torch, "compile", compile_and_count)
    plan = make_plan((8, 8, 8))
    torch.manual_seed(0)
    compiled = make_engine(build_network(plan.network, deep_supervision=True), plan, device=CPU, compile_network=True)
    (loss,) = train_epoch(compiled, repeat(make_batch()), n_iterations=1)
    (expected,) = train_epoch(make_small_engine(make_plan), repeat(make_batch()), n_iterations=1)
    assert runs == [(2, 4, 8, 8, 8)] * 2
    assert torch.equal(loss, expected)


def test_pseudo_dice_counts_all_patches_together(make_plan: MakePlan) -> None:
    guess = torch.tensor([1, 1, 0, 0]).view(1, 4, 1, 1)
    engine = make_engine(Constant(guess), make_plan(), device=CPU)
    data = np.zeros((1, 1, 4, 1, 1), np.float32)
    targets = [np.array([[1, 0, 0, 0]]), np.array([[1, 1, 1, 1]])]
    batches = [{"data": data, "target": t.reshape(1, 4, 1, 1).astype(np.uint8)} for t in targets]

    score = validate_epoch(engine, iter(batches), n_iterations=2)

    assert score.pseudo_dice == (pytest.approx(2 * 3 / (4 + 5)), None)
    assert math.isfinite(score.loss)


def test_a_label_that_is_only_guessed_scores_zero(make_plan: MakePlan) -> None:
    guess = torch.tensor([2, 0]).view(1, 2, 1, 1)
    engine = make_engine(Constant(guess), make_plan(), device=CPU)
    batch = {"data": np.zeros((1, 1, 2, 1, 1), np.float32), "target": np.zeros((1, 2, 1, 1), np.uint8)}
    assert validate_epoch(engine, repeat(batch), n_iterations=1).pseudo_dice == (None, 0.0)


def test_validation_changes_no_weight(make_plan: MakePlan) -> None:
    engine = make_small_engine(make_plan)
    before = [p.detach().clone() for p in engine.network.parameters()]
    validate_epoch(engine, repeat(make_batch()), n_iterations=2)
    assert all(torch.equal(a, b) for a, b in zip(before, engine.network.parameters(), strict=True))


def test_a_validation_loss_that_is_not_finite_is_reported(make_plan: MakePlan) -> None:
    batch = make_batch()
    batch["data"][0, 0, 4, 4, 4] = math.nan
    with pytest.raises(FloatingPointError, match="the validation loss is nan"):
        validate_epoch(make_small_engine(make_plan), repeat(batch), n_iterations=1)
