"""Augmentation of whole batches where they lie: `augment`'s transforms as tensor operations for a graphics card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from interactivepet.core.geometry import Shape
from interactivepet.core.plan import Plan
from interactivepet.training.augment import BLUR_VOXELS, NO_BLUR_VOXELS, ROTATION_RAD, SCALING, SPATIAL_PROBABILITY

__all__ = ["Chance", "DeviceAugmentation", "IntensityDraw", "SpatialDraw", "apply_intensity", "apply_spatial"]

MIRROR_PROBABILITY = 0.5
"""Of each axis (nnU-Net)."""

ELASTIC_STEP_VOXELS = 16
"""Distance of the control points between which an elastic displacement is linear."""

ELASTIC_MM = 4.0
"""Standard deviation of the displacement of a control point along each axis."""

NOISE_PROBABILITY, NOISE_STD = 0.1, (0.0, 0.1)
BLUR_PROBABILITY, BLUR_CHANNEL_PROBABILITY = 0.2, 0.5
BRIGHTNESS_PROBABILITY, BRIGHTNESS = 0.15, (0.75, 1.25)
CONTRAST_PROBABILITY, CONTRAST = 0.15, (0.75, 1.25)
COARSE_PROBABILITY, COARSE_CHANNEL_PROBABILITY, COARSE_ZOOM = 0.25, 0.5, (0.5, 1.0)
GAMMA_PROBABILITY, INVERTED_GAMMA_PROBABILITY, GAMMA = 0.3, 0.1, (0.7, 1.5)
"""Probabilities of a sample, then of each of its channels, and ranges (nnU-Net)."""

TINY = 1e-7
"""Keeps a constant image from being divided by its range of 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Chance:
    """Draws on one device; N samples, C image channels."""

    generator: torch.Generator
    n: int
    channels: int

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw (*shape) between `low` and `high`."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.generator.device)

    def hits(self, probability: float, *shape: int) -> Tensor:
        """Draw (*shape) bool."""
        return torch.rand(shape, generator=self.generator, device=self.generator.device) < probability

    def normal(self, *shape: int) -> Tensor:
        """Draw (*shape) with mean 0 and standard deviation 1."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def factor(self, limits: tuple[float, float], probability: float) -> Tensor:
        """Draw (N, C) factors below 1 as often as above; 1 for the samples that are left alone."""
        below, above = (self.uniform(limit, 1.0, self.n, self.channels) for limit in limits)
        drawn = torch.where(self.hits(0.5, self.n, self.channels), below, above)
        return torch.where(self.hits(probability, self.n, 1), drawn, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class SpatialDraw:
    """What happens to the space of each sample.

    Attributes:
        moved: (N,) bool; the others are cut from the middle of their region without interpolation.
        affine: (N, 3, 3) from voxels of the patch to voxels of the region, both from their centres.
        offset: (N, 3, I, J, K) displacement in voxels of the patch, before the affine map; None without.
        mirrored: (N, 3) bool, after all else.
    """

    moved: Tensor
    affine: Tensor
    offset: Tensor | None
    mirrored: Tensor

    @classmethod
    def draw(
        cls,
        chance: Chance,
        patch: Shape,
        *,
        spacing_mm: Tensor,
        elastic_probability: float,
        mirror_axes: Sequence[int] = (0, 1, 2),
    ) -> Self:
        """Draw as `augment` does, but rotate in millimetres, so that coarse axes are not sheared.

        The spacing (N, 3) is each sample's own: where all cases get one shape, it differs by a factor.
        An axis of one voxel is neither rotated into, nor displaced along, nor mirrored.
        """
        device = chance.generator.device
        long, spacing = _send([n > 1 for n in patch], device), spacing_mm.to(device, non_blocking=True)
        turns = _send([all(patch[other] > 1 for other in range(3) if other != axis) for axis in range(3)], device)
        rotated, scaled = chance.hits(SPATIAL_PROBABILITY, chance.n), chance.hits(SPATIAL_PROBABILITY, chance.n)
        angles = chance.uniform(-ROTATION_RAD, ROTATION_RAD, chance.n, 3) * turns * rotated[:, None]
        zoom = torch.where(scaled, chance.uniform(*SCALING, chance.n), 1.0)
        affine = _make_rotation(angles) * spacing[:, None] / spacing[..., None] * zoom[:, None, None]
        moved, offset = rotated | scaled, None
        if elastic_probability > 0:
            deformed = chance.hits(elastic_probability, chance.n)
            offset = _draw_offset(chance, patch) * (deformed[:, None] * long / spacing)[..., None, None, None]
            moved = moved | deformed
        mirrored = long & _send([axis in mirror_axes for axis in range(3)], device)
        return cls(moved, affine, offset, chance.hits(MIRROR_PROBABILITY, chance.n, 3) & mirrored)


@dataclass(frozen=True, slots=True, eq=False)
class IntensityDraw:
    """What happens to the intensities of each image channel, in this order; the neutral value changes nothing.

    Attributes:
        noise: (N, C, I, J, K), added.
        blur: (N, C, 3) standard deviation in voxels along each axis; `NO_BLUR_VOXELS` is neutral.
        brightness: (N, C) factor.
        contrast: (N, C) factor of the distance from the mean, within the channel's range.
        zoom: (N, C) by which the channel is made smaller and then larger again.
        inverted_gamma: (N, C) exponent on the inverted channel; mean and standard deviation stay.
        gamma: (N, C) exponent.
    """

    noise: Tensor
    blur: Tensor
    brightness: Tensor
    contrast: Tensor
    zoom: Tensor
    inverted_gamma: Tensor
    gamma: Tensor

    @classmethod
    def draw(cls, chance: Chance, patch: Shape) -> Self:
        """Draw as `augment` does."""
        n, c = chance.n, chance.channels
        std = chance.uniform(*NOISE_STD, n, 1, 1, 1, 1) * chance.hits(NOISE_PROBABILITY, n, 1, 1, 1, 1)
        blurred = chance.hits(BLUR_PROBABILITY, n, 1) & chance.hits(BLUR_CHANNEL_PROBABILITY, n, c)
        coarse = chance.hits(COARSE_PROBABILITY, n, 1) & chance.hits(COARSE_CHANNEL_PROBABILITY, n, c)
        return cls(
            noise=std * chance.normal(n, c, *patch),
            blur=torch.where(blurred[..., None], chance.uniform(*BLUR_VOXELS, n, c, 3), NO_BLUR_VOXELS),
            brightness=chance.factor(BRIGHTNESS, BRIGHTNESS_PROBABILITY),
            contrast=chance.factor(CONTRAST, CONTRAST_PROBABILITY),
            zoom=torch.where(coarse, chance.uniform(*COARSE_ZOOM, n, c), 1.0),
            inverted_gamma=chance.factor(GAMMA, INVERTED_GAMMA_PROBABILITY),
            gamma=chance.factor(GAMMA, GAMMA_PROBABILITY),
        )


@dataclass(frozen=True, slots=True)
class DeviceAugmentation:
    """Augments batches that were cut with `augment.find_source_shape` and not augmented before.

    Attributes:
        plan: patch, channels and labels.
        elastic_probability: share of the samples that are deformed; `augment` deforms none.
    """

    plan: Plan
    elastic_probability: float = 0.0

    def __call__(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Augment a batch without waiting for the device.

        Args:
            batch: `data` (N, C + 3 L, *source) float32: image, guidance and previous mask; `target` (N, *source),
                integer label values; `spacing_mm` (N, 3) of the samples' voxels, on the host. The patch is the middle
                of the source region.
            generator: on the device of the batch.

        Returns:
            `data` and `target` of the patch size, in the types they came in. Beyond the region both are 0.
        """
        plan, n_image = self.plan, len(self.plan.channels)
        chance = Chance(generator, len(batch["data"]), n_image)
        spatial = SpatialDraw.draw(
            chance,
            plan.patch_size,
            spacing_mm=batch["spacing_mm"],
            elastic_probability=self.elastic_probability,
            mirror_axes=plan.training.mirror_axes,
        )
        intensity = IntensityDraw.draw(chance, plan.patch_size)
        data, target = apply_spatial(batch["data"], batch["target"], draw=spatial, plan=plan)
        image = apply_intensity(data[:, :n_image], intensity)
        return {"data": torch.cat((image, data[:, n_image:]), dim=1), "target": target}


