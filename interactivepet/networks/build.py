"""Build the plan's network from `dynamic_network_architectures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interactivepet.core.plan import NetworkPlan

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_network"]


def build_network(plan: NetworkPlan, *, deep_supervision: bool) -> nn.Module:
    """Build a U-Net with random weights.

    The network maps (N, input_channels, I, J, K) float32 to logits (N, output_channels, I, J, K); with
    `deep_supervision` to a list of them, finest first. The names of the weights are the same either way.
    A 2D task is a 3D network whose kernels and strides
    are 1 along the axis of one voxel, so that nothing else needs to know about it.
    """
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    from dynamic_network_architectures.initialization.weight_init import InitWeights_He
    from torch import nn

    shared = {
        "input_channels": plan.input_channels,
        "n_stages": len(plan.features_per_stage),
        "features_per_stage": list(plan.features_per_stage),
        "conv_op": nn.Conv3d,
        "kernel_sizes": [list(k) for k in plan.kernel_sizes],
        "strides": [list(s) for s in plan.strides],
        "num_classes": plan.output_channels,
        "n_conv_per_stage_decoder": list(plan.n_conv_per_stage_decoder),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
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
    network.apply(InitWeights_He(1e-2))
    return network
