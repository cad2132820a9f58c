"""Two processes with gloo train one fold as one process with the double batch does, stop together and go on."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.errors import SettingsError, TrainingError
from interactivepet.networks import precision
from interactivepet.training import epochs, optimise
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.checkpoint import read_tensors
from interactivepet.training.distributed import ALONE, Ranks, open_ranks, use_device
from interactivepet.training.fold import TrainedFold, assist_fold, train_fold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.loader import EpochBatches
from interactivepet.training.tasks import FoldTask
from tests.null_tracker import NullTracker

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

N_RANKS = 2
PATIENCE_S = 300.0
OPTIONS = TrainingOptions(device="cpu", n_threads=1, deterministic=True, progress_position=0)


class KillingTracker(NullTracker):
    """Kills its process after an epoch, which the caller has then saved."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Work:
    """What the processes of a test do."""

    plan: Plan
    training: list[StoredCase]
    validation: list[StoredCase]
    folder: Path

    def fold(self, name: str) -> FoldData:
        return FoldData(0, self.training, self.validation, self.folder / name)

    def train(self, ranks: Ranks, name: str, *, plan: Plan | None = None, n_epochs: int = 2) -> TrainedFold | None:
        options = replace(OPTIONS, epochs=n_epochs)
        if not ranks.is_first:
            assist_fold(FoldTask(plan or self.plan), self.fold(name), options=options, ranks=ranks)
            return None
        return train_fold(
            FoldTask(plan or self.plan), self.fold(name), tracker=NullTracker(), options=options, ranks=ranks
        )


def join(rank: int, port: int, call: Callable[[Ranks], None]) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(N_RANKS),
        LOCAL_RANK=str(rank),
        LOCAL_WORLD_SIZE=str(N_RANKS),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    precision.choose_precision = lambda device: None
    with open_ranks("cpu") as ranks:
        call(ranks)