def _send(values: Sequence[float], device: torch.device) -> Tensor:
    """Give a device a few numbers without waiting for it."""
    return torch.tensor(values).to(device, non_blocking=True)


def _make_rotation(angles: Tensor) -> Tensor:
    """Turn angles (N, 3) about the axes i, j, k into matrices (N, 3, 3) that turn about i first."""
    cos, sin = angles.cos(), angles.sin()
    one, zero = torch.ones_like(cos[:, 0]), torch.zeros_like(cos[:, 0])

    def stack(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=1).reshape(-1, 3, 3)

    about_i = stack(one, zero, zero, zero, cos[:, 0], -sin[:, 0], zero, sin[:, 0], cos[:, 0])
    about_j = stack(cos[:, 1], zero, sin[:, 1], zero, one, zero, -sin[:, 1], zero, cos[:, 1])
    about_k = stack(cos[:, 2], -sin[:, 2], zero, sin[:, 2], cos[:, 2], zero, zero, zero, one)
    return about_k @ about_j @ about_i


def _draw_offset(chance: Chance, patch: Shape) -> Tensor:
    """Draw smooth displacements (N, 3, I, J, K) in mm."""
    control = [1 + math.ceil(n / ELASTIC_STEP_VOXELS) for n in patch]
    points = ELASTIC_MM * chance.normal(chance.n, 3, *control)
    return functional.interpolate(points, size=patch, mode="trilinear", align_corners=True)


