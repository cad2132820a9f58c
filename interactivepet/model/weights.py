"""A fold's weights as `safetensors`: numbers and names only, which cannot run a program when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interactivepet.core.plan import Plan, TransformerPlan
from interactivepet.errors import ModelError
from interactivepet.networks.build import build_network

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["pack_weights", "unpack_weights"]

_HEADER_BYTES = 8
"""Length of the header, which begins with a brace."""


def pack_weights(plan: Plan, weights: Mapping[str, Tensor]) -> bytes:
    """Give the content of a `.safetensors` file.

    Tensors that a network knows under several names are stored once.

    Args:
        plan: of the network.
        weights: its `state_dict`.
    """
    from safetensors.torch import save

    network = build_network(plan.network, deep_supervision=False)
    network.load_state_dict(dict(weights))
    own = network.state_dict()
    return save({names[0]: own[names[0]].detach().contiguous().clone() for names in _group_names(network)})


def unpack_weights(plan: Plan, content: bytes, *, source: str) -> dict[str, Tensor]:
    """Read a network's `state_dict` and check that it is the plan's.

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
    network = _build_empty(plan)
    groups = {names[0]: names for names in _group_names(network)}
    expected = network.state_dict()
    _refuse_names(groups.keys() - found.keys(), found.keys() - groups.keys(), source=source)
    for name, tensor in found.items():
        _check_tensor(name, tensor, expected[name], source=source)
    return {name: found[first] for first, names in groups.items() for name in names}


def _group_names(network: nn.Module) -> list[list[str]]:
    """Give the names of every tensor, those of one and the same tensor together."""
    groups: dict[int, list[str]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return list(groups.values())


def _build_empty(plan: Plan) -> nn.Module:
    """Build a network without memory for its weights, which a hostile plan could ask any amount of."""
    import torch

    if isinstance(plan.network, TransformerPlan):
        # MONAI computes with values while it builds
        return build_network(plan.network, deep_supervision=False)
    with torch.device("meta"):
        return build_network(plan.network, deep_supervision=False)


def _refuse_larger(plan: Plan, content: bytes, *, n_tensors: int, source: str) -> None:
    """Refuse a plan of a network that has more weights than the file, before it is built."""
    network = plan.network
    if isinstance(network, TransformerPlan):
        # a square matrix of the tokens' width, and a convolution of the finest features, are in the file
        is_larger = 4 * max(network.hidden_size, network.feature_size) ** 2 > len(content)
    else:
        is_larger = sum(network.n_conv_per_stage) + sum(network.n_conv_per_stage_decoder) > n_tensors
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
