"""Optimiser, learning rate and moving average, as the plan wants them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from interactivepet.core.plan import TrainingPlan

__all__ = ["find_rate", "make_average", "make_optimizer"]

DECAY_EXPONENT = 0.9
"""Of the polynomial learning rate (nnU-Net, after DeepLab)."""

N_CYCLES = 4
"""Of the cosine with warm restarts (Loshchilov and Hutter 2017); of equal length."""


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
    if training.schedule == "restarts":
        rest = rest * N_CYCLES - math.ceil(rest * N_CYCLES) + 1 if rest else 0.0
    if training.schedule in ("cosine", "restarts"):
        return training.learning_rate * 0.5 * (1.0 - math.cos(math.pi * rest))
    return training.learning_rate * float(rest**DECAY_EXPONENT)


def make_average(network: nn.Module, training: TrainingPlan) -> AveragedModel | None:
    """Make the moving average of the weights, if one is planned."""
    return None if training.ema is None else _MovingAverage(network, highest_decay=training.ema)


class _MovingAverage(AveragedModel):
    """An average whose decay begins small and grows to the highest, or the random weights of the start would linger.

    torch's own update moves its count of steps to the weights' device and back, and so waits for a graphics card in
    every step; here the count stays on the host.
    """

    def __init__(self, network: nn.Module, *, highest_decay: float) -> None:
        super().__init__(network)
        self._highest_decay = highest_decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the weights of `model`; the first time, take them."""
        n = int(self.n_averaged)
        decay = min(self._highest_decay, (1.0 + n) / (10.0 + n)) if n else 0.0
        for mean, value in zip(self.module.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for kept, present in zip(self.module.buffers(), model.buffers(), strict=True):
            kept.copy_(present)
        self.n_averaged += 1
