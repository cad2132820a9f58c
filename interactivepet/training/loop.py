"""One epoch: what happens to a batch between the loader and the optimiser."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from interactivepet.core.plan import Plan
from interactivepet.training.loss import deep_supervision_loss

__all__ = ["Engine", "ValidationScore", "make_engine", "polynomial_rate", "train_epoch", "validate_epoch"]

GRADIENT_NORM = 12.0
"""Larger gradients are scaled down to this norm (nnU-Net)."""

DECAY_EXPONENT = 0.9
"""Of the polynomial learning rate (nnU-Net, after DeepLab)."""

Batch = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A network with what moves it.

    Attributes:
        network: on `device`, in training mode.
        optimizer: SGD with Nesterov momentum.
        scaler: of gradients; active with float16 only.
        device: where it runs.
        precision: of autocast; None computes in float32.
    """

    network: nn.Module
    optimizer: torch.optim.SGD
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: torch.dtype | None

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Give the context of mixed precision."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not None)


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Result of `validate_epoch`.

    Attributes:
        loss: mean over the batches.
        pseudo_dice: per label over all patches together; None where the label never occurs.
    """

    loss: float
    pseudo_dice: tuple[float | None, ...]


def make_engine(network: nn.Module, plan: Plan, *, device: torch.device) -> Engine:
    """Put a network on its device, with optimiser and the fastest safe precision there."""
    from interactivepet.networks.precision import choose_precision

    network = network.to(device)
    training = plan.training
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=True,
    )
    precision = choose_precision(device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    return Engine(network, optimizer, scaler, device, precision)


def polynomial_rate(initial: float, step: int, *, n_steps: int) -> float:
    """Give the learning rate of a step, counted from 0: it falls to almost 0 at the last one."""
    return initial * float((1.0 - step / n_steps) ** DECAY_EXPONENT)


def train_epoch(engine: Engine, batches: Iterator[Batch], *, n_iterations: int) -> Iterator[float]:
    """Train on `n_iterations` batches and give each one's loss as soon as it is known.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    engine.network.train()
    for _ in range(n_iterations):
        loss = _train_step(engine, next(batches))
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        yield loss


def _train_step(engine: Engine, batch: Batch) -> float:
    data, target = _to_device(batch, engine.device)
    engine.optimizer.zero_grad(set_to_none=True)
    with engine.autocast():
        outputs = engine.network(data)
    loss = deep_supervision_loss(outputs, target)
    engine.scaler.scale(loss).backward()
    engine.scaler.unscale_(engine.optimizer)
    nn.utils.clip_grad_norm_(engine.network.parameters(), GRADIENT_NORM)
    engine.scaler.step(engine.optimizer)
    engine.scaler.update()
    return float(loss.detach())


def validate_epoch(engine: Engine, batches: Iterator[Batch], *, n_iterations: int) -> ValidationScore:
    """Score validation patches with running weights; the network has no layer that training mode would change.

    Raises:
        FloatingPointError: the loss is not finite: the last steps broke the weights, or an image is broken.
    """
    losses = []
    overlap, total = np.zeros(0), np.zeros(0)
    with torch.inference_mode():
        for _ in range(n_iterations):
            data, target = _to_device(next(batches), engine.device)
            with engine.autocast():
                outputs = engine.network(data)
            losses.append(float(deep_supervision_loss(outputs, target)))
            hit, size = _count(outputs[0], target)
            overlap, total = (hit, size) if overlap.size == 0 else (overlap + hit, total + size)
    loss = float(np.mean(losses))
    if not math.isfinite(loss):
        raise FloatingPointError(f"the validation loss is {loss}")
    dice = tuple(float(2 * o / t) if t else None for o, t in zip(overlap, total, strict=True))
    return ValidationScore(loss, dice)


def _count(logits: Tensor, target: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Count per label the voxels common to output and target, and the sum of both sizes."""
    n_classes = logits.shape[1]
    guess = logits.argmax(1)
    common = torch.bincount(target[guess == target], minlength=n_classes)
    both = torch.bincount(target.flatten(), minlength=n_classes) + torch.bincount(guess.flatten(), minlength=n_classes)
    return common[1:].cpu().numpy().astype(np.float64), both[1:].cpu().numpy().astype(np.float64)


def _to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    data = torch.as_tensor(batch["data"]).to(device, non_blocking=True)
    target = torch.as_tensor(batch["target"]).to(device, non_blocking=True).long()
    return data, target
