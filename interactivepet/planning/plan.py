"""Turn a fingerprint into a plan. Each rule stands beside its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interactivepet.core.fingerprint import ChannelStatistics, Fingerprint
from interactivepet.core.geometry import FloatArray, Shape, Spacing
from interactivepet.core.plan import (
    Budget,
    ClickSampling,
    GuidancePlan,
    NetworkPlan,
    Normalisation,
    Plan,
    TrainingPlan,
)
from interactivepet.errors import PlanError
from interactivepet.planning.topology import Topology, estimate_cost, find_topology, grow_patch

__all__ = ["BUDGETS", "MemoryBudget", "make_plan"]


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a training step may take, and how long training lasts.

    Attributes:
        memory_gb: peak of one training step.
        gigaflops: of one training step; on a CPU time is scarce long before memory is.
        base_features: feature maps of the finest stage.
        maximum_features: of any stage.
        epochs: how many.
        iterations_per_epoch: how many.
    """

    memory_gb: float
    gigaflops: float
    base_features: int
    maximum_features: int
    epochs: int
    iterations_per_epoch: int


BUDGETS: dict[Budget, MemoryBudget] = {
    "cpu": MemoryBudget(4.0, 90.0, 16, 128, 40, 50),
    "8gb": MemoryBudget(6.5, np.inf, 32, 320, 100, 250),
    "24gb": MemoryBudget(21.0, np.inf, 32, 320, 150, 250),
    "80gb": MemoryBudget(70.0, np.inf, 32, 320, 200, 250),
}
"""Graphics cards keep a reserve for the context and workspaces. `cpu`: about 0.3 s a step on one modern core."""

ANISOTROPIC_RATIO = 3.0
"""nnU-Net (Isensee 2021): a task is anisotropic when its coarsest axis is this many times coarser ..."""

COARSE_PERCENTILE = 10.0
"""... and then that axis gets this percentile of the spacings, so that thick slices do not blur thin ones."""

MAXIMUM_BATCH_SHARE = 0.05
"""A batch holds at most this share of all voxels of the task, or each step would see the same (nnU-Net)."""

PATCH_STEP_MM = 0.98
"""Factor by which the patch shrinks until it fits: about one voxel in fifty."""

OBJECT_REACH = 4.0
"""On the `cpu` budget a patch is at most this many times as wide as objects' longest edges, at their 95th percentile by
volume: what lies further from a clicked object hardly helps, and halving the edge makes a step eight times faster."""

QUANTITATIVE_SPREAD = 5.0
"""SUV is comparable between patients. When the 95th percentile of the cases' mean intensity is more than this
times the 5th, the channel is not in a common unit, whatever its name says."""


def make_plan(fingerprint: Fingerprint, budget: Budget) -> Plan:
    """Plan preprocessing, guidance, network and training.

    Args:
        fingerprint: of the whole task.
        budget: the name of one of `BUDGETS`.

    Raises:
        PlanError: the task has no case or no object, or even the smallest patch exceeds the budget.
    """
    if not any(case.objects for case in fingerprint.cases):
        raise PlanError(f"{fingerprint.task}: no case holds a labelled voxel; there is nothing to learn")
    spacing = choose_spacing([case.spacing_mm for case in fingerprint.cases])
    median = _median_shape(fingerprint, spacing)
    guidance = choose_guidance(fingerprint, spacing, median_shape=median)
    n_inputs = len(fingerprint.channels) + 2 * len(fingerprint.labels)
    n_outputs = 1 + len(fingerprint.labels)
    reach_mm = _find_reach(fingerprint) if budget == "cpu" else np.inf
    patch = _fit_patch(median, spacing, BUDGETS[budget], n_inputs=n_inputs, n_outputs=n_outputs, reach_mm=reach_mm)
    network = _make_network(patch, spacing, BUDGETS[budget], n_inputs=n_inputs, n_outputs=n_outputs)
    batch = _fit_batch(patch, network, BUDGETS[budget], n_voxels=len(fingerprint.cases) * int(np.prod(median)))
    return Plan(
        made_from=fingerprint.content_hash(),
        task=fingerprint.task,
        budget=budget,
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        spacing_mm=spacing,
        median_shape=median,
        patch_size=patch,
        normalisation=choose_normalisation(fingerprint),
        network=network,
        guidance=guidance,
        training=TrainingPlan(
            batch_size=batch,
            epochs=BUDGETS[budget].epochs,
            iterations_per_epoch=BUDGETS[budget].iterations_per_epoch,
            clicks=ClickSampling(noise_mm=0.5 * _voxel_edge(spacing, median)),
        ),
        estimated_memory_gb=_cost(patch, network, batch)[0],
        reasons={
            "spacing_mm": "median of the cases; the coarsest axis of an anisotropic task at its 10th percentile",
            "patch_size": "equal edges in mm within the median shape (cpu: near objects), shrunk to fit the budget",
            "guidance": "1.5 voxels or a tenth of a typical radius; at most half a small one; at least one voxel",
        },
    )


