"""Build the plan's network from `dynamic_network_architectures`."""

from __future__ import annotations

from torch import Tensor, nn

from interactivepet.core.plan import NetworkPlan

__all__ = ["SliceNetwork", "build_network"]


class SliceNetwork(nn.Module):
    """A 2D network that sees volumes slice by slice, so that a 2D task looks like any other from outside.

    Convolutions in 3D whose kernel is 1 along the last axis would do the same 2.5 times slower on a CPU.
    """

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network of (N, C, I, J)."""
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> Tensor | list[Tensor]:
        """Map (N, C, I, J, K) to logits (N, L, I, J, K), or to a list of them with deep supervision."""
        n, k = volume.shape[0], volume.shape[4]
        output = self.network(volume.movedim(4, 1).flatten(0, 1))
        if isinstance(output, Tensor):
            return _stack(output, n, k)
        return [_stack(logits, n, k) for logits in output]


def _stack(slices: Tensor, n: int, k: int) -> Tensor:
    """Turn (N K, L, I, J) into (N, L, I, J, K)."""
    stacked: Tensor = slices.unflatten(0, (n, k)).movedim(1, 4)
    return stacked


def build_network(plan: NetworkPlan, *, deep_supervision: bool) -> nn.Module:
    """Build a U-Net with random weights.

    The network maps (N, input_channels, I, J, K) float32 to logits (N, output_channels, I, J, K); with
    `deep_supervision` to a list of them, finest first. The names of the weights are the same either way.
    When no kernel and no stride reaches along K, it is a `SliceNetwork`.
    """
    from dynamic_network_architectures.initialization.weight_init import InitWeights_He

    is_flat = all(size[2] == 1 for size in (*plan.kernel_sizes, *plan.strides))
    network = _build(plan, n_axes=2 if is_flat else 3, deep_supervision=deep_supervision)
    network.apply(InitWeights_He(1e-2))
    return SliceNetwork(network) if is_flat else network


def _build(plan: NetworkPlan, *, n_axes: int, deep_supervision: bool) -> nn.Module:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    shared = {
        "input_channels": plan.input_channels,
        "n_stages": len(plan.features_per_stage),
        "features_per_stage": list(plan.features_per_stage),
        "conv_op": nn.Conv3d if n_axes == 3 else nn.Conv2d,
        "kernel_sizes": [list(size[:n_axes]) for size in plan.kernel_sizes],
        "strides": [list(stride[:n_axes]) for stride in plan.strides],
        "num_classes": plan.output_channels,
        "n_conv_per_stage_decoder": list(plan.n_conv_per_stage_decoder),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d if n_axes == 3 else nn.InstanceNorm2d,
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
