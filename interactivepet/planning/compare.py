"""Two plans side by side, row by row; either may be nnU-Net's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interactivepet.core.plan import ConfigurationPlan, Plans, UNetPlan
from interactivepet.planning.nnunet import list_nnunet_configurations

__all__ = ["NOT_THERE", "compare_rows", "describe_configuration", "describe_nnunet_plans", "describe_plans"]

NOT_THERE = "-"
"""What a plan does not say."""

Rows = dict[str, str]


def describe_plans(plans: Plans) -> dict[str, Rows]:
    """Describe each configuration in rows: what is decided -> its value as text."""
    return {name: describe_configuration(own, channels=plans.channels) for name, own in plans.configurations.items()}


def describe_configuration(own: ConfigurationPlan, *, channels: Sequence[str]) -> Rows:
    """Describe one configuration in rows."""
    rows = {
        "spacing in mm": _join(own.spacing_mm),
        "median shape": _join(own.median_shape),
        "patch": _join(own.patch_size),
        "batch": str(own.training.batch_size),
        "architecture": own.network.architecture + (f", layers of {own.layers_of}" if own.layers_of else ""),
    }
    if own.target_shape is not None:
        rows["fixed shape"] = _join(own.target_shape)
    if isinstance(own.network, UNetPlan):
        rows |= _describe_stages(
            own.network.features_per_stage, own.network.strides, own.network.kernel_sizes, own.network.n_conv_per_stage
        )
    else:
        width = f", tokens of {own.network.hidden_size}" if own.network.hidden_size else ""
        rows["features"] = f"{own.network.feature_size}{width}"
    rows |= {f"normalisation of {name}": rule.scheme for name, rule in zip(channels, own.normalisation, strict=True)}
    crop = own.crop.region + (f", {own.crop.margin_mm:g} mm wider" if own.crop.margin_mm else "")
    return rows | {
        "crop": crop,
        "guidance": f"{own.guidance.encoding}, {own.guidance.scale_mm:.2f} mm",
        "training": f"{own.training.epochs} epochs of {own.training.iterations_per_epoch} iterations",
        "memory of a step": f"{own.memory.float32_gb:.2f} GB, {own.memory.mixed_gb:.2f} GB in mixed precision",
    }


def describe_nnunet_plans(content: Mapping[str, Any], *, channels: Sequence[str] = ()) -> dict[str, Rows]:
    """Describe nnU-Net's plans in the same rows, with axes brought back to (i, j, k).

    Args:
        content: of its `plans.json`.
        channels: names; those that are missing are numbered.
    """
    backward = content.get("transpose_backward", (0, 1, 2))
    described = {}
    for name, own in list_nnunet_configurations(content).items():
        described[name] = _describe_nnunet(own, backward, channels)
    return described


def _describe_nnunet(own: Mapping[str, Any], backward: Sequence[int], channels: Sequence[str]) -> Rows:
    # Its 2D networks see (y, x) of slices along the first axis after transposition, of which they keep one voxel.
    median = own.get("median_image_size_in_voxels", ())
    network = own.get("architecture", {}).get("arch_kwargs", {})
    rows = {
        "spacing in mm": _join(_reorder(own.get("spacing", ()), backward, fill=None)),
        "median shape": _join(_reorder([round(n) for n in median], backward, fill=None)),
        "patch": _join(_reorder(own.get("patch_size", ()), backward, fill=1)),
        "batch": str(own.get("batch_size", NOT_THERE)),
        "architecture": _name_architecture(own.get("architecture", {}).get("network_class_name", "")),
    }
    strides, kernels = (
        tuple(tuple(_reorder(_as_list(stage), backward, fill=1)) for stage in network.get(key, ()))
        for key in ("strides", "kernel_sizes")
    )
    convolutions = network.get("n_conv_per_stage", network.get("n_blocks_per_stage", ()))
    rows |= _describe_stages(network.get("features_per_stage", ()), strides, kernels, convolutions)
    for index, scheme in enumerate(own.get("normalization_schemes", ())):
        channel = channels[index] if index < len(channels) else str(index)
        rows[f"normalisation of {channel}"] = scheme.removesuffix("Normalization").lower()
    return rows


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) else [value] * 3


def _reorder(values: Sequence[Any], backward: Sequence[int], *, fill: Any) -> list[Any]:
    """Turn values along nnU-Net's axes into (i, j, k); a 2D network's get `fill` for the axis that it does not see."""
    if len(values) == 2:
        values = (fill, *values)
    if len(values) != 3:
        return []
    return [values[axis] for axis in backward][::-1]


def _name_architecture(path: str) -> str:
    name = path.rpartition(".")[2]
    return {"PlainConvUNet": "plain", "ResidualEncoderUNet": "residual"}.get(name, name or NOT_THERE)


def _describe_stages(
    features: Sequence[int],
    strides: Sequence[Sequence[int]],
    kernels: Sequence[Sequence[int]],
    convolutions: Sequence[int],
) -> Rows:
    return {
        "features": " ".join(map(str, features)) or NOT_THERE,
        "strides": "  ".join("".join(map(str, stage)) for stage in strides) or NOT_THERE,
        "kernels": "  ".join("".join(map(str, stage)) for stage in kernels) or NOT_THERE,
        "convolutions a stage": " ".join(map(str, convolutions)) or NOT_THERE,
    }


def _join(values: Sequence[Any]) -> str:
    shown = ["?" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]
    return " x ".join(shown) or NOT_THERE


def compare_rows(first: Rows, second: Rows) -> list[tuple[str, str, str, bool]]:
    """Put two descriptions side by side: row, value here, value there, whether they differ."""
    names = [*first, *(name for name in second if name not in first)]
    pairs = [(name, first.get(name, NOT_THERE), second.get(name, NOT_THERE)) for name in names]
    return [(name, here, there, here != there) for name, here, there in pairs]