def choose_spacing(spacings: Sequence[Spacing]) -> Spacing:
    """Choose the target spacing: the median, with nnU-Net's exception for an anisotropic axis.

    When the coarsest axis is more than `ANISOTROPIC_RATIO` times coarser than the finest, it takes the
    `COARSE_PERCENTILE` of the cases, but never becomes finer than the other axes.
    """
    values = np.asarray(spacings)
    target = np.median(values, axis=0)
    coarse = int(np.argmax(target))
    others = np.delete(target, coarse)
    if target[coarse] > ANISOTROPIC_RATIO * others.min():
        target[coarse] = max(np.percentile(values[:, coarse], COARSE_PERCENTILE), others.max())
    i, j, k = (float(v) for v in target)
    return (i, j, k)


def choose_guidance(fingerprint: Fingerprint, spacing: Spacing, *, median_shape: Shape) -> GuidancePlan:
    """Choose the Gaussian's scale.

    On FDG-PET of sarcomas with 4.2 mm voxels a scale of 6 mm, 1.5 voxels and a tenth of the tumours' radius, gave the
    best out-of-fold Dice of the encodings compared: so the larger of the two, since fine pixels (a projection)
    say nothing about objects. For small objects the scale stays below half their radius, or guidance would cover
    object and surroundings alike; but a click always spans one voxel. Typical and small are quantiles of the
    objects' total volume (0.5 and 0.1): specks of a voxel or two are many, but little of it.
    """
    radii, volumes = _measure_radii_mm(fingerprint, median_shape)
    small, typical = (_find_quantile(radii, volumes, share=share) for share in (0.1, 0.5))
    voxel = _voxel_edge(spacing, median_shape)
    return GuidancePlan(scale_mm=max(voxel, min(max(1.5 * voxel, 0.1 * typical), 0.5 * small)))


def _measure_radii_mm(fingerprint: Fingerprint, median_shape: Shape) -> tuple[FloatArray, FloatArray]:
    """Give each object's radius in mm, of a sphere of its volume or, in 2D, a circle of its area, and its volume."""
    flat = [axis for axis in range(3) if median_shape[axis] == 1]
    radii, volumes = [], []
    for case in fingerprint.cases:
        thickness_mm = np.prod([case.spacing_mm[axis] for axis in flat])
        for obj in case.objects:
            volume_mm3 = 1000.0 * obj.volume_ml
            area_mm2 = volume_mm3 / thickness_mm
            radii.append(np.sqrt(area_mm2 / np.pi) if flat else np.cbrt(3.0 * volume_mm3 / (4.0 * np.pi)))
            volumes.append(obj.volume_ml)
    return np.asarray(radii), np.asarray(volumes)


def choose_normalisation(fingerprint: Fingerprint) -> tuple[Normalisation, ...]:
    """Choose each channel's normalisation by its name, checked against the fingerprint."""
    foreground = fingerprint.foreground or fingerprint.body
    return tuple(
        _normalise_channel(name, foreground[index], fingerprint, index)
        for index, name in enumerate(fingerprint.channels)
    )


def _normalise_channel(name: str, statistics: ChannelStatistics, fingerprint: Fingerprint, index: int) -> Normalisation:
    kind = name.strip().lower()
    clip = (statistics.percentile_00_5, statistics.percentile_99_5)
    if kind == "ct":
        reason = "Hounsfield units: clip to the foreground's 0.5 and 99.5 percentiles, then the foreground's z-score"
        return Normalisation(scheme="ct", clip=clip, mean=statistics.mean, std=_positive(statistics.std), reason=reason)
    means = [case.body[index].mean for case in fingerprint.cases]
    low, high = np.percentile(means, (5.0, 95.0))
    if kind.startswith(("pet", "suv", "fdg", "psma")) and 0 < high <= QUANTITATIVE_SPREAD * low:
        reason = (
            "SUV is quantitative: one scale for all patients, the foreground's standard deviation; 0 stays 0, so that "
            "padding is air; clipped above the foreground's 99.5 percentile, since bladder and brain outshine lesions"
        )
        return Normalisation(scheme="suv", clip=(0.0, _positive(clip[1])), std=_positive(statistics.std), reason=reason)
    return Normalisation(scheme="zscore", reason="no common unit between cases: z-score of each image's kept box")


