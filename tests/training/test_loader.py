from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.plan import Plan
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import StoredCase
from interactivepet.training.engine import Batch
from interactivepet.training.inputs import FoldData
from interactivepet.training.loader import EpochBatches, open_loader
from interactivepet.training.tasks import FoldTask

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def batches(make_plan: MakePlan, store_case: StoreCase, tmp_path: Path) -> EpochBatches:
    rng = np.random.default_rng(0)
    label = np.zeros((20, 20, 20), np.uint8)
    label[8:12, 8:12, 8:12] = 1
    case = store_case(rng.normal(size=(1, 20, 20, 20)), label, click_voxels=[(8, 10, 10)])
    return EpochBatches(
        FoldData(1, [case], [case], tmp_path),
        FoldTask(make_plan((8, 8, 8))),
        seed=3,
        n_training=3,
        n_validation=2,
        augmentation=make_augmentation((8, 8, 8)),
    )


def draw(batches: EpochBatches, numbers: range, *, n_workers: int = 0) -> list[Batch]:
    with closing(open_loader(batches, numbers, n_workers=n_workers)) as loader:
        return list(loader)


def is_equal(first: Batch, second: Batch) -> bool:
    return torch.equal(first["data"], second["data"]) and torch.equal(first["target"], second["target"])


def test_epochs_are_numbered_with_their_validation(batches: EpochBatches) -> None:
    assert batches.list_epochs(1, 3) == range(5, 15)
    assert batches.list_validation(1) == range(8, 10)


def test_a_batch_depends_on_its_number_alone(batches: EpochBatches) -> None:
    two_epochs = draw(batches, range(10))
    again = draw(batches, range(5, 10))
    assert [b["data"].shape for b in two_epochs] == [(2, 4, 8, 8, 8)] * 10
    assert all(is_equal(a, b) for a, b in zip(two_epochs[5:], again, strict=True))
    training = [two_epochs[n] for n in (0, 1, 2, 5, 6, 7)]
    assert len({float(b["data"].double().sum()) for b in training}) == 6


def test_validation_batches_are_the_same_in_every_epoch_and_with_every_seed(batches: EpochBatches) -> None:
    first, second = draw(batches, batches.list_validation(0)), draw(batches, batches.list_validation(4))
    other = draw(replace(batches, seed=4), batches.list_validation(0))
    assert all(is_equal(a, b) and is_equal(a, c) for a, b, c in zip(first, second, other, strict=True))
    assert not is_equal(*first)


@pytest.mark.parametrize("change", [{"seed": 4}, {"fold": 2}])
def test_seed_and_fold_change_the_training_batches(batches: EpochBatches, change: dict[str, int]) -> None:
    data = replace(batches.data, index=change.get("fold", batches.data.index))
    changed = replace(batches, data=data, seed=change.get("seed", batches.seed))
    assert not is_equal(batches_at(batches, 0), batches_at(changed, 0))


def batches_at(batches: EpochBatches, number: int) -> Batch:
    return draw(batches, range(number, number + 1))[0]


@forks
def test_workers_draw_the_same_batches_in_the_same_order(batches: EpochBatches) -> None:
    here = draw(batches, range(7))
    there = draw(batches, range(7), n_workers=2)
    assert all(is_equal(a, b) for a, b in zip(here, there, strict=True))
    assert multiprocessing.active_children() == []


@forks
def test_a_loader_that_is_closed_early_leaves_no_worker(batches: EpochBatches) -> None:
    loader = open_loader(batches, range(100), n_workers=1)
    next(loader)
    assert len(multiprocessing.active_children()) == 1
    loader.close()
    assert multiprocessing.active_children() == []
    with pytest.raises(StopIteration):
        next(loader)


@forks
def test_a_worker_leaves_signals_to_the_training_process(batches: EpochBatches) -> None:
    with closing(open_loader(batches, range(20), n_workers=1)) as loader:
        next(loader)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
        assert len(list(loader)) == 19
