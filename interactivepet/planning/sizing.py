"""The largest patch and batch whose training step stays within a budget, for any architecture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from interactivepet.core.geometry import Shape, Spacing, to_triple
from interactivepet.core.plan import Architecture, NetworkPlan, TransformerPlan, UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import MemoryBudget, fits, get_memory_gb
from interactivepet.planning.cost import Cost, estimate_cost
from interactivepet.planning.topology import find_topology, grow_patch

__all__ = [
    "MAXIMUM_BATCH_SHARE",
    "RESIDUAL_BLOCKS",
    "SMALLEST_BATCH",
    "ModelLayers",
    "NetworkSpec",
    "cover_shape",
    "fit_batch",
    "fit_patch",
]

SMALLEST_BATCH = 2
"""A larger patch comes before a larger batch, but a step on a single sample is too noisy (nnU-Net)."""

MAXIMUM_BATCH_SHARE = 0.05
"""A batch holds at most this share of all voxels of the task, or each step would see the same (nnU-Net)."""

PATCH_STEP_MM = 0.98
"""Factor by which the patch shrinks until it fits: about one voxel in fifty."""

CONVOLUTIONS = 2
"""Of each stage of a plain U-Net, on both sides (nnU-Net)."""

RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6)
"""Of each stage of a residual encoder, whose decoder has one convolution a stage (nnU-Net ResEnc, Isensee 2024)."""

TRANSFORMER_STEPS: dict[Architecture, tuple[int, int]] = {"unetr": (16, 32), "swinunetr": (32, 64)}
"""What edges are multiples of, and the shortest: two tokens, as normalisation over a single one is undefined."""


@dataclass(frozen=True, slots=True)
class ModelLayers:
    """The layers of a trained model, to be planned for another task so that all of its weights fit.

    Attributes:
        name: of the model.
        network: its U-Net, whatever the numbers of its channels.
    """

    name: str
    network: UNetPlan

    @property
    def reach(self) -> tuple[bool, ...]:
        """Whether any kernel or stride reaches along each axis."""
        sizes = (*self.network.kernel_sizes, *self.network.strides)
        return tuple(any(size[axis] > 1 for size in sizes) for axis in range(3))

    def is_of(self, network: NetworkPlan) -> bool:
        """Whether a network has these layers, but for the first and the last ones' channels."""
        numbers = {"input_channels": network.input_channels, "output_channels": network.output_channels}
        return self.network.model_copy(update=numbers) == network


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network must be, whatever its patch.

    Attributes:
        architecture: which family.
        n_inputs: channels of images, guidance and previous masks.
        n_outputs: background and labels.
        budget: that a training step must fit.
        layers: of a trained model, in place of those that the rules choose for each patch.
    """

    architecture: Architecture
    n_inputs: int
    n_outputs: int
    budget: MemoryBudget
    layers: ModelLayers | None = None

    @property
    def is_transformer(self) -> bool:
        """Whether the architecture is one of MONAI's transformers."""
        return self.architecture in TRANSFORMER_STEPS

    def make_network(self, patch: Shape, spacing: Spacing) -> NetworkPlan:
        """Make the network for a patch that `fit_patch` or `cover_shape` gave.

        Raises:
            PlanError: the given layers reach along an axis of one voxel, or along none of several.
        """
        if self.layers is not None:
            _check_reach(self.layers, patch)
            numbers = {"input_channels": self.n_inputs, "output_channels": self.n_outputs}
            return self.layers.network.model_copy(update=numbers)
        if self.is_transformer:
            return self._make_transformer(patch)
        topology = find_topology(patch, spacing)
        n_stages = len(topology.strides)
        residual = self.architecture == "residual"
        widest, base = self.budget.maximum_features, self.budget.base_features
        return UNetPlan(
            architecture="residual" if residual else "plain",
            input_channels=self.n_inputs,
            output_channels=self.n_outputs,
            features_per_stage=tuple(min(base * 2**stage, widest) for stage in range(n_stages)),
            kernel_sizes=topology.kernel_sizes,
            strides=topology.strides,
            n_conv_per_stage=RESIDUAL_BLOCKS[:n_stages] if residual else (CONVOLUTIONS,) * n_stages,
            n_conv_per_stage_decoder=(1 if residual else CONVOLUTIONS,) * (n_stages - 1),
        )

    def _make_transformer(self, patch: Shape) -> TransformerPlan:
        features, hidden, heads = self.budget.unetr
        if self.architecture == "swinunetr":
            features, hidden, heads = self.budget.swin_features, 0, 0
        return TransformerPlan(
            architecture="unetr" if self.architecture == "unetr" else "swinunetr",
            input_channels=self.n_inputs,
            output_channels=self.n_outputs,
            image_size=patch,
            feature_size=features,
            hidden_size=hidden,
            n_heads=heads,
        )

    def fits(self, patch: Shape, spacing: Spacing, *, batch_size: int) -> bool:
        """Whether a step on this patch stays within the budget."""
        return fits(self.estimate(patch, spacing, batch_size=batch_size), self.budget)

    def estimate(self, patch: Shape, spacing: Spacing, *, batch_size: int) -> Cost:
        """Estimate a training step on this patch."""
        return _estimate(patch, self.make_network(patch, spacing), batch_size)


