"""Make torch repeat itself to the last bit, or choose its fastest algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["choose_algorithms", "seed_torch"]


@contextmanager
def choose_algorithms(*, deterministic: bool) -> Iterator[None]:
    """Within the block, use deterministic algorithms only, or let cuDNN try which are fastest.

    Raises:
        RuntimeError: later, by torch, when a network needs an operation that has no deterministic form.
    """
    if deterministic:
        # read when CUDA's linear algebra starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def seed_torch(*numbers: int) -> None:
    """Seed torch's global generators, which weights and dropout are drawn from."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
