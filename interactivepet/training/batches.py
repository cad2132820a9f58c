"""Draw patches with clicks from preprocessed cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase

from interactivepet.core.ensemble import ClickMode
from interactivepet.core.geometry import BoundingBox, Shape, Spacing, to_triple
from interactivepet.core.plan import Plan
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.arrays import open_array
from interactivepet.guidance.encode import encode_mask, encode_sign
from interactivepet.guidance.simulate import draw_inside, draw_negative
from interactivepet.training.augment import Augmentation, Patch, find_source_shape
from interactivepet.training.distributed import ALONE, Ranks

__all__ = ["PatchLoader", "StoredCase", "draw_clicks", "encode_patch", "load_cases"]

CoarseMask = npt.NDArray[np.uint8]

MOST_EXTRA_CLICKS = 4
"""Positive and, independently, negative clicks that a sample of the share `more` gets at most."""

NEGATIVE_DISTANCE_VOXELS = 4.0
"""Negative clicks fall within this many voxels of an object, where a network spills."""

VoxelClicks = tuple[tuple[npt.NDArray[np.float64], int, bool], ...]
"""Continuous voxel index (3,), label value and sign of each click."""


@dataclass(frozen=True)
class StoredCase:
    """A preprocessed case on disk, opened whenever it is needed.

    Attributes:
        record: what lies beside the volume.
        path: of the volume.
        coarse_paths: of the first step's masks by click mode, when this is the second step of a cascade.
        guided: the box of those masks and of the clicks.
    """

    record: CaseRecord
    path: Path
    coarse_paths: Mapping[ClickMode, Path] = field(default_factory=dict)
    guided: BoundingBox | None = None

    @property
    def volume(self) -> Any:
        """(C + 1, I, J, K) float32: the channels, then the label. Not kept: an open file holds more than a megabyte."""
        return open_array(self.path, command="interactivepet_plan_and_process")

    @cached_property
    def clicks(self) -> VoxelClicks:
        """The stored clicks on the resampled grid."""
        geometry = self.record.resampled.geometry()
        return tuple((geometry.to_voxel(c.position_mm), c.label, c.is_positive) for c in self.record.clicks)

    def load_coarse(self, mode: ClickMode) -> CoarseMask | None:
        """Load the first step's mask (I, J, K) of label values on the resampled grid; None without a first step."""
        return self._open_coarse(mode)[0] if self.coarse_paths else None

    def _open_coarse(self, mode: ClickMode) -> Any:
        """Open the first step's mask (1, I, J, K), which is read by box."""
        return open_array(self.coarse_paths[mode], command="interactivepet_train -c 3d_cascade")

    @property
    def region(self) -> BoundingBox:
        """The part that patches are drawn from: all of the volume, or what the second step of a cascade looks at."""
        return self.guided or BoundingBox((0, 0, 0), self.record.resampled.shape)

    def read(self, start: Shape, shape: Shape) -> npt.NDArray[np.float32]:
        """Read a region (C + 1, I, J, K) that may reach beyond the volume, where it is 0."""
        return BoundingBox.at(start, shape).cut(self.volume)

    def read_coarse(self, start: Shape, shape: Shape, *, mode: ClickMode) -> CoarseMask:
        """Read a region (I, J, K) of the first step's mask."""
        region: CoarseMask = BoundingBox.at(start, shape).cut(self._open_coarse(mode))[0]
        return region


