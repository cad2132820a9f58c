"""One epoch: what happens to a batch between the loader and the optimiser."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from interactivepet.core.plan import LossName
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.feed import Batch
from interactivepet.training.lessons import TrainablePlan
from interactivepet.training.loss import deep_supervision_loss
from interactivepet.training.meter import WaitMeter
from interactivepet.training.optimise import make_average, make_optimizer

__all__ = ["Engine", "Prepare", "ValidationScore", "make_engine", "share_engine", "train_epoch", "validate_epoch"]

logger = logging.getLogger(__name__)

GRADIENT_NORM = 12.0
"""Larger gradients are scaled down to this norm (nnU-Net)."""

Prepare = Callable[[Batch], tuple[Tensor, Tensor]]
"""Makes `data` (N, channels, I, J, K) and `target` (N, I, J, K) for a step from a batch whose own are on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A network with what moves it.

    Attributes:
        network: on `device`, in training mode.
        forward: the network, compiled if asked for.
        average: moving average of the network's weights, if planned.
        optimizer: of the network's weights.
        scaler: of gradients; active with float16 only.
        device: where it runs.
        precision: of autocast; None computes in float32.
        loss: name of the loss.
        ranks: the processes that share each batch.
    """

    network: nn.Module
    forward: Callable[[Tensor], Any]
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: torch.dtype | None
    loss: LossName
    ranks: Ranks = ALONE

    @property
    def result(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average.module

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Give the context of mixed precision."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not None)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the steps to come."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Result of `validate_epoch`.

    Attributes:
        loss: mean over the batches.
        pseudo_dice: per label over all patches together; None where the label never occurs.
    """

    loss: float
    pseudo_dice: tuple[float | None, ...]


def make_engine(
    network: nn.Module, plan: TrainablePlan, *, device: torch.device, compile_network: bool = False
) -> Engine:
    """Put a network on its device, with optimiser and the fastest safe precision there."""
    from interactivepet.networks.precision import choose_precision

    network = network.to(device)
    engine = Engine(
        network,
        network,
        make_average(network, plan.training),
        make_optimizer(network, plan.training),
        torch.amp.GradScaler(device.type, enabled=choose_precision(device) is torch.float16),
        device,
        choose_precision(device),
        plan.training.loss,
    )
    return _compile(engine, plan) if compile_network else engine


def _compile(engine: Engine, plan: TrainablePlan) -> Engine:
    """Compile the network, or leave it as it is where torch cannot: without a compiler, or on a new platform."""

    def run(data: Tensor) -> Any:
        outputs = engine.network(data)
        # the coarsest output has no gradient without compilation either, and the optimiser's state must be the same
        return [*outputs[:-1], outputs[-1].detach()] if len(outputs) > 1 else outputs

    compiled: Callable[[Tensor], Any] = torch.compile(run)
    shape = (plan.training.batch_size, plan.network.input_channels, *plan.patch_size)
    try:
        with engine.autocast():
            outputs = compiled(torch.zeros(shape, device=engine.device))
        outputs[0].sum().backward()
    except (RuntimeError, OSError, ImportError) as error:
        logger.warning("the network is not compiled and runs as it is: %s", str(error).partition("\n")[0])
        return engine
    finally:
        engine.network.zero_grad(set_to_none=True)
    return replace(engine, forward=compiled)


def share_engine(engine: Engine, plan: TrainablePlan, *, ranks: Ranks) -> Engine:
    """Train with other processes, whose gradients are averaged with this one's."""
    if ranks.size > 1:
        _freeze_coarsest(engine, torch.zeros((1, plan.network.input_channels, *plan.patch_size), device=engine.device))
    return replace(engine, forward=ranks.share(engine.network, engine.forward), ranks=ranks)


def _freeze_coarsest(engine: Engine, data: Tensor) -> None:
    """Ask for no gradient of weights behind the coarsest output alone: without part in the loss, they never get one."""
    outputs = engine.network(data)
    if len(outputs) > 1:
        weights = list(engine.network.parameters())
        total = torch.stack([output.sum() for output in outputs[:-1]]).sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.requires_grad_(gradient is not None)


def train_epoch(
    engine: Engine,
    batches: Iterator[Batch],
    *,
    n_iterations: int,
    prepare: Prepare | None = None,
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
        loss = _train_step(engine, batch, prepare=prepare)
        meter.mark()
        yield loss


def _train_step(engine: Engine, batch: Batch, *, prepare: Prepare | None) -> Tensor:
    data, target = _prepare(batch, engine.device, prepare=prepare)
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
    engine: Engine, batches: Iterator[Batch], *, n_iterations: int, prepare: Prepare | None = None
) -> ValidationScore:
    """Score validation patches with running weights; the network has no layer that training mode would change.

    Raises:
        FloatingPointError: the loss is not finite: the last steps broke the weights, or an image is broken.
    """
    losses, counts = [], []
    with torch.inference_mode():
        for _ in range(n_iterations):
            data, target = _prepare(next(batches), engine.device, prepare=prepare)
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


def _prepare(batch: Batch, device: torch.device, *, prepare: Prepare | None) -> tuple[Tensor, Tensor]:
    """Send a batch to the device, all but what the host reads there, and change it."""
    sent = {name: torch.as_tensor(batch[name]).to(device, non_blocking=True) for name in ("data", "target")}
    return (sent["data"], sent["target"]) if prepare is None else prepare({**batch, **sent})
