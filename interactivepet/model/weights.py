"""A fold's weights as `safetensors`: numbers and names only, which cannot run a program when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interactivepet.core.plan import Plan, TransformerPlan
from interactivepet.errors import ModelError
from interactivepet.model.description import PromptableRecord, WeightPrecision
from interactivepet.model.limits import count_weights
from interactivepet.networks.build import build_empty

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["pack_weights", "unpack_weights"]

StoredNetwork = Plan | PromptableRecord
"""What says how the network of some weights is built."""

_FLOAT16_BYTES = 2
_HEADER_BYTES = 8
"""Length of the header, which begins with a brace."""


def pack_weights(
    plan: StoredNetwork, weights: Mapping[str, Tensor], *, precision: WeightPrecision = "float32"
) -> bytes:
    """Give the content of a `.safetensors` file.

    Tensors that a network knows under several names are stored once.

    Args:
        plan: of the network.
        weights: its `state_dict`.
        precision: of the values in the file.

    Raises:
        ModelError: a weight is too large for the precision.
    """
    from safetensors.torch import save

    network = build_empty(plan.network)
    network.load_state_dict(dict(weights), assign=True)
    own = network.state_dict()
    first = [names[0] for names in _group_names(network)]
    return save({name: _store(name, own[name], precision=precision) for name in first})


def _store(name: str, tensor: Tensor, *, precision: WeightPrecision) -> Tensor:
    import torch

    stored = tensor.detach().contiguous().clone()
    if precision == "float32" or not stored.is_floating_point():
        return stored
    rounded = stored.to(torch.float16)
    if not bool(torch.isfinite(rounded).all()):
        raise ModelError(f"{name} has values beyond the range of float16; store the weights as float32")
    return rounded


def unpack_weights(plan: StoredNetwork, content: bytes, *, source: str) -> dict[str, Tensor]:
    """Read a network's `state_dict` in float32 and check that it is the plan's.

    A file may hold float16 in the place of float32, in all of its tensors.

    Args:
        plan: of the network.
        content: of a `.safetensors` file.
        source: the file, for error messages.

    Raises:
        ModelError: it is no such file, has other tensors than the network, or values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if content[:1] == b"\x80" and content[_HEADER_BYTES : _HEADER_BYTES + 1] != b"{":
        raise ModelError(f"{source} is a pickle, which can run any program when it is loaded; expected safetensors")
    try:
        found = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{source} holds no safetensors ({error}); get the model again") from error
    _refuse_larger(plan, content, n_tensors=len(found), source=source)
    # a hostile plan could ask any amount of memory
    network = build_empty(plan.network)
    groups = {names[0]: names for names in _group_names(network)}
    expected = network.state_dict()
    _refuse_names(groups.keys() - found.keys(), found.keys() - groups.keys(), source=source)
    found = _widen(found)
    for name, tensor in found.items():
        _check_tensor(name, tensor, expected[name], source=source)
    # memory as torch lays it out, so that networks compute as with a task's own weights
    own = {first: tensor.clone() for first, tensor in found.items()}
    return {name: own[first] for first, names in groups.items() for name in names}


def _widen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the tensors of a file of float16 to float32; one with several types is left for `_check_tensor`."""
    import torch

    if any(tensor.is_floating_point() and tensor.dtype != torch.float16 for tensor in tensors.values()):
        return tensors
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _group_names(network: nn.Module) -> list[list[str]]:
    """Give the names of every tensor, those of one and the same tensor together."""
    groups: dict[int, list[str]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return list(groups.values())


def _refuse_larger(plan: StoredNetwork, content: bytes, *, n_tensors: int, source: str) -> None:
    """Refuse a plan of a network that has more weights than the file, before it is built."""
    network = plan.network
    if isinstance(network, TransformerPlan):
        # a square matrix of the tokens' width, and a convolution of the finest features, are in the file
        is_larger = 4 * max(network.hidden_size, network.feature_size) ** 2 > len(content)
    else:
        n_convolutions = sum(network.n_conv_per_stage) + sum(network.n_conv_per_stage_decoder)
        is_larger = n_convolutions > n_tensors or _FLOAT16_BYTES * count_weights(network) > len(content)
    if is_larger:
        raise ModelError(f"{source}: the plan has a network of more weights than the file; get the model again")


def _refuse_names(missing: set[str], foreign: set[str], *, source: str) -> None:
    if missing or foreign:
        word, names = ("lacks", missing) if missing else ("has the unknown", foreign)
        raise ModelError(f"{source} {word} {min(names)}: it holds another network than the plan's; get the model again")


def _check_tensor(name: str, tensor: Tensor, expected: Tensor, *, source: str) -> None:
    import torch

    if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        raise ModelError(
            f"{source}: {name} has shape {tuple(tensor.shape)} of {tensor.dtype}, expected "
            f"{tuple(expected.shape)} of {expected.dtype}; get the model again"
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{source}: {name} has values that are not finite; get the model again")