class PatchLoader(SlimDataLoaderBase):  # type: ignore[misc]
    """An endless stream of batches, as `batchgenerators` has it."""

    def __init__(
        self,
        cases: Sequence[StoredCase],
        plan: Plan,
        *,
        seed: Sequence[int],
        augmentation: Augmentation | None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Prepare to draw.

        Args:
            cases: to draw from, each with the same probability unless the plan says otherwise.
            plan: patch and batch size, guidance and click sampling.
            seed: of everything that is drawn.
            augmentation: None for validation patches.
            ranks: the processes that share each batch; together they draw the samples that one would draw of a batch
                so many times as large.
        """
        super().__init__(cases, plan.training.batch_size)
        self._plan = plan
        self._augmentation = augmentation
        self._ranks = ranks
        self._n_samples = ranks.size * self.batch_size
        self._share = plan.training.foreground_share
        self._rng = np.random.default_rng(tuple(seed))
        self._classes = np.zeros(256, np.uint8)
        self._classes[list(plan.label_values)] = np.arange(1, 1 + len(plan.labels))
        self._positives = [case for case in cases if case.record.foreground]
        self._negatives = [case for case in cases if not case.record.foreground]
        self._source = plan.patch_size if augmentation is None else find_source_shape(plan.patch_size)

    def generate_train_batch(self) -> dict[str, npt.NDArray[Any]]:
        """Draw one batch: `data` (N, C + 3 L, I, J, K) float32 and `target` (N, I, J, K) uint8, `spacing_mm` (N, 3).

        The channels are image, guidance and previous mask; the last is the first step's in a cascade, else 0.
        The target counts the network's outputs: 0 is background, 1 the label of the smallest value.
        """
        # a stream for each sample, so that it does not matter which process draws it; forced ones are last
        streams = list(enumerate(self._rng.spawn(self._n_samples)))[self._ranks.rank :: self._ranks.size]
        n_forced = self._draw_n_forced()
        drawn = [self._draw(rng, on_foreground=i >= self._n_samples - n_forced) for i, rng in streams]
        patches, spacings = zip(*drawn, strict=True)
        shape = (self.batch_size, self._plan.network.input_channels, *patches[0].label.shape)
        data = np.zeros(shape, np.float32)
        for sample, patch in zip(data, patches, strict=True):
            n_image, n_drawn = len(patch.image), len(patch.image) + len(patch.guidance)
            sample[:n_image] = patch.image
            sample[n_image:n_drawn] = patch.guidance
        target = self._classes[np.stack([patch.label for patch in patches])]
        return {"data": data, "target": target, "spacing_mm": np.array(spacings, np.float32)}

    def _draw_n_forced(self) -> int:
        """Draw how many samples of the batch must hold a label, on average the planned share."""
        whole, part = divmod(self._share * self._n_samples, 1.0)
        return int(whole) + int(part > 0 and self._rng.random() < part)

    def _draw(self, rng: np.random.Generator, *, on_foreground: bool) -> tuple[Patch, Spacing]:
        pool = self._choose_pool(rng, on_foreground=on_foreground)
        case = pool[int(rng.integers(len(pool)))]
        start = _draw_start(case, self._source, patch=self._plan.patch_size, rng=rng, on_foreground=on_foreground)
        values = case.read(start, self._source)
        label = values[-1].astype(np.uint8)
        # the case's own spacing, as prediction has it: on a fixed grid the plan's is that of no case in particular
        spacing_mm = case.record.resampled.geometry().spacing_mm
        clicks = draw_clicks(case.clicks, start, label=label, plan=self._plan, spacing_mm=spacing_mm, rng=rng)
        guidance = encode_patch(clicks, self._source, plan=self._plan, spacing_mm=spacing_mm)
        if case.coarse_paths:
            # the first step saw no clicks or all stored ones; with some of them it is taken to have seen none
            mode: ClickMode = "extreme" if clicks and len(clicks) == len(case.clicks) else "none"
            coarse = case.read_coarse(start, self._source, mode=mode)
            guidance = np.concatenate((guidance, encode_mask(coarse, labels=self._plan.label_values)))
        patch = Patch(values[:-1], guidance, label)
        if self._augmentation is not None:
            patch = self._augmentation.apply(patch, rng)
        return patch, spacing_mm

    def _choose_pool(self, rng: np.random.Generator, *, on_foreground: bool) -> Sequence[StoredCase]:
        """Choose between cases with and without a label, so that the latter make up the planned share of samples.

        A patch that must hold a label can only come from a case that has one; the others make up for it.
        """
        negatives = self._plan.training.negatives
        if not self._negatives or not self._positives:
            return self._data  # type: ignore[no-any-return]
        if on_foreground or negatives == "exclude":
            return self._positives
        wanted = len(self._negatives) / len(self._data) if negatives == "keep" else negatives
        return self._negatives if rng.random() * (1.0 - self._share) < wanted else self._positives


def _draw_start(
    case: StoredCase, shape: Shape, *, patch: Shape, rng: np.random.Generator, on_foreground: bool
) -> Shape:
    """Draw where a region begins: centred on a labelled voxel, or anywhere with the patch inside if it fits.

    The patch is the middle of the region. The region may reach beyond the volume, or borders were hardly seen.
    """
    foreground = case.record.foreground
    if on_foreground and foreground:
        values = sorted(foreground)
        voxels = foreground[values[rng.integers(len(values))]]
        centre = voxels[rng.integers(len(voxels))]
        return to_triple(c - s // 2 for c, s in zip(centre, shape, strict=True))
    region = case.region.widened(patch, within=case.record.resampled.shape)
    slack = [n - p for n, p in zip(region.shape, patch, strict=True)]
    first = [a + int(rng.integers(min(0, s), max(0, s) + 1)) for a, s in zip(region.start, slack, strict=True)]
    return to_triple(f - (s // 2 - p // 2) for f, s, p in zip(first, shape, patch, strict=True))


def draw_clicks(
    stored: VoxelClicks,
    start: Shape,
    *,
    label: npt.NDArray[np.uint8],
    plan: Plan,
    spacing_mm: Spacing,
    rng: np.random.Generator,
) -> VoxelClicks:
    """Draw the clicks that one sample sees, so that one network serves none, six or more.

    Args:
        stored: the case's clicks on the resampled grid.
        start: of the region in that grid.
        label: (I, J, K) of the region.
        plan: shares and noise.
        spacing_mm: of the case on that grid.
        rng: the source of chance.

    Returns:
        Clicks in the region's own voxel indices; those outside of it may still reach in.
    """
    sampling = plan.training.clicks
    draw = rng.random()
    if draw < sampling.none:
        return ()
    extreme = stored
    extra: VoxelClicks = ()
    if draw >= sampling.none + sampling.extreme:
        share = rng.random()
        extreme = tuple(click for click in stored if rng.random() < share)
        extra = _draw_extra(label, plan, spacing_mm=spacing_mm, rng=rng)
    # a 2D image has no depth to err in
    noise = sampling.noise_mm / np.asarray(spacing_mm) * (np.asarray(plan.patch_size) > 1)
    moved = tuple((p - start + rng.normal(0.0, noise), value, sign) for p, value, sign in extreme)
    return moved + extra


def _draw_extra(
    label: npt.NDArray[np.uint8], plan: Plan, *, spacing_mm: Spacing, rng: np.random.Generator
) -> VoxelClicks:
    """Draw positive clicks inside and negative clicks beside each label that the region holds."""
    distance = NEGATIVE_DISTANCE_VOXELS * min(mm for mm, n in zip(spacing_mm, label.shape, strict=True) if n > 1)
    drawn: list[tuple[npt.NDArray[np.float64], int, bool]] = []
    for value in plan.label_values:
        mask = label == value
        if not mask.any():
            continue
        n_inside, n_outside = rng.integers(MOST_EXTRA_CLICKS + 1, size=2)
        inside = draw_inside(mask, n=int(n_inside), rng=rng)
        outside = draw_negative(mask, n=int(n_outside), spacing_mm=spacing_mm, distance_mm=distance, rng=rng)
        drawn.extend((p.astype(np.float64), value, True) for p in inside)
        drawn.extend((p.astype(np.float64), value, False) for p in outside)
    return tuple(drawn)


def encode_patch(clicks: VoxelClicks, shape: Shape, *, plan: Plan, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Encode clicks given in the region's voxel indices as (2 L, I, J, K): a positive, then a negative map a label."""
    maps = []
    for value in plan.label_values:
        for wanted in (True, False):
            points = [p for p, label, sign in clicks if label == value and sign is wanted]
            maps.append(
                encode_sign(
                    np.asarray(points, np.float64).reshape(-1, 3),
                    shape,
                    spacing_mm=spacing_mm,
                    guidance=plan.guidance,
                    is_positive=wanted,
                )
            )
    return np.stack(maps)


def load_cases(folder: Path, records: Mapping[str, CaseRecord]) -> list[StoredCase]:
    """Pair each record with its volume in `folder`."""
    return [StoredCase(record, folder / f"{name}.b2nd") for name, record in records.items()]
