"""Every decision that preprocessing, guidance, network and training follow."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from interactivepet.core.artefact import Artefact, Record, hash_text
from interactivepet.core.axes import AxisOrder, Permutation, find_axes
from interactivepet.core.geometry import Geometry, to_triple

__all__ = [
    "PREPROCESSING_FIELDS",
    "Architecture",
    "Budget",
    "ClickSampling",
    "Configuration",
    "ConfigurationPlan",
    "CropPlan",
    "Fold",
    "FoldList",
    "GuidancePlan",
    "LossName",
    "MemoryEstimate",
    "NegativeSampling",
    "NetworkPlan",
    "Normalisation",
    "Optimizer",
    "Plan",
    "Plans",
    "TrainingPlan",
    "TransformerPlan",
    "UNetPlan",
]

Budget = Literal["cpu", "8gb", "24gb", "80gb"]
Configuration = Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade"]
"""`2d` sees slices, `3d_lowres` a coarser grid; `3d_cascade` refines the mask of `3d_lowres` on the full grid."""
Architecture = Literal["plain", "residual", "unetr", "swinunetr"]
LossName = Literal["dice_ce", "dice_focal", "dice_bce"]
"""Soft Dice plus a mean over voxels: cross-entropy, focal loss, or a binary cross-entropy for each class."""
Optimizer = Literal["sgd", "adamw"]
Triple = tuple[int, int, int]


def _check_odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"{size} is even; a kernel has a voxel in its middle")
    return size


Count = Annotated[int, Field(ge=1)]
Edges = tuple[Count, Count, Count]
OddCount = Annotated[Count, AfterValidator(_check_odd)]
Kernel = tuple[OddCount, OddCount, OddCount]
Millimetres = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

NegativeSampling = Literal["keep", "exclude"] | Annotated[float, Field(gt=0.0, lt=1.0)]
"""How often a training sample comes from a case without any label."""


class Normalisation(Record):
    """How one channel's intensities become network input: clip, then (x - mean) / std."""

    scheme: Literal["ct", "suv", "zscore", "minmax"]
    """`ct` and `suv` use the task's statistics below; `zscore` and `minmax` those of each image's own kept box."""
    clip: tuple[float, float] | None = None
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    reason: str = ""
    """Why the planner chose it, for the reader of plans.json."""


class CropPlan(Record):
    """What is kept of an image before it is resampled."""

    region: Literal["body", "clicks"] = "body"
    """`body`: the box outside of which every channel is background. `clicks`: the box of clicks and, in training,
    labels; a model of such a plan answers to clicks only."""
    margin_mm: float = Field(default=0.0, ge=0.0)
    """By which the box is widened on every side."""


class MemoryEstimate(Record):
    """Peak of one training step in GB: weights, gradients, optimiser, activations, largest workspace."""

    float32_gb: float = Field(ge=0.0)
    mixed_gb: float = Field(ge=0.0)
    """With bfloat16 or float16 activations."""


class UNetPlan(Record):
    """A U-Net of `dynamic_network_architectures`."""

    architecture: Literal["plain", "residual"] = "plain"
    input_channels: int
    """Image, guidance and previous-mask channels together."""
    output_channels: int
    """Background and labels."""
    features_per_stage: tuple[Count, ...]
    kernel_sizes: tuple[Kernel, ...]
    strides: tuple[Edges, ...]
    n_conv_per_stage: tuple[Count, ...]
    """Convolutions, or residual blocks, of each encoder stage."""
    n_conv_per_stage_decoder: tuple[Count, ...]

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        lengths = {len(self.features_per_stage), len(self.kernel_sizes), len(self.strides)}
        lengths |= {len(self.n_conv_per_stage), len(self.n_conv_per_stage_decoder) + 1}
        if len(lengths) != 1:
            raise ValueError("features, kernels, strides and convolutions must be given for the same stages")
        return self

    @property
    def divisor(self) -> Triple:
        """What each edge of a patch must be a multiple of."""
        return to_triple(math.prod(stride[axis] for stride in self.strides) for axis in range(3))


class TransformerPlan(Record):
    """A UNETR or SwinUNETR of MONAI."""

    architecture: Literal["unetr", "swinunetr"]
    input_channels: int
    """Image, guidance and previous-mask channels together."""
    output_channels: int
    """Background and labels."""
    image_size: Edges
    """The patch: UNETR learns an embedding for each position. An axis of one voxel makes the network 2D."""
    feature_size: Count
    """Feature maps of the finest stage."""
    hidden_size: int = Field(default=0, ge=0)
    """Width of UNETR's tokens; SwinUNETR has no such width and 0 here."""
    n_heads: int = Field(default=0, ge=0)
    """Attention heads of UNETR; SwinUNETR's are 3, 6, 12 and 24, and 0 here."""

    @property
    def divisor(self) -> Triple:
        """What each edge of a patch must be a multiple of.

        UNETR's tokens are 16 voxels wide; SwinUNETR halves five times.
        """
        step = 16 if self.architecture == "unetr" else 32
        return to_triple(1 if edge == 1 else step for edge in self.image_size)


