"""Give a new network the weights of another that fit, so that it begins to answer as that one does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interactivepet.core.plan import Plan, UNetPlan
from interactivepet.errors import TrainingError
from interactivepet.training.matching import Interface, Matching, match_interfaces
from interactivepet.training.pretrained import PretrainedNetwork

__all__ = ["Transfer", "transfer_weights"]

DECODER = re.compile(r"(?<!\w)decoder\.(stages|transpconvs|seg_layers)\.(\d+)(?=\.)")
"""Names of a U-Net's decoder, which count its levels from the coarsest."""

HEAD = re.compile(r"(?<!\w)decoder\.seg_layers\.\d+\.(weight|bias)$")
"""Names of the outputs, one per label and level."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a network took over.

    Attributes:
        share: of the values of its weights.
        notes: what differs from the pretrained network, in words.
    """

    share: float
    notes: tuple[str, ...]


def transfer_weights(network: nn.Module, given: PretrainedNetwork, *, plan: Plan) -> Transfer:
    """Take every tensor of equal name and shape, and of a U-Net's first and last convolutions what has an equivalent.

    An image channel that the pretrained network does not have begins with zero weights, and the weights of the others
    are expressed in the plan's scale of intensities: at first the network answers as the pretrained one, if all else
    fits. Where one label becomes several, their probabilities add up to that label's. What does not fit stays random.

    Args:
        network: with random weights; it is changed.
        given: to take from.
        plan: of the network.

    Raises:
        TrainingError: nothing fits.
    """
    own = network.state_dict(keep_vars=True)
    source = _align_levels(given.weights, own)
    first = _find_first(network, own) if isinstance(plan.network, UNetPlan) else frozenset()
    matching = _match(given, source, first, plan=plan)
    found: dict[str, Tensor] = {}
    taken: dict[int, int] = {}
    for name, tensor in own.items():
        fitted = _fit(name, tensor, source.get(name), first=first, matching=matching)
        if fitted is not None:
            found[name], taken[id(tensor)] = fitted
    if not found:
        raise TrainingError(
            f"--pretrained {given.name}: none of its {len(source)} tensors fits this network, which has {len(own)}; "
            "name a model, or the weights.pt of a fold, with the same architecture"
        )
    _shift_biases(found, source, first, matching)
    network.load_state_dict(found, strict=False)
    n_values = sum({id(tensor): tensor.numel() for tensor in own.values()}.values())
    notes = () if matching is None else matching.notes
    return Transfer(sum(taken.values()) / n_values, (*notes, *_compare_guidance(given.plan, plan)))


def _align_levels(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a decoder's levels so that equal numbers mean equal resolutions in networks of different depth."""
    offset = _count_levels(own) - _count_levels(weights)

    def rename(found: re.Match[str]) -> str:
        return f"decoder.{found[1]}.{int(found[2]) + offset}"

    return {DECODER.sub(rename, name): tensor for name, tensor in weights.items()}


def _count_levels(names: Mapping[str, Tensor]) -> int:
    return 1 + max((int(found[2]) for name in names if (found := DECODER.search(name))), default=-1)


def _find_first(network: nn.Module, own: Mapping[str, Tensor]) -> frozenset[str]:
    """Find all names of the weights of the convolution that sees the input."""
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    return frozenset(name for name, tensor in own.items() if tensor is conv.weight)


def _match(
    given: PretrainedNetwork, source: Mapping[str, Tensor], first: frozenset[str], *, plan: Plan
) -> Matching | None:
    """Match the channels of a U-Net; None where it is not known what the pretrained network's channels are."""
    heads = [tensor for name, tensor in source.items() if HEAD.search(name)]
    inputs = [source[name] for name in first if name in source]
    if not heads or not inputs:
        return None
    if given.plan is not None:
        return match_interfaces(Interface.of(plan), Interface.of(given.plan))
    guessed = Interface.guess(inputs[0].shape[1], heads[0].shape[0])
    return None if guessed is None else match_interfaces(Interface.of(plan), guessed)


def _fit(
    name: str, own: Tensor, given: Tensor | None, *, first: frozenset[str], matching: Matching | None
) -> tuple[Tensor, int] | None:
    """Give the tensor that takes the place of a network's own, and how many of its values are taken."""
    if given is None:
        return None
    if matching is not None and name in first:
        return _fit_inputs(own, given, matching)
    if matching is not None and HEAD.search(name):
        return _fit_outputs(own, given, matching)
    return (given, own.numel()) if own.shape == given.shape else None


def _fit_inputs(own: Tensor, given: Tensor, matching: Matching) -> tuple[Tensor, int] | None:
    """Arrange the weights of the first convolution, (out, in, ...), by input channel."""
    sources = {n: source for n, source in enumerate(matching.inputs) if source is not None}
    if (own.shape[0], own.shape[2:]) != (given.shape[0], given.shape[2:]) or not sources:
        return None
    result = torch.zeros_like(own, requires_grad=False)
    for channel, source in sources.items():
        result[:, channel] = source.scale * given[:, source.index]
    return result, len(sources) * result[:, 0].numel()


def _fit_outputs(own: Tensor, given: Tensor, matching: Matching) -> tuple[Tensor, int] | None:
    """Arrange the weights or biases of an output, (1 + labels, ...), by label."""
    if own.shape[1:] != given.shape[1:]:
        return None
    result = own.detach().clone()
    result[0] = given[0]
    for label, source in enumerate(matching.outputs):
        if source is not None:
            result[1 + label] = given[1 + source]
            if own.ndim == 1:
                # labels that begin as one and the same share its probability
                result[1 + label] -= math.log(matching.outputs.count(source))
    n_rows = 1 + sum(source is not None for source in matching.outputs)
    return result, n_rows * result[0].numel()


def _shift_biases(
    found: dict[str, Tensor], source: Mapping[str, Tensor], first: frozenset[str], matching: Matching | None
) -> None:
    """Add to the first convolution's biases what its input was higher by in the pretrained network's scale."""
    for name in first & found.keys():
        bias = f"{name.removesuffix('weight')}bias"
        if matching is not None and bias in found:
            shifts = [s for s in matching.inputs if s is not None and s.shift]
            found[bias] = found[bias] + sum(s.shift * source[name][:, s.index].flatten(1).sum(1) for s in shifts)


def _compare_guidance(given: Plan | None, own: Plan) -> list[str]:
    """Say in words how clicks look different to the two networks."""
    if given is None or given.guidance == own.guidance:
        return []
    here, there = (f"{plan.guidance.encoding} of {plan.guidance.scale_mm:.1f} mm" for plan in (own, given))
    encoding = given.guidance.encoding
    hint = "" if encoding == own.guidance.encoding else f" (plan with --set guidance.encoding={encoding} for the same)"
    return [f"clicks are {here}, there {there}{hint}"]
