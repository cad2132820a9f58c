"""Dice and cross-entropy with deep supervision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["deep_supervision_loss", "dice_cross_entropy", "soft_dice"]

SMOOTH = 1e-5
"""Keeps the Dice of an empty label in an empty patch at one instead of 0 / 0."""


def soft_dice(probabilities: Tensor, target: Tensor) -> Tensor:
    """Soft Dice of each label, the batch taken as one volume.

    Over the batch rather than a sample (nnU-Net's batch Dice): a patch without lesion alone would punish one
    false voxel as hard as a missed tumour.

    Args:
        probabilities: (N, 1 + L, I, J, K), background first.
        target: (N, I, J, K) int64.

    Returns:
        (L,) in [0, 1].
    """
    truth = functional.one_hot(target, probabilities.shape[1]).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    guess = probabilities[:, 1:]
    axes = (0, 2, 3, 4)
    overlap = (guess * truth).sum(axes)
    total = guess.sum(axes) + truth.sum(axes)
    return (2 * overlap + SMOOTH) / (total + SMOOTH)


def dice_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice, in float32 whatever the logits are.

    Args:
        logits: (N, 1 + L, I, J, K).
        target: (N, I, J, K) int64.
    """
    logits = logits.float()
    dice = soft_dice(logits.softmax(1), target).mean()
    return functional.cross_entropy(logits, target) + 1.0 - dice


def deep_supervision_loss(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Weigh the losses of all resolutions: each coarser one counts half, the coarsest nothing (nnU-Net).

    Args:
        outputs: logits, finest first.
        target: (N, I, J, K) int64 at the finest resolution; coarser targets take the nearest voxel.
    """
    weights = [0.5**level for level in range(len(outputs))]
    if len(weights) > 1:
        weights[-1] = 0.0
    loss = torch.zeros((), device=target.device)
    for weight, logits in zip(weights, outputs, strict=True):
        if weight:
            coarse = functional.interpolate(target[:, None].float(), size=logits.shape[2:], mode="nearest-exact")
            loss = loss + weight * dice_cross_entropy(logits, coarse[:, 0].long())
    return loss / sum(weights)
