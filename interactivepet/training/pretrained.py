"""Start from the weights of another fold or task."""

from __future__ import annotations

from pathlib import Path
from zipfile import is_zipfile

from torch import Tensor, nn

from interactivepet.errors import TrainingError
from interactivepet.training.checkpoint import read_tensors

__all__ = ["load_pretrained"]


def load_pretrained(network: nn.Module, path: Path) -> tuple[int, int]:
    """Take every tensor of equal name and shape; others, such as heads for other labels, stay random.

    Returns:
        The number of tensors taken, and of all that the network has.

    Raises:
        TrainingError: the file is missing or damaged, or nothing in it fits.
    """
    if not path.is_file():
        raise TrainingError(f"--pretrained {path} is not there; name the weights.pt of a trained fold")
    if not is_zipfile(path):
        raise TrainingError(f"--pretrained {path} is no file of weights; name the weights.pt of a trained fold")
    found = {name: value for name, value in read_tensors(path).items() if isinstance(value, Tensor)}
    own = network.state_dict()
    fitting = {name: found[name] for name, tensor in own.items() if name in found and found[name].shape == tensor.shape}
    if not fitting:
        raise TrainingError(
            f"--pretrained {path}: none of its {len(found)} tensors fits this network, which has {len(own)}; "
            "name the weights.pt of a fold with the same architecture"
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)
