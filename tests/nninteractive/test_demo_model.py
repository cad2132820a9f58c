from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.case import Case
from interactivepet.errors import SegmenterError
from interactivepet.nninteractive.demo_model import train_demo_model


def train(cases: list[Case], folder: Path, losses: list[float] | None = None) -> None:
    train_demo_model(
        cases,
        folder,
        iterations=3,
        rng=np.random.default_rng(5),
        licence="MIT",
        progress=None if losses is None else lambda _, loss: losses.append(loss),
    )


def test_the_same_seed_gives_the_same_weights(make_case: Callable[..., Case], tmp_path: Path) -> None:
    losses: list[float] = []
    train([make_case(0)], tmp_path / "a", losses)
    train([make_case(0)], tmp_path / "b")
    first, second = (
        torch.load(tmp_path / name / "fold_0/checkpoint_final.pth", weights_only=True)["network_weights"]
        for name in "ab"
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(losses) == 3
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_flat_and_tiny_cases_can_be_learned_from(make_case: Callable[..., Case], tmp_path: Path) -> None:
    flat = make_case(1, shape=(20, 24, 1), centres=((9, 9, 0),))
    train([flat], tmp_path / "model")
    assert (tmp_path / "model" / "card.json").is_file()


def test_cases_without_objects_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    unlabelled = replace(make_case(0), label=None)
    with pytest.raises(SegmenterError, match="no case has a labelled object"):
        train([unlabelled, make_case(1, centres=())], tmp_path / "model")
    assert not (tmp_path / "model").exists()