def apply_spatial(data: Tensor, target: Tensor, *, draw: SpatialDraw, plan: Plan) -> tuple[Tensor, Tensor]:
    """Cut the patch out of its region, moved as drawn.

    Channels are interpolated linearly; a voxel gets the label that has most of it.

    Args:
        data: (N, M, *source).
        target: (N, *source), label values.
        draw: of N samples.
        plan: patch size and label values.

    Returns:
        The same of the patch size.
    """
    source = target.shape[1:]
    starts = [s // 2 - p // 2 for s, p in zip(source, plan.patch_size, strict=True)]
    i, j, k = (slice(start, start + p) for start, p in zip(starts, plan.patch_size, strict=True))
    labels = _send(plan.label_values, target.device).to(target.dtype)
    masks = (target[:, None] == labels[:, None, None, None]).to(data.dtype)
    grid = _make_grid(draw, source, patch=plan.patch_size)
    both = functional.grid_sample(torch.cat((data, masks), 1), grid, mode="bilinear", align_corners=False)
    sampled, shares = both.split((data.shape[1], len(labels)), dim=1)
    # the first is the background's, of which there is more where the region ends
    shares = torch.cat((1.0 - shares.sum(1, keepdim=True), shares), dim=1)
    label = torch.cat((torch.zeros_like(labels[:1]), labels))[shares.argmax(1)]
    moved = draw.moved[:, None, None, None]
    sampled = torch.where(moved[:, None], sampled, data[..., i, j, k])
    label = torch.where(moved, label, target[..., i, j, k])
    return _mirror(sampled, draw.mirrored), _mirror(label[:, None], draw.mirrored)[:, 0]


def _make_grid(draw: SpatialDraw, source: torch.Size, *, patch: Shape) -> Tensor:
    """Make `grid_sample`'s coordinates (N, I, J, K, 3): -1 and 1 are the region's ends, the last axis first."""
    device = draw.affine.device
    axes = [torch.arange(n, device=device) - (n - 1) / 2 for n in patch]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    if draw.offset is not None:
        place = place + draw.offset
    # no matrix product, which may be rounded to the tenth bit on a graphics card: a tenth of a voxel
    columns = draw.affine[..., None, None, None].unbind(2)
    place = torch.stack([column * place[:, axis, None] for axis, column in enumerate(columns)]).sum(0)
    # the patch's centre lies where the unmoved patch is cut
    centre = [s // 2 - p // 2 + p / 2 for s, p in zip(source, patch, strict=True)]
    shift = _send([2 * c / s - 1 for c, s in zip(centre, source, strict=True)], device)
    scale = _send([2 / s for s in source], device)
    return (place.movedim(1, -1) * scale + shift).flip(-1)


def _mirror(values: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror (N, M, I, J, K) along the axes that `mirrored` (N, 3) names."""
    for axis in range(3):
        values = torch.where(mirrored[:, axis, None, None, None, None], values.flip(2 + axis), values)
    return values


def apply_intensity(image: Tensor, draw: IntensityDraw) -> Tensor:
    """Change the intensities (N, C, I, J, K) as drawn."""
    image = image + draw.noise
    image = _blur(image, draw.blur)
    image = image * _spread(draw.brightness)
    image = _change_contrast(image, draw.contrast)
    image = _make_coarse(image, draw.zoom)
    image = -_change_gamma(-image, draw.inverted_gamma)
    return _change_gamma(image, draw.gamma)


def _spread(values: Tensor) -> Tensor:
    """Give (N, C) the axes of an image."""
    return values[..., None, None, None]


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur with Gaussians (N, C, 3), which at a border weigh only what is there."""
    weights = []
    for axis, n in enumerate(image.shape[2:]):
        index = torch.arange(n, device=image.device)
        distance = (index[:, None] - index) / sigma[..., axis, None, None]
        weights.append((-0.5 * distance.square()).softmax(-1))
    blurred = _weigh(image, weights)
    return torch.where(_spread((sigma > NO_BLUR_VOXELS).any(-1)), blurred, image)


def _make_coarse(image: Tensor, zoom: Tensor) -> Tensor:
    """Keep the nearest voxels of a grid smaller by (N, C), and interpolate them linearly on the old one."""
    weights = []
    for n in image.shape[2:]:
        index = torch.arange(n, device=image.device)
        small = (n * zoom).round().clamp(min=1)[..., None]
        place = ((index + 0.5) * small / n - 0.5).clamp(min=0)
        below = place.floor()
        above = torch.minimum(below + 1, small - 1)
        rest = (place - below)[..., None]
        low, high = (((b + 0.5) * n / small).floor()[..., None] == index for b in (below, above))
        weights.append((1 - rest) * low + rest * high)
    return torch.where(_spread(zoom < 1), _weigh(image, weights), image)


def _weigh(image: Tensor, weights: list[Tensor]) -> Tensor:
    """Replace each line of voxels by weighted sums of it, axis by axis; weights are (N, C, new, old)."""
    i, j, k = weights
    image = torch.einsum("ncai,ncijk->ncajk", i, image)
    image = torch.einsum("ncbj,ncajk->ncabk", j, image)
    return torch.einsum("nclk,ncabk->ncabl", k, image)


def _change_contrast(image: Tensor, factor: Tensor) -> Tensor:
    axes = (2, 3, 4)
    mean = image.mean(axes, keepdim=True)
    changed = (image - mean) * _spread(factor) + mean
    changed = torch.minimum(torch.maximum(changed, image.amin(axes, keepdim=True)), image.amax(axes, keepdim=True))
    return torch.where(_spread(factor == 1), image, changed)


def _change_gamma(image: Tensor, exponent: Tensor) -> Tensor:
    """Raise each channel, brought to 0 ... 1, to its exponent, and give it back its mean and standard deviation."""
    axes = (2, 3, 4)
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    changed = ((image - low) / (high - low).clamp(min=TINY)) ** _spread(exponent)
    ratio = image.std(axes, keepdim=True) / changed.std(axes, keepdim=True).clamp(min=TINY)
    changed = (changed - changed.mean(axes, keepdim=True)) * ratio + image.mean(axes, keepdim=True)
    return torch.where(_spread(exponent == 1), image, changed)