def _positive(value: float) -> float:
    """Guard a divisor: a constant channel has no spread to divide by."""
    return value if value > 1e-8 else 1.0


def _median_shape(fingerprint: Fingerprint, spacing: Spacing) -> Shape:
    shapes = [
        [
            n if n == 1 else max(1, round(n * mm / new))
            for n, mm, new in zip(case.crop_shape, case.spacing_mm, spacing, strict=True)
        ]
        for case in fingerprint.cases
    ]
    i, j, k = (round(float(v)) for v in np.median(shapes, axis=0))
    return (i, j, k)


def _features(n_stages: int, budget: MemoryBudget) -> tuple[int, ...]:
    return tuple(min(budget.base_features * 2**stage, budget.maximum_features) for stage in range(n_stages))


def _make_network(
    patch: Shape, spacing: Spacing, budget: MemoryBudget, *, n_inputs: int, n_outputs: int
) -> NetworkPlan:
    topology = find_topology(patch, spacing)
    n_stages = len(topology.strides)
    return NetworkPlan(
        input_channels=n_inputs,
        output_channels=n_outputs,
        features_per_stage=_features(n_stages, budget),
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        n_conv_per_stage=(2,) * n_stages,
        n_conv_per_stage_decoder=(2,) * (n_stages - 1),
    )


def _cost(patch: Shape, network: NetworkPlan, batch: int) -> tuple[float, float]:
    cost = estimate_cost(
        patch,
        Topology(network.strides, network.kernel_sizes),
        batch_size=batch,
        features=network.features_per_stage,
        n_inputs=network.input_channels,
        n_outputs=network.output_channels,
    )
    return cost.memory_gb, cost.gigaflops


def _find_reach(fingerprint: Fingerprint) -> float:
    """Give the widest edge in mm that `OBJECT_REACH` allows; objects count by their volume, so specks hardly do."""
    objects = [obj for case in fingerprint.cases for obj in case.objects]
    edges = np.array([max(obj.extent_mm) for obj in objects])
    volumes = np.array([obj.volume_ml for obj in objects])
    return OBJECT_REACH * _find_quantile(edges, volumes, share=0.95)


def _find_quantile(values: FloatArray, weights: FloatArray, *, share: float) -> float:
    """Give the smallest value at or below which `share` of the total weight lies."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[min(int(np.searchsorted(shares, share)), len(values) - 1)]])


def _fit_patch(
    median: Shape, spacing: Spacing, budget: MemoryBudget, *, n_inputs: int, n_outputs: int, reach_mm: float
) -> Shape:
    """Shrink the patch, equal edges in mm within the median shape, until a batch of two fits the budget."""
    edge_mm = min(reach_mm, max(n * mm for n, mm in zip(median, spacing, strict=True)))
    smallest = grow_patch(median, spacing, edge_mm=0.0)
    while True:
        patch = grow_patch(median, spacing, edge_mm=edge_mm)
        network = _make_network(patch, spacing, budget, n_inputs=n_inputs, n_outputs=n_outputs)
        memory_gb, gigaflops = _cost(patch, network, 2)
        if memory_gb <= budget.memory_gb and gigaflops <= budget.gigaflops:
            return patch
        if patch == smallest:
            raise PlanError(
                f"the smallest patch {patch} with {n_inputs} input channels needs {memory_gb:.1f} GB and "
                f"{gigaflops:.0f} GFLOP a step; the budget allows {budget.memory_gb} GB and {budget.gigaflops} GFLOP"
            )
        edge_mm *= PATCH_STEP_MM


def _fit_batch(patch: Shape, network: NetworkPlan, budget: MemoryBudget, *, n_voxels: int) -> int:
    """Grow the batch from two while it fits the budget and `MAXIMUM_BATCH_SHARE`."""
    most = max(2, int(MAXIMUM_BATCH_SHARE * n_voxels / np.prod(patch)))
    batch = 2
    while batch < most:
        memory_gb, gigaflops = _cost(patch, network, batch + 1)
        if memory_gb > budget.memory_gb or gigaflops > budget.gigaflops:
            break
        batch += 1
    return batch


def _voxel_edge(spacing: Spacing, median_shape: Shape) -> float:
    """Give the geometric mean of the spacing over the axes that have more than one voxel."""
    edges = [mm for mm, n in zip(spacing, median_shape, strict=True) if n > 1] or list(spacing)
    return float(np.prod(edges) ** (1.0 / len(edges)))
