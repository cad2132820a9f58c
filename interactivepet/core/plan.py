"""Every decision that preprocessing, guidance, network and training follow."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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
    noise_mm: float = Field(ge=0.0)
    """Standard deviation of the displacement of each click."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if min(self.none, self.extreme, self.more) < 0 or abs(self.none + self.extreme + self.more - 1.0) > 1e-6:
            raise ValueError("none, extreme and more are shares: 0 or more, and 1 together")
        return self


class TrainingPlan(Record):
    """The optimisation."""

    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    iterations_per_epoch: int = Field(ge=1)
    learning_rate: float = Field(default=0.01, gt=0.0)
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        network = self.network
        lengths = {len(network.features_per_stage), len(network.kernel_sizes), len(network.strides)}
        lengths |= {len(network.n_conv_per_stage), len(network.n_conv_per_stage_decoder) + 1}
        if len(lengths) != 1:
            raise ValueError("network: features, kernels, strides and convolutions must be given for the same stages")
        divisors = [math.prod(stride[axis] for stride in network.strides) for axis in range(3)]
        if any(edge % divisor for edge, divisor in zip(self.patch_size, divisors, strict=True)):
            raise ValueError(f"patch_size {self.patch_size} must be multiples of the product of strides {divisors}")
        wanted = (len(self.channels) + 2 * len(self.labels), 1 + len(self.labels))
        if (network.input_channels, network.output_channels) != wanted:
            raise ValueError(f"network: input and output channels must be {wanted} for these channels and labels")
        return self

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