NetworkPlan = Annotated[UNetPlan | TransformerPlan, Field(discriminator="architecture")]


class GuidancePlan(Record):
    """How clicks become input channels: for each label one positive, then one negative channel."""

    encoding: Literal["gaussian", "ellipsoid"] = "gaussian"
    """`gaussian`: maximum over the clicks of exp(-d^2 / (2 scale^2)), so that the peak is 1. `ellipsoid`: in the
    positive channel also the ellipsoid that an object's margin points span, which falls from 0.75 at its centre to 0
    at twice its axes."""
    scale_mm: Millimetres
    """Standard deviation of the Gaussian in mm."""


class ClickSampling(Record):
    """How many clicks a training sample sees; the shares sum to 1."""

    none: float = 0.3
    """Share of samples without any click, so that the network also segments automatically."""
    extreme: float = 0.45
    """Share with exactly the interior margin points of every object."""
    more: float = 0.25
    """Share with a random subset of those plus random positive and negative points."""
    noise_mm: float = Field(ge=0.0)
    """Standard deviation of the displacement of each click."""
    corrected: float = Field(default=0.25, ge=0.0, le=1.0)
    """Share of the iterations in which clicks are placed on the network's own errors before the step."""

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
    loss: LossName = "dice_ce"
    optimizer: Optimizer = "adamw"
    """`sgd` has Nesterov momentum, and wants a learning rate about ten times as high."""
    learning_rate: float = Field(default=0.001, gt=0.0, allow_inf_nan=False)
    """Its highest value; it falls to almost 0 at the last iteration."""
    schedule: Literal["polynomial", "cosine", "restarts"] = "polynomial"
    """`restarts` falls along a cosine four times, each from the highest value."""
    warm_up: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the iterations in which the learning rate rises from 0 to its highest value."""
    momentum: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Of `sgd`."""
    weight_decay: float = Field(default=3e-5, ge=0.0, allow_inf_nan=False)
    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Decay an iteration of a moving average of the weights, which is then what is validated and kept; None keeps
    the weights themselves."""
    foreground_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the patches that are centred on a labelled voxel."""
    mirror_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    """Axes of (i, j, k) along which patches are mirrored, in training and in predictions with mirrored inputs; an axis
    of one voxel never is."""
    negatives: NegativeSampling = "keep"
    """Samples from cases without any label: `keep` draws every case alike, `exclude` leaves them out, and a
    number is their share."""
    clicks: ClickSampling


class ConfigurationPlan(Record):
    """What one configuration decides for itself."""

    spacing_mm: tuple[Millimetres, Millimetres, Millimetres]
    """Voxel spacing that every case is resampled to, along (i, j, k)."""
    median_shape: Edges
    """Median shape of the cases after cropping and resampling."""
    target_shape: Edges | None = None
    """For tasks on a fixed grid: every case is resampled to this shape, whatever spacing that gives it."""
    patch_size: Edges
    crop: CropPlan = CropPlan()
    normalisation: tuple[Normalisation, ...]
    network: NetworkPlan
    guidance: GuidancePlan
    training: TrainingPlan
    memory: MemoryEstimate
    reasons: dict[str, str] = Field(default_factory=dict)
    """Field -> why the planner chose its value."""
    layers_of: str = ""
    """Name of the trained model whose layers the network has; empty for layers chosen by the rules."""

    @model_validator(mode="after")
    def _check_patch(self) -> Self:
        divisor = self.network.divisor
        if any(edge % step for edge, step in zip(self.patch_size, divisor, strict=True)):
            raise ValueError(f"patch_size {self.patch_size} must be multiples of {divisor}, what the network halves")
        if isinstance(self.network, TransformerPlan) and self.network.image_size != self.patch_size:
            raise ValueError(f"network.image_size {self.network.image_size} must be patch_size {self.patch_size}")
        return self


PREPROCESSING_FIELDS = frozenset({"spacing_mm", "target_shape", "crop", "normalisation"})
"""Of a configuration: what its preprocessed cases follow."""

ORDER_FIELDS = frozenset({"axis_order"})
"""What changes no hash: it concerns only cases that are stored in another order, whose records tell what was done."""

WITHOUT_REASONS = {"normalisation": {"__all__": {"reason"}}}
"""What to leave out so that words for the reader change no hash."""


