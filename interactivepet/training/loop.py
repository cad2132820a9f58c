"""One epoch: what happens to a batch between the loader and the optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interactivepet.training.engine import Batch, BatchTransform, Engine
from interactivepet.training.loss import deep_supervision_loss
from interactivepet.training.timing import WaitMeter

__all__ = ["ValidationScore", "train_epoch", "validate_epoch"]

GRADIENT_NORM = 12.0
"""Larger gradients are scaled down to this norm (nnU-Net)."""


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Result of `validate_epoch`.

    Attributes:
        loss: mean over the batches.
        pseudo_dice: per label over all patches together; None where the label never occurs.
    """

    loss: float
    pseudo_dice: tuple[float | None, ...]


def train_epoch(
    engine: Engine,
    batches: Iterator[Batch],
    *,
    n_iterations: int,
    transform: BatchTransform | None = None,
    meter: WaitMeter | None = None,
) -> Iterator[Tensor]:
    """Train on `n_iterations` batches and give each one's loss, a scalar on the device.

    Reading the loss waits for the device; a caller that wants it busy reads several at a time.
    """
    meter = meter or WaitMeter(engine.device)
    engine.network.train()
    for _ in range(n_iterations):
        batch = next(batches)
        meter.mark()
        loss = _train_step(engine, batch, transform=transform)
        meter.mark()
        yield loss


def _train_step(engine: Engine, batch: Batch, *, transform: BatchTransform | None) -> Tensor:
    data, target = _send(batch, engine.device, transform=transform)
    engine.optimizer.zero_grad(set_to_none=True)
    with engine.autocast():
        outputs = engine.forward(data)
    loss = deep_supervision_loss(outputs, target, name=engine.loss, n_ranks=engine.ranks.size)
    engine.scaler.scale(loss).backward()
    engine.scaler.unscale_(engine.optimizer)
    nn.utils.clip_grad_norm_(engine.network.parameters(), GRADIENT_NORM)
    engine.scaler.step(engine.optimizer)
    engine.scaler.update()
    if engine.average is not None:
        engine.average.update_parameters(engine.network)
    return loss.detach()


def validate_epoch(
    engine: Engine, batches: Iterator[Batch], *, n_iterations: int, transform: BatchTransform | None = None
) -> ValidationScore:
    """Score validation patches with running weights; the network has no layer that training mode would change.

    Raises:
        FloatingPointError: the loss is not finite: the last steps broke the weights, or an image is broken.
    """
    losses, counts = [], []
    with torch.inference_mode():
        for _ in range(n_iterations):
            data, target = _send(next(batches), engine.device, transform=transform)
            with engine.autocast():
                outputs = engine.result(data)
            losses.append(deep_supervision_loss(outputs, target, name=engine.loss))
            counts.append(_count(outputs[0], target))
        loss = float(torch.stack(losses).mean())
        totals = torch.stack(counts).sum(0).tolist()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the validation loss is {loss}")
    return ValidationScore(loss, tuple(2 * common / both if both else None for common, both in totals))


def _count(logits: Tensor, target: Tensor) -> Tensor:
    """Count per label (L, 2) the voxels common to output and target, and the sum of both sizes."""
    guess = logits.argmax(1)
    counts = []
    for label in range(1, logits.shape[1]):
        found, true = guess == label, target == label
        counts.append(torch.stack(((found & true).sum(), found.sum() + true.sum())))
    return torch.stack(counts)


def _send(batch: Batch, device: torch.device, *, transform: BatchTransform | None) -> tuple[Tensor, Tensor]:
    """Send data and target to the device, where the transform changes them; the host reads the rest of the batch."""
    sent = {name: torch.as_tensor(batch[name]).to(device, non_blocking=True) for name in ("data", "target")}
    return (sent["data"], sent["target"]) if transform is None else transform({**batch, **sent})
