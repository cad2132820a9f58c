from __future__ import annotations

import itertools
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from interactivepet.core.plan import Plan
from interactivepet.errors import SettingsError, StaleArtefactError, TrainingError
from interactivepet.networks.build import build_network
from interactivepet.training import epochs, fold, stop
from interactivepet.training.batches import StoredCase
from interactivepet.training.checkpoint import load_state, load_weights, read_tensors
from interactivepet.training.engine import Engine
from interactivepet.training.fold import train_fold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.loop import ValidationScore
from interactivepet.training.tasks import FoldTask
from tests.null_tracker import NullTracker

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

OPTIONS = TrainingOptions(device="cpu", n_threads=1)


class StubTracker(NullTracker):
    """Keeps what it was told, and may be told to fail."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.fail_at = fail_at

    def start_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str | None:
        self.calls.append(("start", (name, parent, run_id, tags)))
        return run_id or "run-1"

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        self.calls.append(("parameters", parameters))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        self.calls.append(("metrics", (step, dict(metrics))))
        if step == self.fail_at:
            raise KeyboardInterrupt

    def log_picture(self, name: str, png: bytes) -> None:
        self.calls.append(("picture", name))

    def end_run(self, *, failed: bool = False) -> None:
        self.calls.append(("end", failed))

    def told(self, what: str) -> list[Any]:
        return [content for kind, content in self.calls if kind == what]


def made_from(plan: Plan, data: FoldData) -> str:
    return f"{plan.content_hash()}-{data.cases_hash}"


@pytest.fixture
def data(store_case: StoreCase, tmp_path: Path) -> FoldData:
    rng = np.random.default_rng(0)
    cases = []
    for index in range(2):
        label = np.zeros((20, 18, 16), np.uint8)
        label[6:13, 6:12, 5 + index : 12] = 1
        image = rng.normal(size=(1, 20, 18, 16)) + 3.0 * label
        cases.append(store_case(image, label, name=f"C{index}", click_voxels=[(6, 9, 9), (12, 9, 9)]))
    return FoldData(3, cases[:1], cases[1:], tmp_path / "fold_3")


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan((16, 16, 16), epochs=2, iterations_per_epoch=2, optimizer="sgd", learning_rate=0.01)


def test_a_fold_is_trained_and_described(plan: Plan, data: FoldData) -> None:
    tracker = StubTracker()

    trained = train_fold(FoldTask(plan), data, tracker=tracker, options=OPTIONS, parent_run="parent")

    assert [record.epoch for record in trained.epochs] == [0, 1]
    assert [record.learning_rate for record in trained.epochs] == pytest.approx([0.01, 0.01 * 0.5**0.9])
    assert all(math.isfinite(record.loss + record.validation_loss) for record in trained.epochs)
    assert all(record.seconds > 0 and 0.05 < record.memory_gb < 50 for record in trained.epochs)
    assert (trained.run_id, trained.device) == ("run-1", "cpu")

    weights = load_weights(data.weights, sha256=trained.weights_sha256)
    build_network(plan.network, deep_supervision=False).load_state_dict(weights)

    tags = {"task": "Task001", "configuration": "3d_fullres", "fold": "3", "device": "cpu"}
    assert tracker.told("start") == [("fold_3", "parent", None, tags)]
    (parameters,) = tracker.told("parameters")
    assert parameters["training"]["batch_size"] == 2
    metrics = tracker.told("metrics")
    assert [step for step, _ in metrics] == [0, 1]
    for record, (_, logged) in zip(trained.epochs, metrics, strict=True):
        assert logged["loss"] == record.loss
        assert logged["validation_loss"] == record.validation_loss
        assert logged["learning_rate"] == record.learning_rate
        assert record.pseudo_dice[0] == logged.get("pseudo_dice_tumour")
    assert tracker.told("end") == []


def test_the_first_batch_is_shown_once_and_not_on_continuing(plan: Plan, data: FoldData) -> None:
    first, second = StubTracker(fail_at=0), StubTracker()
    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=first, options=OPTIONS, draw_samples=lambda samples: b"png")
    assert first.told("picture") == ["batches/epoch_000.png"]
    train_fold(FoldTask(plan), data, tracker=second, options=OPTIONS, draw_samples=lambda samples: b"png")
    assert second.told("picture") == []


def test_the_state_is_written_after_every_epoch(plan: Plan, data: FoldData) -> None:
    written = []

    class Watcher(StubTracker):
        def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
            state = load_state(data.checkpoint, made_from=made_from(plan, data))
            written.append([record.epoch for record in state.epochs])

    trained = train_fold(FoldTask(plan), data, tracker=Watcher(), options=OPTIONS)

    assert written == [[0], [0, 1]]
    state = load_state(data.checkpoint, made_from=made_from(plan, data))
    assert state.epochs == trained.epochs
    assert state.run_id == "run-1"
    weights = load_weights(data.weights, sha256=trained.weights_sha256)
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.network.items())


def test_an_interrupted_fold_continues_to_the_same_number_of_epochs(plan: Plan, data: FoldData) -> None:
    options = replace(OPTIONS, epochs=3)
    first = StubTracker(fail_at=0)
    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=first, options=options)
    assert first.told("end") == [True]
    assert not data.weights.exists()
    before = load_state(data.checkpoint, made_from=made_from(plan, data))

    second = StubTracker()
    trained = train_fold(FoldTask(plan), data, tracker=second, options=options)

    assert [record.epoch for record in trained.epochs] == [0, 1, 2]
    assert trained.epochs[:1] == before.epochs
    assert second.told("start")[0][2] == "run-1"
    assert second.told("parameters") == []
    assert [step for step, _ in second.told("metrics")] == [1, 2]


def test_an_epoch_starts_with_the_rate_weights_and_momentum_of_its_time(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = epochs.train_epoch
    seen: list[tuple[float, torch.Tensor, torch.Tensor | None]] = []

    def look(engine: Engine, batches: Iterator[Any], **settings: Any) -> Iterator[torch.Tensor]:
        (group,) = engine.optimizer.param_groups
        weight = group["params"][0]
        momentum = engine.optimizer.state[weight].get("momentum_buffer")
        seen.append((group["lr"], weight.detach().clone(), None if momentum is None else momentum.clone()))
        return real(engine, batches, **settings)

    monkeypatch.setattr(epochs, "train_epoch", look)
    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=StubTracker(fail_at=0), options=OPTIONS)
    state = load_state(data.checkpoint, made_from=made_from(plan, data))
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)

    (first_rate, _, no_momentum), (second_rate, weight, momentum) = seen
    assert (first_rate, second_rate) == pytest.approx((0.01, 0.01 * 0.5**0.9))
    assert no_momentum is None
    assert torch.equal(weight, next(iter(state.network.values())))
    assert momentum is not None
    assert torch.equal(momentum, state.optimizer["state"][0]["momentum_buffer"])


def test_a_fold_continues_on_a_card_that_scales_gradients(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, epochs=1))
    real = fold.make_engine

    def make_scaling_engine(*args: Any, **kwargs: Any) -> Engine:
        return replace(real(*args, **kwargs), scaler=torch.amp.GradScaler("cpu", enabled=True))

    monkeypatch.setattr(fold, "make_engine", make_scaling_engine)
    for n_epochs in (2, 3):
        trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, epochs=n_epochs))
        assert len(trained.epochs) == n_epochs
    assert load_state(data.checkpoint, made_from=made_from(plan, data)).scaler["scale"] > 0


def test_an_epoch_under_way_is_repeated(plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch) -> None:
    real = epochs.train_epoch
    n_epochs = 0

    def stop_in_the_second(*args: Any, **kwargs: Any) -> Iterator[torch.Tensor]:
        nonlocal n_epochs
        n_epochs += 1
        losses = real(*args, **kwargs)
        yield next(losses)
        if n_epochs == 2:
            raise KeyboardInterrupt
        yield from losses

    monkeypatch.setattr(epochs, "train_epoch", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    monkeypatch.setattr(epochs, "train_epoch", real)

    trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    assert [record.epoch for record in trained.epochs] == [0, 1]


def test_a_fold_that_only_lacks_its_weights_is_not_trained_further(plan: Plan, data: FoldData) -> None:
    trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    before = load_weights(data.weights, sha256=trained.weights_sha256)
    data.weights.unlink()
    tracker = StubTracker()
    again = train_fold(FoldTask(plan), data, tracker=tracker, options=OPTIONS)
    assert again.epochs == trained.epochs
    assert tracker.told("metrics") == []
    after = load_weights(data.weights, sha256=again.weights_sha256)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_a_fold_starts_anew_when_asked_to(plan: Plan, data: FoldData) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    tracker = StubTracker()
    trained = train_fold(FoldTask(plan), data, tracker=tracker, options=replace(OPTIONS, resume=False, epochs=1))
    assert [record.epoch for record in trained.epochs] == [0]
    assert [step for step, _ in tracker.told("metrics")] == [0]


def test_the_seed_decides_on_everything(plan: Plan, data: FoldData) -> None:
    def train(seed: int) -> list[float]:
        options = replace(OPTIONS, seed=seed, resume=False, iterations=1)
        return [r.loss for r in train_fold(FoldTask(plan), data, tracker=NullTracker(), options=options).epochs]

    first = train(1)
    assert train(1) == first
    assert train(2) != first


def test_validation_patches_are_the_same_in_every_epoch(plan: Plan, data: FoldData) -> None:
    training = plan.training.model_copy(update={"learning_rate": 1e-12})
    still = plan.model_copy(update={"training": training})
    trained = train_fold(FoldTask(still), data, tracker=NullTracker(), options=OPTIONS)
    first, second = (record.validation_loss for record in trained.epochs)
    assert first == pytest.approx(second, rel=1e-6)


def test_another_plan_is_refused(plan: Plan, data: FoldData) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    training = plan.training.model_copy(update={"learning_rate": 0.02})
    with pytest.raises(StaleArtefactError, match="--no-continue"):
        train_fold(
            FoldTask(plan.model_copy(update={"training": training})), data, tracker=NullTracker(), options=OPTIONS
        )


@pytest.mark.parametrize("part", ["training", "validation"])
def test_other_cases_are_refused(plan: Plan, data: FoldData, part: str) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    (case,) = getattr(data, part)
    record = case.record.model_copy(update={"volume_sha256": "another"})
    changed = replace(data, **{part: [StoredCase(record, case.path)]})
    assert changed.cases_hash != data.cases_hash
    with pytest.raises(StaleArtefactError, match="--no-continue"):
        train_fold(FoldTask(plan), changed, tracker=NullTracker(), options=OPTIONS)


def test_who_is_trained_on_is_part_of_the_hash(data: FoldData) -> None:
    swapped = replace(data, training=data.validation, validation=data.training)
    both = replace(data, training=[*data.training, *data.validation], validation=[])
    assert len({data.cases_hash, swapped.cases_hash, both.cases_hash}) == 3


def test_a_damaged_checkpoint_is_refused(plan: Plan, data: FoldData) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    for path in data.folder.glob("checkpoint*.pt"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is damaged"):
        train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)


def test_a_loss_that_is_not_finite_ends_the_fold(plan: Plan, data: FoldData, store_case: StoreCase) -> None:
    label = np.ones((20, 18, 16), np.uint8)
    broken = store_case(np.full((1, 20, 18, 16), np.nan), label, name="NAN")
    tracker = StubTracker()
    with pytest.raises(TrainingError, match=r"Task001 fold 3: the loss is nan.*interactivepet_verify"):
        train_fold(FoldTask(plan), replace(data, training=[broken]), tracker=tracker, options=OPTIONS)
    assert tracker.told("end") == [True]
    assert not data.checkpoint.exists()
    assert not data.weights.exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_lack_of_memory_is_explained(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run_out(*args: Any, **kwargs: Any) -> Iterator[float]:
        raise error

    monkeypatch.setattr(epochs, "train_epoch", run_out)
    with pytest.raises(TrainingError, match=r"fold 3: out of memory with patch \(16, 16, 16\) and batch 2"):
        train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)


def test_a_2d_task_with_two_labels_is_trained(make_plan: MakePlan, store_case: StoreCase, tmp_path: Path) -> None:
    label = np.zeros((24, 20, 1), np.uint8)
    label[4:10, 4:10] = 1
    label[12:18, 8:14] = 2
    case = store_case(label[None] + 0.5, label, click_voxels=[(5, 5, 0), (9, 9, 0)])
    plan = make_plan((16, 16, 1), labels={"a": 1, "b": 2}, iterations_per_epoch=4)
    trained = train_fold(
        FoldTask(plan), FoldData(0, [case], [case], tmp_path / "fold_0"), tracker=NullTracker(), options=OPTIONS
    )
    assert all(math.isfinite(record.loss) for record in trained.epochs)
    assert all(len(record.pseudo_dice) == 2 for record in trained.epochs)


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(plan: Plan, data: FoldData) -> None:
    tracker = StubTracker()
    with pytest.raises(SettingsError):
        train_fold(FoldTask(plan), data, tracker=tracker, options=replace(OPTIONS, device="abacus"))
    assert tracker.calls == []
    assert not data.folder.exists()


def read_weights(data: FoldData) -> dict[str, torch.Tensor]:
    return read_tensors(data.weights)


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], tensor) for name, tensor in second.items())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_interrupted_deterministic_run_ends_with_the_weights_of_an_undisturbed_one(
    plan: Plan, data: FoldData, ema: float | None
) -> None:
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"ema": ema})})
    options = replace(OPTIONS, epochs=3, deterministic=True)
    calm = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(options, resume=False))
    expected = read_weights(data)

    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=StubTracker(fail_at=1), options=replace(options, resume=False))
    continued = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=options)

    assert same(read_weights(data), expected)
    assert [r.loss for r in continued.epochs] == [r.loss for r in calm.epochs]
    other = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(options, seed=1, resume=False))
    assert other.weights_sha256 != calm.weights_sha256
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_rate_falls_with_every_iteration(plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = Engine.set_rate
    monkeypatch.setattr(Engine, "set_rate", lambda engine, rate: (seen.append(rate), real(engine, rate))[1])
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    # each epoch of two iterations sets the rate before, between and after its steps
    shares = [0.0, 0.25, 0.5, 0.5, 0.75, 1.0]
    assert seen == pytest.approx([0.01 * (1 - share) ** 0.9 for share in shares])


@pytest.mark.parametrize(
    ("options", "n_epochs"), [({"until_dice": 1e-9}, 1), ({"patience": 2}, 3), ({"patience": 2, "until_dice": 1.0}, 3)]
)
def test_a_run_ends_early(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], n_epochs: int
) -> None:
    monkeypatch.setattr(epochs, "validate_epoch", lambda *args, **kwargs: ValidationScore(0.5, (0.4,)))
    trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, epochs=9, **options))
    assert len(trained.epochs) == n_epochs
    assert data.weights.is_file()


def test_the_time_limit_cuts_the_epoch_and_the_rate_falls_with_it(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    real = Engine.set_rate
    monkeypatch.setattr(Engine, "set_rate", lambda engine, rate: (rates.append(rate), real(engine, rate))[1])

    def tick() -> Iterator[float]:
        yield from itertools.count(time.monotonic(), 0.1)

    ticks = tick()
    monkeypatch.setattr(stop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    options = replace(OPTIONS, epochs=1000, iterations=1000, time_limit_s=1.0)
    trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=options)
    (record,) = trained.epochs
    assert 1.0 <= record.seconds < 2.0
    assert len(rates) < 20
    assert math.isfinite(record.validation_loss)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.009
    again = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=options)
    assert again.epochs == trained.epochs


def test_a_signal_ends_the_run_after_an_iteration(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = epochs.train_epoch
    steps = []

    def send(*args: Any, **kwargs: Any) -> Iterator[torch.Tensor]:
        for loss in real(*args, **kwargs):
            steps.append(loss)
            if len(steps) == 3:
                signal.raise_signal(signal.SIGTERM)
            yield loss

    monkeypatch.setattr(epochs, "train_epoch", send)
    tracker = StubTracker()
    with pytest.raises(SystemExit) as info:
        train_fold(FoldTask(plan), data, tracker=tracker, options=OPTIONS)
    assert info.value.code == 143
    assert len(steps) == 3
    assert tracker.told("end") == [True]
    assert "its 1 whole epochs are in" in caplog.text
    assert len(load_state(data.checkpoint, made_from=made_from(plan, data)).epochs) == 1
    assert not data.weights.exists()


def test_the_best_weights_are_kept_when_asked_for(plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = iter([0.5, 0.9, 0.1])
    monkeypatch.setattr(epochs, "validate_epoch", lambda *args, **kwargs: ValidationScore(0.5, (next(dice),)))
    weights = []

    class Watcher(StubTracker):
        def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
            weights.append(load_state(data.checkpoint, made_from=made_from(plan, data)).network)

    options = replace(OPTIONS, epochs=3)
    train_fold(FoldTask(plan), data, tracker=Watcher(), options=replace(options, keep="best"))
    assert same(read_weights(data), weights[1])
    assert not same(read_weights(data), weights[2])
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=options)
    assert same(read_weights(data), weights[2])
    assert same(read_tensors(data.best_weights), weights[1])


@pytest.mark.slow
def test_a_fold_starts_from_given_weights(plan: Plan, data: FoldData, tmp_path: Path) -> None:
    train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    source = tmp_path / "given.pt"
    source.write_bytes(data.weights.read_bytes())
    training = plan.training.model_copy(update={"learning_rate": 1e-12, "weight_decay": 0.0})
    still = plan.model_copy(update={"training": training})
    options = replace(OPTIONS, epochs=1, iterations=1, pretrained=source, resume=False, seed=5)
    train_fold(FoldTask(still), data, tracker=NullTracker(), options=options)
    for name, tensor in read_weights(data).items():
        assert torch.allclose(tensor, read_tensors(source)[name], atol=1e-6)


def test_more_epochs_continue_from_the_state(plan: Plan, data: FoldData) -> None:
    first = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    second = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, epochs=4))
    assert second.epochs[:2] == first.epochs
    assert [record.learning_rate for record in second.epochs[2:]] == pytest.approx([0.01 * 0.5**0.9, 0.01 * 0.25**0.9])


ENDINGS = [
    {"epochs": 1},
    {"until_dice": 1e-6},
    {"patience": 1},
    {"time_limit_s": 1e-3},
    {"epochs": 5, "patience": 1},
]


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_a_run_that_had_ended_stays_ended_without_its_options(
    plan: Plan, data: FoldData, monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any]
) -> None:
    monkeypatch.setattr(epochs, "validate_epoch", lambda *args, **settings: ValidationScore(0.5, (0.5,)))
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 4})})
    first = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, **ending))
    assert len(first.epochs) < 4
    weights = read_weights(data)

    tracker = StubTracker()
    second = train_fold(FoldTask(plan), data, tracker=tracker, options=OPTIONS)

    assert second.epochs == first.epochs
    assert tracker.told("metrics") == []
    assert all(torch.equal(weights[name], tensor) for name, tensor in read_weights(data).items())
    third = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=replace(OPTIONS, epochs=3))
    assert len(third.epochs) == 3


def test_an_interrupted_run_goes_on_to_the_epochs_of_the_plan_without_its_options(plan: Plan, data: FoldData) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_fold(FoldTask(plan), data, tracker=StubTracker(fail_at=0), options=replace(OPTIONS, epochs=3))
    trained = train_fold(FoldTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    assert len(trained.epochs) == 2


def test_speed_and_waiting_are_measured(plan: Plan, data: FoldData) -> None:
    tracker = StubTracker()
    trained = train_fold(FoldTask(plan), data, tracker=tracker, options=OPTIONS)
    for record, (_, logged) in zip(trained.epochs, tracker.told("metrics"), strict=True):
        assert record.iterations_per_second > 1 / record.seconds
        assert 0.0 < record.wait_share < 1.0
        assert (logged["iterations_per_second"], logged["wait_share"]) == (
            record.iterations_per_second,
            record.wait_share,
        )
