from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interactivepet.core.promptable import PromptEncoding
from interactivepet.training.promptable import prompt_user as module
from interactivepet.training.promptable.prompt_user import PromptUser

EDGE = 24


def never(inputs: Tensor) -> Any:
    raise AssertionError("no prediction was asked for")


def make_user(
    network: Callable[[Tensor], Any] = never, *, seed: int = 0, only_first_click: bool = False, decay: float = 0.5
) -> PromptUser:
    return PromptUser(
        network,
        PromptEncoding(decay=decay),
        precision=None,
        rng=np.random.default_rng(seed),
        only_first_click=only_first_click,
    )


def make_batch(n: int = 1) -> tuple[Tensor, Tensor]:
    """A cube of 8 voxels a side around the centre."""
    target = torch.zeros((n, EDGE, EDGE, EDGE), dtype=torch.uint8)
    target[:, 8:17, 8:17, 8:17] = 1
    data = torch.zeros((n, 3, EDGE, EDGE, EDGE))
    data[:, 0] = target
    data[:, 2] = 1.0
    return data, target


def answer(mask: Tensor) -> Callable[[Tensor], list[Tensor]]:
    """A network that always predicts one mask, with deep supervision."""

    def network(inputs: Tensor) -> list[Tensor]:
        logits = torch.stack((1 - mask.float(), mask.float()))[None].expand(len(inputs), -1, -1, -1, -1)
        return [logits, logits[..., ::2, ::2, ::2]]

    return network


def points_only(rng: np.random.Generator) -> Any:
    while True:
        yield "point"


def test_validation_gets_one_click_in_the_centre() -> None:
    data, target = make_batch(2)
    inputs, same = make_user(only_first_click=True)({"data": data, "target": target})
    assert inputs.shape == (2, 8, EDGE, EDGE, EDGE)
    assert torch.equal(same, target)
    assert torch.equal(inputs[:, :1], data[:, :1])
    click = inputs[:, 1 + 3]
    assert (click[:, 12, 12, 12] == 1).all()
    assert (click.flatten(1).gt(0).sum(1) == 257).all()
    others = [channel for channel in range(1, 8) if channel != 4]
    assert not inputs[:, others].any()


@pytest.mark.parametrize(("spilled", "channel"), [(False, 3), (True, 4)])
def test_what_was_missed_is_clicked_on_positively_and_what_was_spilled_negatively(
    spilled: bool, channel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SHARES", (0.0, 1.0))
    monkeypatch.setattr(module, "list_prompts", points_only)
    data, target = make_batch()
    mask = target[0].clone()
    if spilled:
        mask[1:6, 1:6, 1:6] = 1
    else:
        mask[8:13, 8:13, 8:13] = 0
    inputs, _ = make_user(answer(mask))({"data": data, "target": target})
    assert torch.equal(inputs[0, 1], mask.float()), "the prediction is the previous mask"
    newest = (inputs[0, 1 + channel] == 1).nonzero().tolist()
    wrong = mask != target[0]
    assert len(newest) == 1
    assert bool(wrong[tuple(newest[0])])
    assert inputs[0, 1 + 3, 12, 12, 12] == pytest.approx(0.5) or not spilled, "the first click has faded"


def test_a_perfect_mask_gets_no_further_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_SHARES", (0.0, 0.0, 1.0))
    monkeypatch.setattr(module, "list_prompts", points_only)
    data, target = make_batch()
    inputs, _ = make_user(answer(target[0]))({"data": data, "target": target})
    assert inputs[0, 4].max() == pytest.approx(0.25)
    assert not inputs[0, 5].any()


def test_an_initial_mask_is_corrected_or_refined_without_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_SHARES", (1.0,))
    data, target = make_batch(40)
    data[:, 1] = target
    data[:, 1, 1:6, 1:6, 1:6] = 1
    inputs, _ = make_user()({"data": data, "target": target})
    assert torch.equal(inputs[:, 1], data[:, 1])
    prompted = inputs[:, 2:].flatten(1).any(1)
    assert 0.5 < prompted.float().mean() < 0.9
    assert not inputs[:, [2, 4, 6]].any(), "nothing was missed, so no prompt is positive"


def test_all_kinds_of_prompts_reach_their_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_SHARES", (1.0,))
    data, target = make_batch(40)
    inputs, _ = make_user(seed=1)({"data": data, "target": target})
    used = inputs[:, 2:].flatten(2).any(2)
    assert used.sum(1).tolist() == [1] * 40
    assert used.any(0).tolist() == [True, False, True, False, True, False]


def test_an_empty_target_is_left_alone() -> None:
    data, target = make_batch(2)
    inputs, _ = make_user(only_first_click=True)({"data": data, "target": torch.zeros_like(target)})
    assert not inputs[:, 1:].any()