@lru_cache(maxsize=1024)
def _estimate(patch: Shape, network: NetworkPlan, batch_size: int) -> Cost:
    """Remember the costs: grids of many spacings try the same patches."""
    return estimate_cost(patch, network, batch_size=batch_size)


def fit_patch(bound: Shape, spacing: Spacing, *, spec: NetworkSpec, reach_mm: float = np.inf) -> Shape:
    """Shrink the patch, equal edges in mm within `bound`, until `SMALLEST_BATCH` of it fits the budget.

    As all edges shrink by a whole pooling step at once, single ones are widened again where that still fits.

    Raises:
        PlanError: even the smallest patch exceeds the budget.
    """
    edge_mm = min(reach_mm, max(n * mm for n, mm in zip(bound, spacing, strict=True)))
    smallest, widest = (_grow(bound, spacing, edge_mm=mm, spec=spec) for mm in (0.0, edge_mm))
    refused: Shape | None = None
    while True:
        patch = _grow(bound, spacing, edge_mm=edge_mm, spec=spec)
        if patch != refused and spec.fits(patch, spacing, batch_size=SMALLEST_BATCH):
            return _widen(patch, spacing, spec=spec, limit=widest)
        if patch == smallest:
            raise _refuse(patch, spacing, spec)
        refused = patch
        edge_mm *= PATCH_STEP_MM


def _widen(patch: Shape, spacing: Spacing, *, spec: NetworkSpec, limit: Shape) -> Shape:
    """Widen one axis by one pooling step, the shortest in mm first, as long as any of them fits."""
    for axis in sorted(range(3), key=lambda a: patch[a] * spacing[a]):
        divisor = spec.make_network(patch, spacing).divisor
        i, j, k = (n + divisor[a] * (a == axis) for a, n in enumerate(patch))
        wider = cover_shape((i, j, k), spacing, spec=spec)
        within = all(new <= most for new, most in zip(wider, limit, strict=True))
        if within and spec.fits(wider, spacing, batch_size=SMALLEST_BATCH):
            return _widen(wider, spacing, spec=spec, limit=limit)
    return patch


def _refuse(patch: Shape, spacing: Spacing, spec: NetworkSpec) -> PlanError:
    cost = spec.estimate(patch, spacing, batch_size=SMALLEST_BATCH)
    return PlanError(
        f"the smallest patch {patch} with {spec.n_inputs} input channels needs {get_memory_gb(cost, spec.budget):.1f} "
        f"GB and {cost.gigaflops:.0f} GFLOP a step; the budget allows {spec.budget.memory_gb} GB and "
        f"{spec.budget.gigaflops} GFLOP; choose a larger budget"
    )


def _check_reach(layers: ModelLayers, patch: Shape) -> None:
    """Refuse a network of slices for volumes, and one of volumes for slices."""
    if layers.reach != tuple(edge > 1 for edge in patch):
        named = " and ".join(axis for axis, is_reached in zip("ijk", layers.reach, strict=True) if is_reached)
        raise PlanError(
            f"the layers of {layers.name} reach along {named}, but a patch has {patch} voxels; leave this "
            "configuration out with --configurations, or choose another --architecture"
        )


def _find_steps(spec: NetworkSpec) -> tuple[Shape, Shape] | None:
    """Give what edges are multiples of and the shortest along each axis; None where they depend on the patch."""
    if spec.layers is not None:
        i, j, k = spec.layers.network.divisor
        # two voxels of the coarsest stage, as normalisation over a single one is undefined
        return (i, j, k), (2 * i, 2 * j, 2 * k)
    if spec.is_transformer:
        step, shortest = TRANSFORMER_STEPS[spec.architecture]
        return (step, step, step), (shortest, shortest, shortest)
    return None


def _grow(bound: Shape, spacing: Spacing, *, edge_mm: float, spec: NetworkSpec) -> Shape:
    """Give the patch of about `edge_mm` on each axis within `bound`, rounded to what the network divides."""
    fixed = _find_steps(spec)
    if fixed is None:
        return grow_patch(bound, spacing, edge_mm=edge_mm)
    return to_triple(
        1 if n == 1 else max(shortest, round(min(n, edge_mm / mm) / step) * step)
        for n, mm, step, shortest in zip(bound, spacing, *fixed, strict=True)
    )


def cover_shape(shape: Shape, spacing: Spacing, *, spec: NetworkSpec) -> Shape:
    """Round a shape up to the smallest patch that covers it and that the network divides."""
    fixed = _find_steps(spec)
    if fixed is not None:
        edges = zip(shape, *fixed, strict=True)
        return to_triple(1 if n == 1 else max(shortest, -(-n // step) * step) for n, step, shortest in edges)
    divisor = find_topology(shape, spacing).divisor
    return to_triple(-(-n // step) * step for n, step in zip(shape, divisor, strict=True))


def fit_batch(patch: Shape, spacing: Spacing, *, spec: NetworkSpec, n_voxels: int, worth: int = SMALLEST_BATCH) -> int:
    """Grow the batch from `SMALLEST_BATCH` while it fits the budget and `MAXIMUM_BATCH_SHARE` of `n_voxels`.

    A batch of `worth` is not too large, whatever its share.
    """
    most = max(worth, int(MAXIMUM_BATCH_SHARE * n_voxels / np.prod(patch)))
    batch = SMALLEST_BATCH
    while batch < most and spec.fits(patch, spacing, batch_size=batch + 1):
        batch += 1
    return batch
