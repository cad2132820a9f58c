"""A trained network that training may start from, and how it is read from a file of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from interactivepet.core.plan import Plan
from interactivepet.errors import TrainingError
from interactivepet.training.checkpoint import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PretrainedNetwork", "ReadPretrained", "read_weights_file"]

UNKNOWN_LICENCE = "unknown: only the weights were given, without a card or a model"


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedNetwork:
    """A trained network to start from.

    Attributes:
        name: of the model or file, for messages and the card.
        weights: its `state_dict`.
        licence: text under which they may be used.
        plan: that it was trained by; None where only the weights are there.
    """

    name: str
    weights: Mapping[str, Tensor]
    licence: str = UNKNOWN_LICENCE
    plan: Plan | None = None


ReadPretrained = Callable[[Path], PretrainedNetwork]
"""Reads what `--pretrained` names; it is sent to workers, and so is what it knows."""


def read_weights_file(path: Path) -> PretrainedNetwork:
    """Read the `weights.pt` of a fold, of which nothing else is known.

    Raises:
        TrainingError: the file is missing or damaged, or holds something else.
    """
    import torch

    if not path.is_file():
        raise TrainingError(f"--pretrained {path} is not there; name a model, or the weights.pt of a trained fold")
    if not is_zipfile(path):
        raise TrainingError(
            f"--pretrained {path} is no file of weights; name a model, or the weights.pt of a trained fold"
        )
    found = {name: value for name, value in read_tensors(path).items() if isinstance(value, torch.Tensor)}
    return PretrainedNetwork(path.name, found)
