from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interactivepet.core.promptable import PromptablePlan
from interactivepet.training.batches import StoredCase
from interactivepet.training.checkpoint import read_tensors
from interactivepet.training.fold import train_fold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.tasks import PromptTask
from tests.null_tracker import NullTracker

MakePlan = Callable[..., PromptablePlan]
StoreCase = Callable[..., StoredCase]

OPTIONS = TrainingOptions(device="cpu", n_threads=1)


class Interrupted(NullTracker):
    """Ends the run after its first epoch."""

    def log_metrics(self, metrics: object, *, step: int | None = None) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def data(store_balls: StoreCase, tmp_path: Path) -> FoldData:
    return FoldData(0, [store_balls("A")], [store_balls("B")], tmp_path / "fold_0")


def test_the_engine_of_the_folds_trains_it_and_an_interrupted_run_goes_on(
    make_prompt_plan: MakePlan, data: FoldData, tmp_path: Path
) -> None:
    plan = make_prompt_plan()
    trained = train_fold(PromptTask(plan), data, tracker=NullTracker(), options=OPTIONS)
    assert [len(record.pseudo_dice) for record in trained.epochs] == [1, 1]
    other = replace(data, folder=tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        train_fold(PromptTask(plan), other, tracker=Interrupted(), options=OPTIONS)
    train_fold(PromptTask(plan), other, tracker=NullTracker(), options=OPTIONS)
    whole, continued = read_tensors(data.weights), read_tensors(other.weights)
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_masks_and_zooms_are_drawn_before_the_device_sees_them(make_prompt_plan: MakePlan) -> None:
    assert not PromptTask(make_prompt_plan()).augments_on_device(torch.device("cuda"))


def test_it_learns_to_find_what_was_clicked(make_prompt_plan: MakePlan, data: FoldData) -> None:
    options = replace(OPTIONS, epochs=5, iterations=12)
    trained = train_fold(PromptTask(make_prompt_plan()), data, tracker=NullTracker(), options=options)
    first, last = trained.epochs[0].pseudo_dice[0], trained.epochs[-1].pseudo_dice[0]
    assert first is not None
    assert last is not None
    assert last > max(0.5, first)