class Plan(ConfigurationPlan, Artefact):
    """One configuration with what all of a task's have in common. `made_from` is the fingerprint's hash."""

    task: str
    configuration: Configuration = "3d_fullres"
    budget: Budget
    channels: tuple[str, ...]
    labels: dict[str, int]
    axis_order: AxisOrder | None = None
    """The order of voxel axes that every image is brought to; None takes images as they are stored."""

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        wanted = (len(self.channels) + 3 * len(self.labels), 1 + len(self.labels))
        if (self.network.input_channels, self.network.output_channels) != wanted:
            raise ValueError(f"network: input and output channels must be {wanted} for these channels and labels")
        return self

    @property
    def label_values(self) -> tuple[int, ...]:
        """The label values in the order of the network's outputs after the background."""
        return tuple(sorted(self.labels.values()))

    def find_axes(self, geometry: Geometry) -> Permutation:
        """Find the permutation that brings an image to the plan's order of axes."""
        flat = self.median_shape.index(1) if 1 in self.median_shape else None
        return find_axes(geometry.affine, geometry.shape, order=self.axis_order, flat=flat)

    def content_hash(self) -> str:
        """Hash every decision: neither reasons nor an estimate of memory make trained folds stale."""
        told = dict.fromkeys(("package_version", "made_from", "reasons", "layers_of", "memory", *ORDER_FIELDS), True)
        return hash_text(self.model_dump_json(exclude={**told, **WITHOUT_REASONS}))

    def preprocessing_hash(self) -> str:
        """Hash only what preprocessing depends on: editing the training keeps preprocessed cases valid."""
        fields = {"channels", "labels", *PREPROCESSING_FIELDS}
        return hash_text(self.model_dump_json(include=fields, exclude=WITHOUT_REASONS))


class Plans(Artefact):
    """The content of `plans.json`: every configuration that the fingerprint calls for.

    `made_from` is the fingerprint's hash.
    """

    task: str
    budget: Budget
    channels: tuple[str, ...]
    labels: dict[str, int]
    configurations: dict[Configuration, ConfigurationPlan]
    """The first is trained when none is named."""
    axis_order: AxisOrder | None = None
    """The order of voxel axes that most training cases have, which every image is brought to before networks see it:
    the world axis that i, j and k follow most closely. None takes images as they are stored."""

    @model_validator(mode="after")
    def _check_configurations(self) -> Self:
        if not self.configurations:
            raise ValueError("configurations: at least one is needed")
        for name in self.configurations:
            self.plan(name)
        if "3d_cascade" in self.configurations:
            self._check_cascade()
        return self

    def _check_cascade(self) -> None:
        missing = {"3d_lowres", "3d_fullres"}.difference(self.configurations)
        if missing:
            raise ValueError(
                "configurations: 3d_cascade refines the masks of 3d_lowres on the cases of 3d_fullres; missing: "
                + ", ".join(sorted(missing))
            )
        full, cascade = self.plan("3d_fullres"), self.plan("3d_cascade")
        if full.preprocessing_hash() != cascade.preprocessing_hash():
            differing = [name for name in sorted(PREPROCESSING_FIELDS) if getattr(full, name) != getattr(cascade, name)]
            raise ValueError(
                f"configurations: 3d_cascade has the cases of 3d_fullres, so {', '.join(differing)} must be the same "
                "in both"
            )

    @property
    def default(self) -> Configuration:
        """The configuration that is trained when none is named."""
        return next(iter(self.configurations))

    @property
    def is_flat(self) -> bool:
        """Whether the cases are pictures of one slice."""
        return 1 in self.configurations[self.default].median_shape

    def plan(self, configuration: Configuration) -> Plan:
        """Join a configuration with what all have in common.

        Raises:
            KeyError: the configuration was not planned.
        """
        own = self.configurations[configuration]
        return Plan(
            made_from=self.made_from,
            task=self.task,
            configuration=configuration,
            budget=self.budget,
            channels=self.channels,
            labels=self.labels,
            axis_order=self.axis_order,
            **{name: getattr(own, name) for name in ConfigurationPlan.model_fields},
        )

    def content_hash(self) -> str:
        """Hash every decision, without the order of the axes, so that plans from before it was kept stay valid."""
        told = dict.fromkeys(("package_version", "made_from", *ORDER_FIELDS), True)
        layers = {"configurations": {"__all__": {"layers_of"}}}
        return hash_text(self.model_dump_json(exclude={**told, **layers}))


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

    @property
    def validation_folds(self) -> dict[str, int]:
        """Case -> index of the fold that never sees it."""
        return {name: fold.index for fold in self.folds for name in fold.validation}
