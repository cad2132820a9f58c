"""Candidate regions: local maxima that stand out, each with the voxels that belong to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.detection.scan import BoolVolume, Scan, Volume

__all__ = ["SHARE", "Candidate", "find_candidates", "make_candidate", "smooth"]

BLUR_MM = 2.5
"""Standard deviation of the Gaussian under which single voxels of noise are no maxima."""

PROMINENCE = 1.3
"""A maximum is one of its own when the way to a hotter one leads through uptake lower by this factor."""

SHARE = 0.41
"""Share of its maximum that a region's voxels have at least (Boellaard et al. 2015, Eur J Nucl Med Mol Imaging
42:328)."""

RING_MM = (6.0, 16.0)
"""Between these distances around a region its background is measured: past the blur of the scanner."""

LEAST_FREE = 0.2
"""Share of that layer that must not be bright, so that it is the background."""

Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A local maximum and its region, on the voxels of a scan.

    Attributes:
        box: that holds the region.
        mask: (x, y, z) bool within the box.
        voxel: the maximum.
        peak: smoothed uptake there.
        background: median around the region.
        volume_ml: of the region.
    """

    box: BoundingBox
    mask: BoolVolume
    voxel: Shape
    peak: float
    background: float
    volume_ml: float


def smooth(scan: Scan) -> Volume:
    """Smooth a scan so that noise makes no maxima."""
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(scan.values, [BLUR_MM / mm for mm in scan.spacing_mm]), np.float32)


def find_candidates(scan: Scan, values: Volume, *, threshold: float, mask: BoolVolume) -> tuple[Candidate, ...]:
    """Separate what is brighter than a threshold into the surroundings of its maxima.

    Maxima are those of prominence `PROMINENCE` (h-maxima of the logarithm). A watershed gives each its basin, of which
    the region keeps the voxels above the threshold and above `SHARE` of the maximum that are connected with it. So
    touching lesions are apart, and noise does not break one in pieces.

    Args:
        scan: gives size and volume of voxels.
        values: (X, Y, Z) smoothed uptake.
        threshold: in its unit.
        mask: (X, Y, Z) bool, where candidates may lie.

    Returns:
        The candidates, hottest first.
    """
    from skimage.segmentation import watershed

    bright = mask & (values >= threshold)
    if threshold <= 0 or not bright.any():
        return ()
    logs = np.log(np.maximum(values, threshold / 4), dtype=np.float32)
    maxima, _ = find_components(_find_maxima(logs, threshold) & bright)
    basins = watershed(-logs, markers=maxima.astype(np.int32), mask=bright).astype(np.intp)
    found = list(_cut_out(scan, values, basins))
    return tuple(sorted(found, key=lambda candidate: -candidate.peak))


def _find_maxima(logs: Volume, threshold: float) -> BoolVolume:
    """Mark the tops of the maxima that stand out; the floor stands out from nothing."""
    from skimage.morphology import reconstruction

    height = np.float32(np.log(PROMINENCE))
    filled = reconstruction(logs - height, logs)
    return np.asarray(logs - filled >= height * np.float32(0.999))


def _cut_out(scan: Scan, values: Volume, basins: Labels) -> Iterator[Candidate]:
    """Cut the region of every basin."""
    from scipy import ndimage

    for number, found in enumerate(ndimage.find_objects(basins), start=1):
        box = BoundingBox(to_triple(s.start for s in found), to_triple(s.stop for s in found))
        inside = np.where(basins[box.slices] == number, values[box.slices], 0)
        place = to_triple(int(p) for p in np.unravel_index(int(inside.argmax()), inside.shape))
        parts, _ = find_components(inside >= SHARE * inside[place])
        voxel = to_triple(p + start for p, start in zip(place, box.start, strict=True))
        yield make_candidate(scan, values, basins > 0, box=box, mask=parts == parts[place], voxel=voxel)


def make_candidate(
    scan: Scan, values: Volume, bright: BoolVolume, *, box: BoundingBox, mask: BoolVolume, voxel: Shape
) -> Candidate:
    """Measure a region.

    Args:
        scan: as of `find_candidates`.
        values: as of `find_candidates`.
        bright: (X, Y, Z) bool, what is no background.
        box: that holds the region.
        mask: (x, y, z) bool within the box, not empty.
        voxel: its maximum.
    """
    tight = BoundingBox.of(mask) or BoundingBox.at((0, 0, 0), box.shape)
    start = to_triple(a + b for a, b in zip(box.start, tight.start, strict=True))
    placed, region = BoundingBox.at(start, tight.shape), mask[tight.slices]
    background = _measure_background(scan, values, bright, region=region, box=placed)
    return Candidate(placed, region, voxel, float(values[voxel]), background, float(region.sum()) * scan.voxel_ml)


def _measure_background(
    scan: Scan, values: Volume, bright: BoolVolume, *, region: BoolVolume, box: BoundingBox
) -> float:
    """Measure the median of the layer around a region; without what is bright where enough else is left."""
    from scipy import ndimage

    i, j, k = values.shape
    margin = to_triple(int(np.ceil(RING_MM[1] / mm)) + 1 for mm in scan.spacing_mm)
    outer = box.grown(margin, within=(i, j, k))
    placed = np.zeros(outer.shape, np.bool_)
    placed[box.slices_in(outer)] = region
    distance = ndimage.distance_transform_edt(~placed, sampling=scan.spacing_mm)
    ring = (distance > RING_MM[0]) & (distance <= RING_MM[1])
    free = ring & ~bright[outer.slices]
    chosen = free if free.sum() >= LEAST_FREE * ring.sum() else ring
    return float(np.median(values[outer.slices][chosen])) if chosen.any() else 0.0
