"""Augmentation of one patch with `batchgeneratorsv2`: space for all, intensities for the image only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape, Spacing, to_triple

__all__ = ["Augmentation", "Patch", "defer_augmentation", "find_source_shape", "make_augmentation"]

ROTATION_RAD = np.pi / 6
"""Patients lie within 30 degrees of one another about every axis (nnU-Net)."""

MOST_ANISOTROPY = 2.0
"""Ratio of two axes' spacing up to which they are turned into each other: voxels are turned as if they were cubes,
which stretches what is in them by as much."""

SCALING = (0.7, 1.4)
"""Objects appear at 1 / 1.4 to 1 / 0.7 of their size (nnU-Net)."""

SPATIAL_PROBABILITY = 0.2
"""Of rotation and, independently, of scaling (nnU-Net)."""

BLUR_VOXELS = (0.5, 1.0)
"""Standard deviation of the blur along each axis (nnU-Net)."""

NO_BLUR_VOXELS = 0.05
"""So narrow that the library's kernel is a single voxel."""

SOURCE_MARGIN = 1.25
"""The patch is cut from a region this much wider, so that a rotated patch is not filled up with padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One sample.

    Attributes:
        image: (C, I, J, K) float32.
        guidance: (2 L, I, J, K) float32 in [0, 1].
        label: (I, J, K) uint8.
    """

    image: npt.NDArray[np.float32]
    guidance: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Augmentation:
    """The transforms, made once for a patch size.

    Attributes:
        spatial: changes image, guidance and label alike.
        intensity: changes the image; clicks have no noise of the scanner.
    """

    spatial: Any
    intensity: Any

    def apply(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Augment a patch of `find_source_shape` and cut it to the patch size.

        The library draws from numpy's and torch's global generators. They are seeded here from `rng`, so that a
        sample depends on nothing else.
        """
        import torch

        np.random.seed(int(rng.integers(2**32)))
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        data = {
            # a copy, because some transforms of intensities work in place
            "image": torch.tensor(patch.image),
            "regression_target": torch.from_numpy(patch.guidance),
            "segmentation": torch.from_numpy(patch.label[None].astype(np.int16)),
        }
        data = self.intensity(**self.spatial(**data))
        label = data["segmentation"][0].numpy().astype(np.uint8)
        return Patch(data["image"].numpy(), data["regression_target"].numpy(), label)


def find_source_shape(patch: Shape) -> Shape:
    """Give the shape of the region that a patch is cut from."""
    edges = [1 if n == 1 else int(np.ceil(SOURCE_MARGIN * n)) for n in patch]
    return to_triple(edges)


def make_augmentation(
    patch: Shape, *, mirror_axes: Sequence[int] = (0, 1, 2), spacing_mm: Spacing = (1.0, 1.0, 1.0)
) -> Augmentation:
    """Make the transforms: rotation, scaling, mirroring; noise, blur, brightness, contrast, low resolution, gamma.

    Probabilities and ranges are nnU-Net's. An axis of one voxel (2D) is neither rotated into nor mirrored.

    Args:
        patch: voxels along (i, j, k).
        mirror_axes: that may be mirrored, of the plan.
        spacing_mm: of the grid that patches are cut from.
    """
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    spatial = _make_spatial(patch, mirror_axes, spacing_mm)
    return Augmentation(ComposeTransforms(spatial), ComposeTransforms(_make_intensity(patch)))


def defer_augmentation() -> Augmentation:
    """Make transforms that change nothing and leave patches as wide as their source: the device augments them."""
    return Augmentation(_keep, _keep)


def _keep(**data: Any) -> dict[str, Any]:
    return data


def _make_spatial(patch: Shape, mirror_axes: Sequence[int], spacing_mm: Spacing) -> list[Any]:
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    spatial = SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=SPATIAL_PROBABILITY,
        rotation=_Angle(tuple(ROTATION_RAD if _turns_in(patch, spacing_mm, axis) else 0.0 for axis in range(3))),
        p_scaling=SPATIAL_PROBABILITY,
        scaling=SCALING,
        p_synchronize_scaling_across_axes=1,
    )
    mirror = MirrorTransform(allowed_axes=tuple(axis for axis in mirror_axes if patch[axis] > 1))
    return [spatial, mirror]


@dataclass(frozen=True, slots=True)
class _Angle:
    """Draws an angle about an axis; a class, since processes that prepare batches get it by pickle."""

    limits: tuple[float, ...]

    def __call__(self, image: Any, dim: int) -> float:
        del image
        return float(np.random.uniform(-self.limits[dim], self.limits[dim]))


def _draw_blur(shape: Any, dim: int) -> float:
    # The library mirrors the image at its borders, which an axis of one voxel is too short for.
    return float(np.random.uniform(*BLUR_VOXELS)) if shape[dim] > 1 else NO_BLUR_VOXELS


def _turns_in(patch: Shape, spacing_mm: Spacing, axis: int) -> bool:
    """Whether rotating about `axis` keeps a single-voxel axis where it is and exchanges axes of like spacing."""
    a, b = (other for other in range(3) if other != axis)
    ratio = max(spacing_mm[a], spacing_mm[b]) / min(spacing_mm[a], spacing_mm[b])
    return min(patch[a], patch[b]) > 1 and ratio <= MOST_ANISOTROPY


def _make_intensity(patch: Shape) -> list[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    single = tuple(axis for axis in range(3) if patch[axis] == 1) or None
    gamma = {
        "gamma": BGContrast((0.7, 1.5)),
        "synchronize_channels": False,
        "p_per_channel": 1,
        "p_retain_stats": 1,
    }
    low_resolution = SimulateLowResolutionTransform(
        scale=(0.5, 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=single,
        p_per_channel=0.5,
    )
    contrast = ContrastTransform(
        BGContrast((0.75, 1.25)), preserve_range=True, synchronize_channels=False, p_per_channel=1
    )
    steps = [
        (GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
        (
            GaussianBlurTransform(_draw_blur, synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5),
            0.2,
        ),
        (
            MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), synchronize_channels=False, p_per_channel=1),
            0.15,
        ),
        (contrast, 0.15),
        (low_resolution, 0.25),
        (GammaTransform(p_invert_image=1, **gamma), 0.1),
        (GammaTransform(p_invert_image=0, **gamma), 0.3),
    ]
    return [RandomTransform(transform, apply_probability=probability) for transform, probability in steps]
