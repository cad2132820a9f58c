"""Cases as nnInteractive's sessions see them: in their own voxels, one channel, objects numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import Permutation
from interactivepet.core.case import Case
from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.preprocessed import CaseRecord, GridRecord
from interactivepet.guidance.objects import find_depth_mm
from interactivepet.preprocessing.pipeline import sample_foreground

__all__ = ["PromptCase", "make_prompt_case", "make_record"]

FloatArray = npt.NDArray[np.float32]
Voxel = tuple[int, int, int]

SMALLEST_STD = 1e-6
"""Keeps an image without contrast finite."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptCase:
    """One case ready to draw samples from.

    Attributes:
        image: (1, I, J, K) float32, normalised as a session does it.
        objects: (I, J, K), 0 or the number of a connected component of a label.
        voxels: number of an object -> its deepest voxel, then a random sample of its voxels.
    """

    image: FloatArray
    objects: npt.NDArray[np.uint16]
    voxels: dict[int, tuple[Voxel, ...]]


def make_prompt_case(case: Case, *, rng: np.random.Generator) -> PromptCase:
    """Normalise the first channel over the box of its non-zero voxels, and number the objects of all labels.

    Args:
        case: with its axes in the plan's order; without a label it has no objects.
        rng: draws the sample of each object's voxels.
    """
    image = case.image[0]
    box = BoundingBox.of(image != 0)
    inside = image if box is None else image[box.slices]
    std = float(inside.std(ddof=1)) if inside.size > 1 else 0.0
    normal = (image - inside.mean()) / max(std, SMALLEST_STD)
    objects = np.zeros(image.shape, np.uint16)
    label = objects if case.label is None else case.label
    for value in np.unique(label[label > 0]):
        found, _ = find_components(label == value)
        objects = np.where(found > 0, found + objects.max(), objects).astype(np.uint16)
    sample = sample_foreground(objects, rng)
    voxels = {number: (_find_middle(objects == number), *drawn) for number, drawn in sample.items()}
    return PromptCase(normal[None].astype(np.float32), objects, voxels)


def _find_middle(mask: npt.NDArray[np.bool_]) -> Voxel:
    """Find the deepest voxel of an object, counted in voxels as a session counts."""
    box = BoundingBox.of(mask)
    start = (0, 0, 0) if box is None else box.start
    depth = find_depth_mm(mask if box is None else mask[box.slices], spacing_mm=(1.0, 1.0, 1.0))
    i, j, k = np.unravel_index(int(depth.argmax()), depth.shape)
    return (start[0] + int(i), start[1] + int(j), start[2] + int(k))


def make_record(case: Case, ready: PromptCase, *, axes: Permutation, made_from: str, volume_sha256: str) -> CaseRecord:
    """Describe a stored case; its foreground holds objects in place of labels, and nothing was cropped.

    Args:
        case: on the scanner's grid.
        ready: made of the case after its axes were permuted.
        axes: the permutation.
        made_from: stamp of the case's files.
        volume_sha256: of the stored voxels.
    """
    return CaseRecord(
        made_from=made_from,
        id=case.id,
        original=GridRecord.of(case.geometry),
        crop_start=(0, 0, 0),
        crop_stop=case.geometry.shape,
        resampled=GridRecord.of(case.geometry.permuted(axes)),
        has_label=case.label is not None,
        volume_sha256=volume_sha256,
        foreground=ready.voxels,
    )
