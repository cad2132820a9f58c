"""Build the plan's network: U-Nets from `dynamic_network_architectures`, transformers from MONAI."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from interactivepet.core.plan import NetworkPlan, TransformerPlan, UNetPlan
from interactivepet.errors import SettingsError

__all__ = ["SliceNetwork", "build_empty", "build_network"]

MLP_RATIO = 4
"""Width of UNETR's multilayer perceptrons over that of its tokens (Hatamizadeh 2021, as ViT-B)."""


class SliceNetwork(nn.Module):
    """A 2D network that sees volumes slice by slice, so that a 2D task looks like any other from outside.

    Convolutions in 3D whose kernel is 1 along one axis would do the same 2.5 times slower on a CPU.
    """

    def __init__(self, network: nn.Module, axis: int = 2) -> None:
        """Wrap a network.

        Args:
            network: of (N, C, A, B), the two other axes in their order.
            axis: 0, 1 or 2 for slices along i, j or k.
        """
        super().__init__()
        self.network = network
        self.axis = axis

    def forward(self, volume: Tensor) -> Tensor | list[Tensor]:
        """Map (N, C, I, J, K) to logits (N, L, I, J, K), or to a list of them with deep supervision."""
        n_slices = volume.shape[2 + self.axis]
        output = self.network(volume.movedim(2 + self.axis, 1).flatten(0, 1))
        if isinstance(output, Tensor):
            return self._stack(output, n_slices)
        return [self._stack(logits, n_slices) for logits in output]

    def _stack(self, slices: Tensor, n_slices: int) -> Tensor:
        """Turn (N S, L, A, B) into (N, L, I, J, K)."""
        stacked: Tensor = slices.unflatten(0, (-1, n_slices)).movedim(1, 2 + self.axis)
        return stacked


def build_network(plan: NetworkPlan, *, deep_supervision: bool) -> nn.Module:
    """Build a network with random weights.

    The network maps (N, input_channels, I, J, K) float32 to logits (N, output_channels, I, J, K); with
    `deep_supervision` to a list of them, finest first: a transformer's holds one. The names of the weights are the
    same either way. When nothing reaches along one of the axes, it is a `SliceNetwork` of that axis.

    Raises:
        SettingsError: the plan wants a transformer, and MONAI is not installed.
    """
    axis = _find_flat_axis(plan)
    if isinstance(plan, TransformerPlan):
        network = _build_transformer(plan, flat_axis=axis)
        if deep_supervision:
            network.register_forward_hook(_list_output)
    else:
        network = _build_unet(plan, flat_axis=axis, deep_supervision=deep_supervision)
        _initialise(network)
    return network if axis is None else SliceNetwork(network, axis)


def build_empty(plan: NetworkPlan) -> nn.Module:
    """Build a network without deep supervision whose weights are still missing: shapes without memory.

    Fill it with `load_state_dict(weights, assign=True)`. A transformer has random weights, as MONAI computes with
    values while it builds.

    Raises:
        SettingsError: the plan wants a transformer, and MONAI is not installed.
    """
    if isinstance(plan, TransformerPlan):
        return build_network(plan, deep_supervision=False)
    axis = _find_flat_axis(plan)
    with torch.device("meta"):
        network = _build_unet(plan, flat_axis=axis, deep_supervision=False)
    return network if axis is None else SliceNetwork(network, axis)


def _find_flat_axis(plan: NetworkPlan) -> int | None:
    """Find the axis along which no kernel and no stride reaches, or an image of one voxel; the last if several."""
    sizes = (plan.image_size,) if isinstance(plan, TransformerPlan) else (*plan.kernel_sizes, *plan.strides)
    return next((axis for axis in (2, 1, 0) if all(size[axis] == 1 for size in sizes)), None)


def _build_unet(plan: UNetPlan, *, flat_axis: int | None, deep_supervision: bool) -> nn.Module:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    axes = [axis for axis in range(3) if axis != flat_axis]
    shared = {
        "input_channels": plan.input_channels,
        "n_stages": len(plan.features_per_stage),
        "features_per_stage": list(plan.features_per_stage),
        "conv_op": nn.Conv3d if flat_axis is None else nn.Conv2d,
        "kernel_sizes": [[size[axis] for axis in axes] for size in plan.kernel_sizes],
        "strides": [[stride[axis] for axis in axes] for stride in plan.strides],
        "num_classes": plan.output_channels,
        "n_conv_per_stage_decoder": list(plan.n_conv_per_stage_decoder),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d if flat_axis is None else nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": deep_supervision,
    }
    network: nn.Module
    if plan.architecture == "residual":
        network = ResidualEncoderUNet(n_blocks_per_stage=list(plan.n_conv_per_stage), **shared)
    else:
        network = PlainConvUNet(n_conv_per_stage=list(plan.n_conv_per_stage), **shared)
    return network


def _initialise(network: nn.Module) -> None:
    """Draw the weights as nnU-Net does; on shapes without memory this would import torch's compiler."""
    from dynamic_network_architectures.initialization.weight_init import InitWeights_He

    network.apply(InitWeights_He(1e-2))


def _build_transformer(plan: TransformerPlan, *, flat_axis: int | None) -> nn.Module:
    """Build with MONAI's own initial weights: truncated normal, as transformers need."""
    shared: dict[str, Any] = {
        "in_channels": plan.input_channels,
        "out_channels": plan.output_channels,
        "feature_size": plan.feature_size,
        "spatial_dims": 3 if flat_axis is None else 2,
    }
    network: nn.Module
    try:
        with _without_torchvision():
            from monai.networks.nets.swin_unetr import SwinUNETR
            from monai.networks.nets.unetr import UNETR
        if plan.architecture == "swinunetr":
            network = SwinUNETR(**shared)
        else:
            network = UNETR(
                img_size=[edge for axis, edge in enumerate(plan.image_size) if axis != flat_axis],
                hidden_size=plan.hidden_size,
                mlp_dim=MLP_RATIO * plan.hidden_size,
                num_heads=plan.n_heads,
                **shared,
            )
    except ImportError as error:
        raise SettingsError(
            f"the architecture {plan.architecture} needs MONAI with einops ({error}); "
            "pip install 'interactivepet[monai]', or plan with --architecture plain or residual"
        ) from error
    return network


@contextlib.contextmanager
def _without_torchvision() -> Iterator[None]:
    """Hide torchvision while MONAI is imported, which looks for it but needs none of it here.

    One that was made for another build of torch would register half of its operators before it fails.
    """
    if "torchvision" in sys.modules:
        yield
        return
    missing: Any = None
    sys.modules["torchvision"] = missing
    try:
        yield
    finally:
        del sys.modules["torchvision"]


def _list_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> list[Tensor]:
    """Give a transformer's one output as the loss expects them: a forward hook."""
    return [output]
