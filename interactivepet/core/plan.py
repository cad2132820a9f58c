"""Every decision that preprocessing, guidance, network and training follow."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record

__all__ = [
    "Budget",
    "ClickSampling",
    "Fold",
    "FoldList",
    "GuidancePlan",
    "NegativeSampling",
    "NetworkPlan",
    "Normalisation",
    "Plan",
    "TrainingPlan",
]

Budget = Literal["cpu", "8gb", "24gb", "80gb"]
Triple = tuple[int, int, int]

NegativeSampling = Literal["keep", "exclude"] | Annotated[float, Field(gt=0.0, lt=1.0)]
"""How often a training sample comes from a case without any label."""


class Normalisation(Record):
    """How one channel's intensities become network input: clip, then (x - mean) / std."""

    scheme: Literal["ct", "suv", "zscore"]
    """`ct` and `suv` use the task's statistics below; `zscore` those of each image's own kept box."""
    clip: tuple[float, float] | None = None
    mean: float = 0.0
    std: float = 1.0
    reason: str = ""
    """Why the planner chose it, for the reader of plans.json."""


class NetworkPlan(Record):
    """A U-Net of `dynamic_network_architectures`."""

    architecture: Literal["plain", "residual"] = "plain"
    input_channels: int
    """Image channels and guidance channels together."""
    output_channels: int
    """Background and labels."""
    features_per_stage: tuple[int, ...]
    kernel_sizes: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    n_conv_per_stage: tuple[int, ...]
    n_conv_per_stage_decoder: tuple[int, ...]


class GuidancePlan(Record):
    """How clicks become input channels: for each label one positive, then one negative channel."""

    encoding: Literal["gaussian"] = "gaussian"
    """Maximum over the clicks of exp(-d^2 / (2 scale^2)), so that the peak is 1."""
    scale_mm: float
    """Standard deviation of the Gaussian in mm."""


class ClickSampling(Record):
    """How many clicks a training sample sees; the shares sum to 1."""

    none: float = 0.25
    """Share of samples without any click, so that the network also segments automatically."""
    extreme: float = 0.5
    """Share with exactly the interior margin points of every object."""
    more: float = 0.25
    """Share with a random subset of those plus random positive and negative points."""
    noise_mm: float
    """Standard deviation of the displacement of each click."""


class TrainingPlan(Record):
    """The optimisation."""

    batch_size: int
    epochs: int
    iterations_per_epoch: int
    learning_rate: float = 0.01
    momentum: float = 0.99
    weight_decay: float = 3e-5
    foreground_share: float = 0.5
    """Share of the patches that are centred on a labelled voxel."""
    negatives: NegativeSampling = "keep"
    """Samples from cases without any label: `keep` draws every case alike, `exclude` leaves them out, and a
    number is their share."""
    clicks: ClickSampling


class Plan(Artefact):
    """The content of `plans.json`. `made_from` is the fingerprint's hash."""

    task: str
    configuration: str = "3d_fullres"
    budget: Budget
    channels: tuple[str, ...]
    labels: dict[str, int]
    spacing_mm: tuple[float, float, float]
    """Voxel spacing that every case is resampled to, along (i, j, k)."""
    median_shape: Triple
    """Median shape of the cases after cropping and resampling."""
    patch_size: Triple
    normalisation: tuple[Normalisation, ...]
    network: NetworkPlan
    guidance: GuidancePlan
    training: TrainingPlan
    estimated_memory_gb: float
    """Estimated peak of one training step: weights, gradients, optimiser and activations."""
    reasons: dict[str, str] = Field(default_factory=dict)
    """Field -> why the planner chose its value."""

    @property
    def label_values(self) -> tuple[int, ...]:
        """The label values in the order of the network's outputs after the background."""
        return tuple(sorted(self.labels.values()))

    def preprocessing_hash(self) -> str:
        """Hash only what preprocessing depends on: editing the training keeps preprocessed cases valid."""
        fields = {"channels", "labels", "spacing_mm", "normalisation"}
        return hashlib.sha256(self.model_dump_json(include=fields).encode()).hexdigest()[:16]


class Fold(Record):
    """One split: the network of fold `index` never sees `validation`."""

    index: int
    training: tuple[str, ...]
    validation: tuple[str, ...]


class FoldList(Artefact):
    """The content of `folds.json`. `made_from` is the manifest's hash."""

    task: str
    seed: int
    folds: tuple[Fold, ...]
