"""The body in a PET image without CT: where it is, its middle, its front and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, to_triple
from interactivepet.detection.scan import BoolVolume, Scan

__all__ = ["Body", "cut_to_body", "find_body"]

BLUR_MM = 6.0
"""Standard deviation of the Gaussian under which noise in the air does not reach tissue."""

SMALLEST_PART = 0.01
"""Share of the body that a part apart from it, such as an arm, has at least."""

MARGIN_MM = 20.0
"""Air that is left at the sides."""

SMOOTH_MM = 60.0
"""Length along the body over which its outline is averaged."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Where the body is.

    Attributes:
        mask: (X, Y, Z) bool, holes such as lungs filled.
        middle_mm: (Z,) position of the body's middle along x, from the first voxel.
        back_mm: (Z,) position of the back along y.
        depth_mm: (Z,) length from back to front.
        level: median uptake of the body, in the unit of the image.
    """

    mask: BoolVolume
    middle_mm: FloatArray
    back_mm: FloatArray
    depth_mm: FloatArray
    level: float


def find_body(scan: Scan) -> Body | None:
    """Find the body: what is brighter than the air, by Otsu's threshold of the logarithm.

    Returns:
        The body; None where nothing is brighter than the rest.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    smooth = ndimage.gaussian_filter(scan.values, [BLUR_MM / mm for mm in scan.spacing_mm])
    top = float(np.percentile(smooth, 99))
    if top <= 0:
        return None
    logs = np.log(np.maximum(smooth, top / 1000))
    if np.ptp(logs) == 0:
        return None
    mask = _clean(logs > threshold_otsu(logs))
    if not mask.any():
        return None
    middle, back, depth = _measure_outline(mask, scan)
    return Body(mask, middle, back, depth, float(np.median(scan.values[mask])))


def cut_to_body(scan: Scan, body: Body) -> tuple[Scan, Body]:
    """Cut the air off at the sides, which is most of an image; all cross-sections stay."""
    box = BoundingBox.of(body.mask) or BoundingBox.at((0, 0, 0), scan.shape)
    margin = to_triple(round(MARGIN_MM / mm) for mm in scan.spacing_mm)
    grown = box.grown(margin, within=scan.shape)
    box = BoundingBox((*grown.start[:2], 0), (*grown.stop[:2], scan.shape[2]))
    middle = body.middle_mm - box.start[0] * scan.spacing_mm[0]
    back = body.back_mm - box.start[1] * scan.spacing_mm[1]
    return scan.cropped(box), replace(body, mask=body.mask[box.slices], middle_mm=middle, back_mm=back)


def _clean(mask: BoolVolume) -> BoolVolume:
    """Leave out noise, and fill the holes of every cross-section."""
    from scipy import ndimage

    parts, _ = find_components(mask, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    body: BoolVolume = (sizes >= max(1.0, SMALLEST_PART * sizes.max()))[parts]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, 2, 0)], axis=2)


def _measure_outline(mask: BoolVolume, scan: Scan) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Measure middle, back and depth in every cross-section, averaged along the body."""
    x, y, _ = (np.arange(n) * mm for n, mm in zip(mask.shape, scan.spacing_mm, strict=True))
    across, along = mask.sum(axis=1), mask.sum(axis=0)
    is_seen = across.any(axis=0)
    middle = np.full(mask.shape[2], np.nan)
    middle[is_seen] = (across * x[:, None]).sum(axis=0)[is_seen] / across.sum(axis=0)[is_seen]
    # the outermost voxels hold noise and arms: the back is where a twentieth of the cross-section lies behind
    share = np.cumsum(along, axis=0) / np.maximum(along.sum(axis=0), 1)
    back = np.where(is_seen, y[(share >= 0.02).argmax(axis=0)], np.nan)
    front = np.where(is_seen, y[(share >= 0.98).argmax(axis=0)], np.nan)
    return tuple(_smooth(values, scan.spacing_mm[2]) for values in (middle, back, front - back))  # type: ignore[return-value]


def _smooth(values: FloatArray, step_mm: float) -> FloatArray:
    from scipy import ndimage

    known = np.flatnonzero(np.isfinite(values))
    filled = np.interp(np.arange(values.size), known, values[known])
    size = max(1, round(SMOOTH_MM / step_mm))
    return np.asarray(ndimage.median_filter(filled, size=size, mode="nearest"))
