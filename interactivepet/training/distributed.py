"""One fold on several devices: what the processes that `torchrun` starts, one a device, tell one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from interactivepet.errors import SettingsError, TrainingError
from interactivepet.networks.precision import choose_device

__all__ = ["ALONE", "Ranks", "open_ranks", "sum_over_ranks", "use_device"]

PATIENCE = timedelta(days=1)
"""How long a process waits for another: between folds, all wait for the first one's out-of-fold predictions.

A process that ends is noticed at once, however long the others would wait for one that lives.
"""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train a fold together; alone without `torchrun`, when nothing here costs anything.

    Each takes its share of every batch; the first one, besides, validates and writes.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        local_rank: of this process among those of its machine.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def choose_device(self, name: str) -> str:
        """Name this process's own device; graphics cards are given out in their order.

        Raises:
            SettingsError: there are too few, or `name` wants all processes on one.
        """
        if self.size == 1:
            return name
        device = choose_device(name)
        if device.type == "cpu":
            return "cpu"
        if device.type != "cuda" or device.index is not None:
            raise SettingsError(f"--device {name}: each process of torchrun takes a device of its own; use cuda or cpu")
        if self.local_size > torch.cuda.device_count():
            raise SettingsError(
                f"torchrun starts {self.local_size} processes a machine, but {torch.cuda.device_count()} CUDA devices "
                "are visible; start as many as there are devices, with --nproc-per-node"
            )
        return f"cuda:{self.local_rank}"

    def agree(self, *values: float) -> list[float]:
        """Give the largest that any process has of each value; all must ask at the same point."""
        if self.size == 1:
            return list(values)
        # on the CPU, so that the graphics card's work is not waited for
        largest = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        agreed: list[float] = largest.tolist()
        return agreed

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.agree(0.0)

    def average(self, value: Tensor) -> Tensor:
        """Average a tensor over the processes."""
        return value if self.size == 1 else sum_over_ranks(value, self.size) / self.size

    def broadcast(self, value: Value | None) -> Value:
        """Give the first process's value to all, which is not None; the others' values do not matter.

        Raises:
            ValueError: the first process has none.
        """
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        (found,) = values
        if found is None:
            raise ValueError("the first process has nothing to tell the others")
        return found

    def share(self, network: nn.Module, forward: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        """Give a forward pass after which gradients are averaged over the processes.

        All begin with the first one's weights.

        Args:
            network: on this process's device; every weight that requires a gradient must get one in each step.
            forward: the network, compiled or as it is.
        """
        if self.size == 1:
            return forward
        return DistributedDataParallel(_Forward(network, forward))


ALONE = Ranks()
"""A process that shares its batches with no other."""


class _Forward(nn.Module):
    """A module with a network's weights that runs another form of it."""

    def __init__(self, network: nn.Module, forward: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network = network
        # in a tuple, or the network would be here twice
        self._run = (forward,)

    def forward(self, data: Tensor) -> Any:
        (run,) = self._run
        return run(data)


def sum_over_ranks(value: Tensor, n_ranks: int) -> Tensor:
    """Sum a tensor over the processes, with a gradient.

    A process's gradient counts `n_ranks` times, since gradients are averaged afterwards, as if each process had
    computed the whole loss by itself. Nothing is sent on the way back.
    """
    if n_ranks == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total + n_ranks * (value - value.detach())


def _is_lost(error: RuntimeError) -> bool:
    """Whether an exception says that another process is gone; gloo says so in the text of a plain RuntimeError."""
    return isinstance(error, dist.DistBackendError) or "gloo" in str(error).lower()


def use_device(name: str) -> torch.device:
    """Choose a device, and make a certain graphics card the one that streams, events and memory are meant for."""
    device = choose_device(name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


@contextmanager
def open_ranks(device: str) -> Iterator[Ranks]:
    """Join the other processes, if `torchrun` started this one with others; NCCL joins graphics cards, gloo the CPUs.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        SettingsError: `Ranks.choose_device` does.
        TrainingError: within the block, when another process has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    ranks = Ranks(*(int(os.environ[name]) for name in names))
    own = use_device(ranks.choose_device(device))
    dist.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ranks
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise TrainingError(
            f"process {ranks.rank} of {ranks.size} ends because another one has; its own message says why. "
            "The same command goes on after the last whole epoch"
        ) from error
    # not after a failure: the others may be gone, and the end of the process closes what is open
    dist.destroy_process_group()
