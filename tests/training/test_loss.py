from __future__ import annotations

import math

import pytest
import torch

from interactivepet.training.loss import combined_loss, deep_supervision_loss, soft_dice


def make_logits(target: torch.Tensor, n_classes: int, *, sure: float = 30.0) -> torch.Tensor:
    return sure * torch.nn.functional.one_hot(target, n_classes).movedim(-1, 1).float()


def one_hot(target: torch.Tensor, n_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(target, n_classes).movedim(-1, 1).float()


def test_soft_dice_of_hand_computed_probabilities() -> None:
    foreground = torch.tensor([[0.9, 0.6], [0.2, 0.0]]).view(1, 1, 2, 2, 1)
    target = torch.tensor([[1, 0], [1, 0]]).view(1, 2, 2, 1)

    dice = soft_dice(torch.cat((1 - foreground, foreground), 1), one_hot(target, 2))

    assert dice.shape == (1,)
    assert float(dice) == pytest.approx(2 * (0.9 + 0.2) / (1.7 + 2), abs=1e-5)


def test_the_batch_counts_as_one_volume() -> None:
    target = torch.zeros(2, 2, 2, 1, dtype=torch.int64)
    target[0, 0, 0, 0] = 1
    foreground = torch.zeros(2, 1, 2, 2, 1)
    foreground[0, 0, 0, 0, 0] = 1.0
    foreground[1, 0, 0, 0, 0] = 0.5
    assert float(soft_dice(torch.cat((1 - foreground, foreground), 1), one_hot(target, 2))) == pytest.approx(
        2 / 2.5, abs=1e-5
    )


def test_each_label_has_its_own_dice_and_the_background_has_none() -> None:
    target = torch.tensor([0, 1, 2, 2]).view(1, 4, 1, 1)
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).T.reshape(
        1, 3, 4, 1, 1
    )
    assert soft_dice(probabilities, one_hot(target, 3)).tolist() == pytest.approx([2 / 3, 2 / 3], abs=1e-5)


def test_an_empty_label_that_stays_empty_is_right() -> None:
    target = torch.zeros(1, 4, 4, 1, dtype=torch.int64)
    empty = torch.zeros(1, 2, 4, 4, 1)
    assert soft_dice(empty, one_hot(target, 2)).tolist() == [1.0]
    assert soft_dice(empty + 0.5, one_hot(target, 2)).tolist() == pytest.approx([0.0], abs=1e-4)


def test_the_loss_is_cross_entropy_plus_lost_dice() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.5]]).T.reshape(1, 2, 2, 1, 1)
    target = torch.tensor([0, 1]).view(1, 2, 1, 1)

    def probability(own: float, other: float) -> float:
        return 1 / (1 + math.exp(other - own))

    first, second = probability(-1.0, 2.0), probability(1.5, 0.5)
    entropy = -(math.log(1 - first) + math.log(second)) / 2
    dice = 2 * second / (first + second + 1)
    assert float(combined_loss(logits, target)) == pytest.approx(entropy + 1 - dice, abs=1e-4)


def test_the_loss_of_a_sure_and_right_network_is_zero() -> None:
    target = torch.randint(3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    assert float(combined_loss(make_logits(target, 3), target)) == pytest.approx(0.0, abs=1e-4)
    assert float(combined_loss(make_logits((target + 1) % 3, 3), target)) > 20


def test_half_precision_logits_give_a_loss_in_float32() -> None:
    target = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    target[0, :2] = 1
    logits = torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = combined_loss(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(combined_loss(logits, target)), abs=0.02)


def test_each_coarser_resolution_counts_half_and_the_coarsest_nothing() -> None:
    target = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    target[0, :4] = 1
    finest, middle = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 2, 4, 4, 4)
    coarsest = torch.full((1, 2, 2, 2, 2), float("nan"))

    loss = deep_supervision_loss([finest, middle, coarsest], target)

    expected = (combined_loss(finest, target) + 0.5 * combined_loss(middle, target[:, 1::2, 1::2, 1::2])) / 1.5
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_single_resolution_counts_fully() -> None:
    target = torch.ones(1, 4, 4, 1, dtype=torch.int64)
    logits = torch.randn(1, 2, 4, 4, 1)
    assert float(deep_supervision_loss([logits], target)) == pytest.approx(float(combined_loss(logits, target)))


def test_coarse_targets_take_labels_that_are_there() -> None:
    target = torch.tensor([0, 0, 3, 3, 3, 3, 0, 0]).view(1, 8, 1, 1)
    outputs = [make_logits(target, 4), make_logits(target[:, ::2], 4), torch.zeros(1, 4, 2, 1, 1)]
    assert float(deep_supervision_loss(outputs, target)) == pytest.approx(0.0, abs=1e-4)


def test_gradients_reach_every_counted_resolution() -> None:
    target = torch.ones(1, 4, 4, 4, dtype=torch.int64)
    outputs = [torch.zeros(1, 2, n, n, n, requires_grad=True) for n in (4, 2, 1)]
    deep_supervision_loss(outputs, target).backward()
    assert [out.grad is not None and bool(out.grad.any()) for out in outputs] == [True, True, False]


def test_the_cross_entropy_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = (
        torch.randn(2, 3, 4, 5, 6, generator=generator),
        torch.randint(3, (2, 4, 5, 6), generator=generator),
    )
    dice = soft_dice(logits.softmax(1), one_hot(target, 3)).mean()
    entropy = torch.nn.functional.cross_entropy(logits, target)
    assert float(combined_loss(logits, target)) == pytest.approx(float(entropy + 1 - dice), abs=1e-5)
    assert torch.equal(combined_loss(logits, target), combined_loss(logits, target.to(torch.uint8)))


def test_the_focal_loss_counts_sure_voxels_less() -> None:
    target = torch.tensor([0, 1]).view(1, 2, 1, 1)
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).T.reshape(1, 2, 2, 1, 1)
    sure = 1 / (1 + math.exp(-2.0))
    expected = -((1 - sure) ** 2 * math.log(sure) + 0.25 * math.log(0.5)) / 2
    dice = soft_dice(logits.softmax(1), one_hot(target, 2)).mean()
    assert float(combined_loss(logits, target, name="dice_focal") - 1 + dice) == pytest.approx(expected, abs=1e-5)


def test_the_binary_loss_judges_each_class_by_itself() -> None:
    target = torch.tensor([0]).view(1, 1, 1, 1)
    logits = torch.tensor([1.5, -0.5]).view(1, 2, 1, 1, 1)
    expected = -(math.log(1 / (1 + math.exp(-1.5))) + math.log(1 - 1 / (1 + math.exp(0.5)))) / 2
    dice = soft_dice(logits.softmax(1), one_hot(target, 2)).mean()
    assert float(combined_loss(logits, target, name="dice_bce") - 1 + dice) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(8, 12, 1), (6, 6, 6)])
def test_coarse_targets_are_the_nearest_voxels(shape: tuple[int, int, int]) -> None:
    target = torch.randint(2, (1, *shape), generator=torch.Generator().manual_seed(0))
    for factor in (1, 2, 3):
        coarse = tuple(n if n == 1 else n // factor for n in shape)
        if any(n % c for n, c in zip(shape, coarse, strict=True)):
            continue
        nearest = torch.nn.functional.interpolate(target[:, None].float(), size=coarse, mode="nearest-exact")
        logits = make_logits(nearest[:, 0].long(), 2)
        outputs = [make_logits(target, 2), logits, torch.zeros(1, 2, 1, 1, 1)]
        assert float(deep_supervision_loss(outputs, target)) == pytest.approx(0.0, abs=1e-4)
