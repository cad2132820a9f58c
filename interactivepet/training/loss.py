"""Dice with cross-entropy, focal or binary cross-entropy, under deep supervision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from interactivepet.core.plan import LossName
from interactivepet.training.distributed import sum_over_ranks

__all__ = ["combined_loss", "deep_supervision_loss", "soft_dice"]

SMOOTH = 1e-5
"""Keeps the Dice of an empty label in an empty patch at one instead of 0 / 0."""

FOCUS = 2.0
"""Exponent of the focal loss (Lin 2017, arXiv 1708.02002)."""


def soft_dice(probabilities: Tensor, truth: Tensor, *, n_ranks: int = 1) -> Tensor:
    """Soft Dice of each label, the batch taken as one volume.

    Over the batch rather than a sample (nnU-Net's batch Dice): a patch without lesion alone would punish one
    false voxel as hard as a missed tumour.

    Args:
        probabilities: (N, 1 + L, I, J, K), background first.
        truth: (N, 1 + L, I, J, K), 1 where the voxel is of the class, else 0.
        n_ranks: processes that share the batch, each with its part of it.

    Returns:
        (L,) in [0, 1].
    """
    axes = (0, 2, 3, 4)
    overlap = (probabilities * truth).sum(axes)[1:]
    total = (probabilities.sum(axes) + truth.sum(axes))[1:]
    sums = sum_over_ranks(torch.stack((overlap, total)), n_ranks)
    return (2 * sums[0] + SMOOTH) / (sums[1] + SMOOTH)


def combined_loss(logits: Tensor, target: Tensor, *, name: LossName = "dice_ce", n_ranks: int = 1) -> Tensor:
    """One minus the mean soft Dice plus a mean over voxels, in float32 whatever the logits are.

    Sums of products with the classes' masks take the place of torch's own cross-entropy, which has no
    deterministic form for volumes on a graphics card.

    Args:
        logits: (N, 1 + L, I, J, K).
        target: (N, I, J, K), integers of any kind.
        name: of the mean over voxels: cross-entropy, focal loss, or the classes' binary cross-entropies.
        n_ranks: processes that share the batch; the mean over voxels is that of this one's part.
    """
    classes = torch.arange(logits.shape[1], device=target.device).view(1, -1, 1, 1, 1)
    truth = (target[:, None] == classes).float()
    logits = logits.float()
    logarithms = logits.log_softmax(1)
    probabilities = logarithms.exp()
    if name == "dice_bce":
        voxels = functional.binary_cross_entropy_with_logits(logits, truth)
    else:
        likelihoods = (logarithms * truth).sum(1)
        if name == "dice_focal":
            likelihoods = likelihoods * (1.0 - likelihoods.exp()) ** FOCUS
        voxels = -likelihoods.mean()
    return voxels + 1.0 - soft_dice(probabilities, truth, n_ranks=n_ranks).mean()


def deep_supervision_loss(
    outputs: Sequence[Tensor], target: Tensor, *, name: LossName = "dice_ce", n_ranks: int = 1
) -> Tensor:
    """Weigh the losses of all resolutions: each coarser one counts half, the coarsest nothing (nnU-Net).

    Args:
        outputs: logits, finest first; each edge divides the finest one's.
        target: (N, I, J, K) at the finest resolution; coarser targets take the nearest voxel.
        name: of the loss.
        n_ranks: as of `combined_loss`.
    """
    weights = [0.5**level for level in range(len(outputs))]
    if len(weights) > 1:
        weights[-1] = 0.0
    loss = torch.zeros((), device=target.device)
    for weight, logits in zip(weights, outputs, strict=True):
        if weight:
            loss = loss + weight * combined_loss(logits, _coarsen(target, logits), name=name, n_ranks=n_ranks)
    return loss / sum(weights)


def _coarsen(target: Tensor, logits: Tensor) -> Tensor:
    """Take the voxel at the middle of each of the coarser voxels."""
    i, j, k = (fine // coarse for fine, coarse in zip(target.shape[1:], logits.shape[2:], strict=True))
    return target[:, i // 2 :: i, j // 2 :: j, k // 2 :: k]
