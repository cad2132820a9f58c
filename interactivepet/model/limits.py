"""Plans that no machine like this one could run, refused before anything is built of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from interactivepet.core.memory import find_memory_bytes
from interactivepet.core.plan import NetworkPlan, UNetPlan
from interactivepet.dataset.files.read import LARGEST_LABEL
from interactivepet.errors import ModelError
from interactivepet.model.description import ModelDescription
from interactivepet.nninteractive.model_folder import MINIMUM_PATCH
from interactivepet.preprocessing.room import FLOAT32_BYTES

__all__ = ["check_limits", "count_weights"]


def check_limits(description: ModelDescription, *, source: str) -> None:
    """Refuse what a plan of this project never holds, and plans that are larger than this machine's memory.

    Args:
        description: of the model.
        source: the model, for error messages.

    Raises:
        ModelError: a name has control characters; a label's value is not one of a mask; a number of the plans is not
            finite; an axis is mirrored more than once; the promptable model's patch is too small for nnInteractive; or
            a patch with its first feature maps, or an image on the plan's fixed grid, has no room.
    """
    cause = next(_list_faults(description), "")
    if cause:
        raise ModelError(f"{source}: {cause}; get the model again")
    room = find_memory_bytes()
    for name, values in _list_arrays(description):
        needed = values * FLOAT32_BYTES
        if needed > room:
            raise ModelError(
                f"{source}: {name} takes at least {needed / 1e9:.3g} GB, this machine has {room / 1e9:.3g} GB; take a "
                "machine with more memory, or another model"
            )


def _list_faults(description: ModelDescription) -> Iterator[str]:
    plans, promptable = description.plans, description.promptable
    # names and licence are printed on a terminal
    texts = [plans.task, *plans.channels, *plans.labels, *description.licence.splitlines()]
    yield from (f"{text[:50]!r} has characters that cannot be printed" for text in texts if not text.isprintable())
    values = list(plans.labels.values())
    if len(set(values)) < len(values) or not all(0 < value <= LARGEST_LABEL for value in values):
        yield f"label values {values[:5]}, expected different ones from 1 to {LARGEST_LABEL}"
    if place := _find_not_finite(plans.model_dump(), "plans"):
        yield f"{place} is not finite"
    for configuration, plan in plans.configurations.items():
        axes = plan.training.mirror_axes
        if len(set(axes)) < len(axes):
            yield f"mirror_axes of {configuration} has {len(axes)} entries, expected each axis once"
    if promptable is not None and min(promptable.patch_size) < MINIMUM_PATCH:
        yield f"patch_size {promptable.patch_size} of nninteractive, expected {MINIMUM_PATCH} or more along each axis"


def count_weights(network: UNetPlan) -> int:
    """Count the weights of the encoder's convolutions: fewer than a file of this network holds.

    Raises:
        ValueError: the groups of numbers have different lengths.
    """
    n_weights, n_before = 0, network.input_channels
    stages = zip(network.features_per_stage, network.kernel_sizes, network.n_conv_per_stage, strict=True)
    for features, kernel, n_convolutions in stages:
        n_weights += math.prod(kernel) * features * (n_before + (n_convolutions - 1) * features)
        n_before = features
    return n_weights


def _list_arrays(description: ModelDescription) -> Iterator[tuple[str, int]]:
    """List what prediction must hold at least, with the number of values."""
    plans, promptable = description.plans, description.promptable
    for configuration, plan in plans.configurations.items():
        yield f"patch_size {plan.patch_size} of {configuration}", _count_maps(plan.network, plan.patch_size)
        if plan.target_shape is not None:
            n_values = len(plans.channels) * math.prod(plan.target_shape)
            yield f"target_shape {plan.target_shape} of {configuration}", n_values
    if promptable is not None:
        name = f"patch_size {promptable.patch_size} of nninteractive"
        yield name, _count_maps(promptable.network, promptable.patch_size)


def _find_not_finite(value: object, place: str) -> str:
    """Give the place of the first number in nested dictionaries and tuples that is infinite or NaN; empty without."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else place
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, tuple):
        parts = enumerate(value)
    return next((found for key, part in parts if (found := _find_not_finite(part, f"{place}.{key}"))), "")


def _count_maps(network: NetworkPlan, patch: Sequence[int]) -> int:
    """Count the values of a patch: its inputs, the first feature maps and the outputs."""
    features = network.features_per_stage[0] if isinstance(network, UNetPlan) else network.feature_size
    return math.prod(patch) * (network.input_channels + features + network.output_channels)
