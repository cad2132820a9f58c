"""Turn a fingerprint into a plan: which configurations, on which grid, how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.geometry import Shape
from interactivepet.core.plan import (
    Architecture,
    Budget,
    ClickSampling,
    Configuration,
    ConfigurationPlan,
    CropPlan,
    NegativeSampling,
    Plans,
    TrainingPlan,
)
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS
from interactivepet.planning.grids import Extents, Grid, find_grids
from interactivepet.planning.rules import (
    choose_crop,
    choose_guidance,
    choose_normalisation,
    choose_spacing,
    find_flat_axes,
    find_reach_mm,
    measure_extents_mm,
    measure_voxel_edge_mm,
)
from interactivepet.planning.sizing import ModelLayers, NetworkSpec, fit_batch

__all__ = ["DEFAULT_OPTIONS", "PlanOptions", "Scheme", "make_plans"]

TRANSFORMER_TRAINING: Mapping[str, object] = {
    "learning_rate": 1e-4,
    "weight_decay": 1e-5,
    "schedule": "cosine",
    "warm_up": 0.05,
}
"""These are the values of UNETR (Hatamizadeh 2022) and
Swin UNETR (Tang 2022)."""

Scheme = Literal["ct", "suv", "zscore", "minmax"]
"""Of normalisation."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a user may ask of the planner.

    Attributes:
        configurations: wanted, the default first; None takes those that the fingerprint calls for.
        interactive: crop to clicks, and never train without them; None does not.
        target_shape: of every case, for tasks on a fixed grid, in voxels along (i, j, k).
        normalise: scheme of every channel; None chooses by name and fingerprint.
        negatives: how often to train on cases without any label; None draws every case alike.
    """

    configurations: tuple[Configuration, ...] | None = None
    interactive: bool | None = None
    target_shape: Shape | None = None
    normalise: Scheme | None = None
    negatives: NegativeSampling | None = None


DEFAULT_OPTIONS = PlanOptions()
"""Everything is left to the rules."""


def make_plans(
    fingerprint: Fingerprint,
    budget: Budget,
    *,
    architecture: Architecture | ModelLayers = "plain",
    options: PlanOptions = DEFAULT_OPTIONS,
) -> Plans:
    """Plan every configuration that the fingerprint calls for: preprocessing, guidance, network and training.

    Args:
        fingerprint: of the whole task.
        budget: the name of one of `BUDGETS`.
        architecture: of all configurations' networks: a family, or the layers of a trained model.
        options: what the user asked for.

    Raises:
        PlanError: the task has no case or no object, cannot have a configuration that was asked for or the layers of
            the model, or even the smallest patch exceeds the budget.
    """
    if not fingerprint.cases or all(case.objects == () for case in fingerprint.cases):
        raise PlanError(f"{fingerprint.task}: no case holds a labelled voxel; there is nothing to learn")
    layers = architecture if isinstance(architecture, ModelLayers) else None
    spec = NetworkSpec(
        architecture.network.architecture if isinstance(architecture, ModelLayers) else architecture,
        n_inputs=len(fingerprint.channels) + 3 * len(fingerprint.labels),
        n_outputs=1 + len(fingerprint.labels),
        budget=BUDGETS[budget],
        layers=layers,
    )
    crop = choose_crop(fingerprint, interactive=bool(options.interactive))
    extents = Extents(
        finest_mm=choose_spacing([case.spacing_mm for case in fingerprint.cases]),
        boxes_mm=measure_extents_mm(fingerprint, crop),
        flat=find_flat_axes(fingerprint),
        reach_mm=find_reach_mm(fingerprint) if budget == "cpu" else float("inf"),
        target_shape=options.target_shape,
    )
    grids = find_grids(extents, spec, wanted=options.configurations, cropped=crop.region == "clicks")
    return Plans(
        made_from=fingerprint.content_hash(),
        task=fingerprint.task,
        budget=budget,
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        axis_order=fingerprint.axis_order,
        configurations={
            name: _make_configuration(fingerprint, grid, spec=spec, crop=crop, options=options)
            for name, grid in grids.items()
        },
    )


def _make_configuration(
    fingerprint: Fingerprint, grid: Grid, *, spec: NetworkSpec, crop: CropPlan, options: PlanOptions
) -> ConfigurationPlan:
    n_voxels = len(fingerprint.cases) * int(np.prod(grid.median))
    batch = fit_batch(grid.patch, grid.spacing, spec=spec, n_voxels=n_voxels, worth=grid.batch)
    noise_mm = 0.5 * measure_voxel_edge_mm(fingerprint, grid.spacing)
    return ConfigurationPlan(
        spacing_mm=grid.spacing,
        median_shape=grid.median,
        target_shape=options.target_shape,
        patch_size=grid.patch,
        crop=crop,
        normalisation=choose_normalisation(fingerprint, options.normalise),
        network=spec.make_network(grid.patch, grid.spacing),
        layers_of="" if spec.layers is None else spec.layers.name,
        guidance=choose_guidance(fingerprint, grid.spacing),
        training=_choose_training(
            spec,
            batch_size=batch,
            negatives=options.negatives or "keep",
            is_flat=bool(find_flat_axes(fingerprint)),
            clicks=_choose_clicks(
                noise_mm, interactive=crop.region == "clicks", is_flat=bool(find_flat_axes(fingerprint))
            ),
        ),
        memory=spec.estimate(grid.patch, grid.spacing, batch_size=batch).memory,
        reasons={
            **grid.reasons,
            "guidance": "1.5 voxels or a tenth of a typical radius; at most half a small one; at least one voxel",
        },
    )


def _choose_training(
    spec: NetworkSpec, *, batch_size: int, negatives: NegativeSampling, clicks: ClickSampling, is_flat: bool
) -> TrainingPlan:
    """Choose the optimisation: for U-Nets what was measured to learn fastest, for transformers the papers'."""
    training = TrainingPlan(
        batch_size=batch_size,
        epochs=spec.budget.epochs,
        iterations_per_epoch=spec.budget.iterations_per_epoch,
        negatives=negatives,
        # a picture that is seen whole tells organs apart by where they are: only left and right change places
        mirror_axes=(0,) if is_flat else (0, 1, 2),
        clicks=clicks,
    )
    return training.model_copy(update=TRANSFORMER_TRAINING) if spec.is_transformer else training


def _choose_clicks(noise_mm: float, *, interactive: bool, is_flat: bool) -> ClickSampling:
    """Choose how many clicks samples see.

    A model of images cropped to their clicks is never asked without any. In a projection organs of high uptake lie
    over one another, and telling lesions from them without a click is what takes longest to learn.
    """
    if interactive:
        return ClickSampling(none=0.0, extreme=0.6, more=0.4, noise_mm=noise_mm)
    if is_flat:
        return ClickSampling(none=0.5, extreme=0.25, more=0.25, noise_mm=noise_mm)
    return ClickSampling(noise_mm=noise_mm)
