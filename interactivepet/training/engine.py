"""What runs on the device: a network with its optimiser, and what changes a batch there before the network sees it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from interactivepet.core.plan import LossName
from interactivepet.core.promptable import TrainablePlan
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.optimise import make_average, make_optimizer

__all__ = ["Batch", "BatchTransform", "Engine", "make_engine", "share_engine"]

logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]
"""`data` (N, channels, I, J, K) float32 and `target` (N, I, J, K) integer, and what the batch transform needs."""

BatchTransform = Callable[[Batch], tuple[Tensor, Tensor]]
"""Makes `data` (N, channels, I, J, K) and `target` (N, I, J, K) of a step from a batch whose own are on the device."""


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
