"""Draw samples for a promptable network: an object to be found, and now and then a mask to be corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.core.promptable import PromptablePlan
from interactivepet.training.augment import Augmentation, Patch, find_source_shape
from interactivepet.training.batches import StoredCase
from interactivepet.training.promptable.masks import draw_initial_mask

__all__ = ["draw_prompt_batch"]

FloatArray = npt.NDArray[np.float32]

MIDDLE_SHARE = 0.5
"""Share of the samples around the deepest voxel of their object, where users click; the others take any voxel."""

OFF_CENTRE_SHARE = 0.2
"""Share of the samples whose patch is not centred on a voxel of the object, as in refinement patches."""

UNION_SHARE = 0.1
"""Share of the samples that ask for two objects at once, when the patch holds them."""

MASK_SHARE = 0.15
"""Share of the samples that begin with an initial mask."""

ZOOM_SHARE = 0.2
"""Share of the samples that are seen from afar, as sessions do it with objects larger than the patch."""

LARGEST_ZOOM = 3.0

BRIGHTNESS, SHIFT = (0.7, 1.4), 0.3
"""Factor and summand of the image: its normalisation depends on the field of view."""


def draw_prompt_batch(
    cases: Sequence[StoredCase],
    plan: PromptablePlan,
    *,
    seed: Sequence[int],
    augmentation: Augmentation | None,
) -> dict[str, npt.NDArray[np.generic]]:
    """Draw one batch.

    Args:
        cases: to draw from, in their own voxels; those without objects are left out.
        plan: patch and batch size.
        seed: of everything that is drawn.
        augmentation: None for validation: the middles of objects, without masks and zoom.

    Returns:
        `data` (N, 3, I, J, K) float32: image, initial mask, and the zoom everywhere; `target` (N, I, J, K)
        uint8: 1 the object that is asked for, 0 all else.
    """
    rng = np.random.default_rng(tuple(seed))
    known = [case for case in cases if case.record.foreground]
    samples = [
        _draw_sample(known[int(rng.integers(len(known)))], plan, augmentation=augmentation, rng=rng)
        for _ in range(plan.training.batch_size)
    ]
    return {
        "data": np.stack([data for data, _ in samples]),
        "target": np.stack([target for _, target in samples]),
    }


def _draw_sample(
    case: StoredCase, plan: PromptablePlan, *, augmentation: Augmentation | None, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    numbers = sorted(case.record.foreground)
    number = numbers[int(rng.integers(len(numbers)))]
    voxels = case.record.foreground[number]
    if augmentation is None:
        image, objects = _read(case, np.array(voxels[0]), plan.patch_size, zoom=1.0)
        return _join(image, np.zeros_like(image), 1.0), (objects == number).astype(np.uint8)
    zoom = float(rng.uniform(1.0, LARGEST_ZOOM)) if rng.random() < ZOOM_SHARE else 1.0
    centre = np.array(voxels[0] if rng.random() < MIDDLE_SHARE else voxels[rng.integers(len(voxels))])
    if rng.random() < OFF_CENTRE_SHARE:
        reach = zoom * np.array(plan.patch_size) / 4
        centre = centre + np.rint(rng.uniform(-reach, reach)).astype(int)
    image, objects = _read(case, centre, find_source_shape(plan.patch_size), zoom=zoom)
    label = _choose_target(objects, number, rng)
    mask = draw_initial_mask(label, rng) if rng.random() < MASK_SHARE else np.zeros_like(image)
    patch = augmentation.apply(Patch(image[None], mask[None], (label == 1).astype(np.uint8)), rng)
    return _turn(patch, zoom, rng)


def _choose_target(objects: npt.NDArray[np.integer], number: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Mark the object that is asked for with 1, now and then another one too, and all others with 2."""
    wanted = [number]
    others = [other for other in np.unique(objects[objects > 0]) if other != number]
    if others and rng.random() < UNION_SHARE:
        wanted.append(others[int(rng.integers(len(others)))])
    return np.where(np.isin(objects, wanted), 1, 2 * (objects > 0)).astype(np.uint8)


def _turn(patch: Patch, zoom: float, rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """Exchange axes, since user interfaces order them as they like, and change the image's scale."""
    image = patch.image[0] * rng.uniform(*BRIGHTNESS) + rng.uniform(-SHIFT, SHIFT)
    data = _join(image.astype(np.float32), patch.guidance[0], zoom)
    order = rng.permutation(3) if len(set(patch.label.shape)) == 1 else np.arange(3)
    turned = np.ascontiguousarray(data.transpose(0, *(1 + order)))
    return turned, np.ascontiguousarray(patch.label.transpose(order))


def _join(image: FloatArray, mask: FloatArray, zoom: float) -> FloatArray:
    return np.stack((image, mask, np.full_like(image, zoom)))


def _read(
    case: StoredCase, centre: npt.NDArray[np.intp], shape: Shape, *, zoom: float
) -> tuple[FloatArray, npt.NDArray[np.integer]]:
    """Read image and objects around a voxel, `zoom` times coarser; outside of the volume both are 0."""
    start = to_triple(int(c) - round(zoom * n) // 2 for c, n in zip(centre, shape, strict=True))
    region = BoundingBox.at(start, to_triple(round(zoom * n) for n in shape))
    image, objects = np.zeros((2, *shape), np.float32)
    inner = region.intersection(BoundingBox.at((0, 0, 0), case.record.resampled.shape))
    if inner is not None:
        first = to_triple(round((a - b) / zoom) for a, b in zip(inner.start, start, strict=True))
        # a volume that is far away may be thinner than a coarse voxel
        size = to_triple(min(max(round(m / zoom), 1), n - a) for m, n, a in zip(inner.shape, shape, first, strict=True))
        values = case.read(inner.start, inner.shape)
        place = BoundingBox.at(first, size).slices
        image[place] = _shrink(values[0], size, order=1)
        objects[place] = _shrink(values[-1], size, order=0)
    return image, np.rint(objects).astype(np.int32)


def _shrink(values: FloatArray, shape: Shape, *, order: Literal[0, 1]) -> FloatArray:
    if values.shape == shape:
        return values
    factors = np.array(shape) / np.array(values.shape)
    shrunk = ndimage.zoom(values, factors, order=order, prefilter=False, grid_mode=True, mode="nearest")
    return shrunk.astype(np.float32, copy=False)