def start(call: Callable[[Ranks], None]) -> list[BaseProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes: list[BaseProcess] = [
        get_context("spawn").Process(target=join, args=(rank, port, call)) for rank in range(N_RANKS)
    ]
    for process in processes:
        process.start()
    return processes


def wait_for(processes: list[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join(PATIENCE_S)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def make_work(make_plan: MakePlan, store_case: StoreCase, folder: Path, **training: Any) -> Work:
    clicks = ClickSampling(noise_mm=1.0, corrected=0.0)
    # AdamW would divide rounding errors of gradients that are all but 0 by their own size
    sgd = {"optimizer": "sgd", "learning_rate": 0.01}
    plan = make_plan((16, 16, 16), clicks=clicks, iterations_per_epoch=4, **{**sgd, **training})
    # three resolutions: the coarsest output has no part in the loss and its weights get no gradient
    kernel = ((3, 3, 3),) * 3
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    network = plan.network.model_copy(
        update={
            "features_per_stage": (4, 8, 8),
            "kernel_sizes": kernel,
            "strides": strides,
            "n_conv_per_stage": (1, 1, 1),
            "n_conv_per_stage_decoder": (1, 1),
        }
    )
    cases = []
    for index in range(3):
        label = np.zeros((20, 18, 16), np.uint8)
        label[6:13, 6:12, 5 + index : 12] = 1
        image = np.random.default_rng(index).normal(size=(1, 20, 18, 16)) + 3.0 * label
        cases.append(store_case(image, label, name=f"C{index}", click_voxels=[(6, 9, 9), (12, 9, 9)]))
    return Work(plan.model_copy(update={"network": network}), cases[:2], cases[2:], folder)


def double(plan: Plan) -> Plan:
    return plan.model_copy(update={"training": plan.training.model_copy(update={"batch_size": N_RANKS * 2})})


def correct_often(plan: Plan) -> Plan:
    clicks = plan.training.clicks.model_copy(update={"corrected": 0.7})
    return plan.model_copy(update={"training": plan.training.model_copy(update={"clicks": clicks, "ema": 0.9})})


def compare_continue_and_die(ranks: Ranks, *, work: Work) -> None:
    """Train a curve; a fold undisturbed, and one that a signal stops and that goes on; then the first one is killed."""
    trained = work.train(ranks, "shared")
    if trained is not None:
        (work.folder / "curve.json").write_text(json.dumps([epoch.loss for epoch in trained.epochs]))
    plan = correct_often(work.plan)
    work.train(ranks, "undisturbed", plan=plan, n_epochs=3)
    interrupt_second_epoch(ranks, work, plan)
    work.train(ranks, "stopped", plan=plan, n_epochs=3)
    if ranks.is_first:
        train_fold(FoldTask(work.plan), work.fold("killed"), tracker=KillingTracker(), options=OPTIONS, ranks=ranks)
    assist_fold(FoldTask(work.plan), work.fold("killed"), options=OPTIONS, ranks=ranks)


def interrupt_second_epoch(ranks: Ranks, work: Work, plan: Plan) -> None:
    n_done = 0

    def find_rate(*arguments: Any) -> float:
        nonlocal n_done
        n_done += 1
        if ranks.rank == 1 and n_done == 7:
            signal.raise_signal(signal.SIGINT)
        return optimise.find_rate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "find_rate", find_rate)
        with pytest.raises(KeyboardInterrupt):
            work.train(ranks, "stopped", plan=plan, n_epochs=3)
    (work.folder / f"stopped_{ranks.rank}").write_text(str(work.fold("stopped").checkpoint.exists()))


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_double_batch_and_end_together(
    make_plan: MakePlan,
    store_case: StoreCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    work = make_work(make_plan, store_case, tmp_path)
    processes = start(partial(compare_continue_and_die, work=work))
    monkeypatch.setattr(precision, "choose_precision", lambda device: None)
    alone = work.train(ALONE, "alone", plan=double(work.plan))
    half = work.train(ALONE, "half")
    assert alone is not None
    assert half is not None

    assert wait_for(processes) == [-signal.SIGKILL, 1]
    assert "TrainingError: process 1 of 2 ends because another one has" in capfd.readouterr().err
    assert work.fold("killed").checkpoint.exists()

    curve = json.loads((tmp_path / "curve.json").read_text())
    assert curve == pytest.approx([epoch.loss for epoch in alone.epochs], rel=1e-4)
    assert curve != pytest.approx([epoch.loss for epoch in half.epochs], rel=1e-3)
    shared, single = (read_tensors(work.fold(name).weights) for name in ("shared", "alone"))
    for name, tensor in single.items():
        torch.testing.assert_close(shared[name], tensor, rtol=1e-3, atol=1e-5)

    assert [(tmp_path / f"stopped_{rank}").read_text() for rank in range(N_RANKS)] == ["True", "True"]
    undisturbed, continued = (read_tensors(work.fold(name).weights) for name in ("undisturbed", "stopped"))
    assert all(torch.equal(continued[name], tensor) for name, tensor in undisturbed.items())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_ranks_draw_together_what_one_process_draws_of_a_double_batch(
    make_plan: MakePlan, store_case: StoreCase, tmp_path: Path, share: float
) -> None:
    work = make_work(make_plan, store_case, tmp_path, foreground_share=share)
    augmentation = make_augmentation((16, 16, 16))
    draw = partial(PatchLoader, work.training, seed=(1, 2), augmentation=augmentation)
    whole = next(draw(double(work.plan)))
    parts = [next(draw(work.plan, ranks=Ranks(rank, N_RANKS))) for rank in range(N_RANKS)]
    for name in ("data", "target"):
        together = np.stack([part[name] for part in parts], axis=1).reshape(whole[name].shape)
        np.testing.assert_array_equal(together, whole[name])


def test_only_the_first_process_draws_validation_batches(
    make_plan: MakePlan, store_case: StoreCase, tmp_path: Path
) -> None:
    work = make_work(make_plan, store_case, tmp_path)
    batches = EpochBatches(work.fold("fold_0"), FoldTask(work.plan), 0, 3, 2, make_augmentation((16, 16, 16)))
    assert list(batches.list_epochs(1, 3)) == list(range(5, 15))
    assert list(replace(batches, ranks=Ranks(1, 2)).list_epochs(1, 3)) == [5, 6, 7, 10, 11, 12]


def test_a_process_alone_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with open_ranks("cuda") as ranks:
        assert ranks is ALONE
    assert ALONE.agree(1.0, 2.0) == [1.0, 2.0]
    assert ALONE.broadcast("value") == "value"
    assert ALONE.choose_device("cuda:7") == "cuda:7"
    network = torch.nn.Linear(1, 1)
    assert ALONE.share(network, network) is network


def test_each_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(rank=5, size=8, local_rank=1, local_size=4)
    assert ranks.choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [ranks.choose_device(name) for name in ("auto", "cuda")] == ["cuda:1", "cuda:1"]
    with pytest.raises(SettingsError, match="takes a device of its own; use cuda or cpu"):
        ranks.choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingsError, match="starts 4 processes a machine, but 2 CUDA devices"):
        ranks.choose_device("cuda")


def test_a_certain_card_becomes_the_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [use_device(name).type for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda"]
    assert chosen == [torch.device("cuda:1")]


def test_other_failures_keep_their_own_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="a defect"), open_ranks("cpu"):
        raise RuntimeError("a defect")
    with pytest.raises(TrainingError, match="another one has"), open_ranks("cpu"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
