"""Optimiser, learning rate and moving average, as the plan wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from interactivepet.core.plan import TrainingPlan

__all__ = ["find_rate", "make_average", "make_optimizer"]

DECAY_EXPONENT = 0.9
"""Of the polynomial learning rate (nnU-Net, after DeepLab)."""


def make_optimizer(network: nn.Module, training: TrainingPlan) -> torch.optim.Optimizer:
    """Make the planned optimiser, which updates all weights in one call."""
    if training.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=True,
        fused=True,
    )


def find_rate(training: TrainingPlan, progress: float) -> float:
    """Give the learning rate after a share `progress` in [0, 1] of the run: it rises if planned, then falls to 0."""
    if progress < training.warm_up:
        return training.learning_rate * progress / training.warm_up
    rest = (1.0 - min(1.0, progress)) / (1.0 - training.warm_up)
    if training.schedule == "cosine":
        return training.learning_rate * 0.5 * (1.0 - math.cos(math.pi * rest))
    return training.learning_rate * float(rest**DECAY_EXPONENT)


def make_average(network: nn.Module, training: TrainingPlan) -> AveragedModel | None:
    """Make the moving average of the weights, if one is planned.

    Its decay begins small and grows to the planned one, or the random weights of the start would linger.
    """
    if training.ema is None:
        return None
    highest = training.ema

    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], n_averaged: Tensor | int) -> None:
        decay = min(highest, (1.0 + int(n_averaged)) / (10.0 + int(n_averaged)))
        for mean, value in zip(average, current, strict=True):
            mean.lerp_(value, 1.0 - decay)

    return AveragedModel(network, multi_avg_fn=update)
