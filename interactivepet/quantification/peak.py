"""Peak uptake: the mean in a sphere of 1 ml, at the hottest voxel and where it is highest.

An image is (I, J, K) in any unit, a mask (I, J, K) bool on the same grid with at least one voxel. The sphere holds the
voxels whose centres lie within its radius, also those outside of the mask; what lies outside of the grid does not
count.

Source:
    Image Biomarker Standardisation Initiative (IBSI), reference manual, local intensity features: local (VJGA) and
    global (0F91) intensity peak; Wahl et al. 2009, J Nucl Med 50 Suppl 1:122S (PERCIST), SUVpeak.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, FloatArray, Shape, Spacing, to_triple

__all__ = ["PEAK_RADIUS_MM", "PeakUptake", "measure_peaks"]

Mask = npt.NDArray[np.bool_]

PEAK_RADIUS_MM: Final = 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
"""Of a sphere of 1 ml, about 6.2 mm."""


class PeakUptake(NamedTuple):
    """Two peaks of one lesion, in the unit of the image."""

    local: float
    """Mean in the sphere around the hottest voxel; of several that are as hot, the highest mean."""
    best: float
    """Highest mean in a sphere around any voxel of the lesion: IBSI's global intensity peak."""


def measure_peaks(image: npt.NDArray[Any], mask: Mask, *, spacing_mm: Spacing) -> PeakUptake:
    """Measure the peaks of a lesion."""
    ball = _make_ball(spacing_mm)
    reach = to_triple(n // 2 for n in ball.shape)
    inside = BoundingBox.of(mask) or BoundingBox((0, 0, 0), to_triple(mask.shape))
    box = inside.grown(reach, to_triple(mask.shape))
    part, own = np.asarray(image[box.slices], dtype=np.float64), mask[box.slices]
    means = _sum_balls(part, ball) / np.maximum(np.rint(_sum_balls(np.ones(part.shape), ball)), 1)
    hottest = own & (part == part[own].max())
    return PeakUptake(*(_average_best(part, means, among, ball=ball) for among in (hottest, own)))


def _sum_balls(part: FloatArray, ball: Mask) -> FloatArray:
    """Sum up an image over the sphere around every voxel, by Fourier transform; outside of the image is 0.

    `scipy.signal.fftconvolve` does the same, but takes half a second to import.
    """
    from scipy.fft import irfftn, next_fast_len, rfftn

    shape = [next_fast_len(n + width - 1, real=True) for n, width in zip(part.shape, ball.shape, strict=True)]
    sums = irfftn(rfftn(part, shape) * rfftn(ball.astype(np.float64), shape), shape)
    index = tuple(slice(width // 2, width // 2 + n) for n, width in zip(part.shape, ball.shape, strict=True))
    return np.asarray(sums[index], np.float64)


def _average_best(part: FloatArray, means: FloatArray, among: Mask, *, ball: Mask) -> float:
    """Average the sphere with the highest mean; the Fourier transform finds it, but rounds its mean."""
    i, j, k = np.unravel_index(int(np.where(among, means, -np.inf).argmax()), means.shape)
    return _average_ball(part, (int(i), int(j), int(k)), ball=ball)


def _make_ball(spacing_mm: Spacing) -> Mask:
    """Give the voxels whose centres lie within the sphere around the middle one."""
    reach = [int(PEAK_RADIUS_MM // edge) for edge in spacing_mm]
    steps = [np.arange(-n, n + 1) * edge for n, edge in zip(reach, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*steps, indexing="ij")
    return np.asarray(x**2 + y**2 + z**2 <= PEAK_RADIUS_MM**2)


def _average_ball(image: npt.NDArray[Any], voxel: Shape, *, ball: Mask) -> float:
    """Average the image over a sphere around a voxel, as far as it lies in the grid."""
    reach = to_triple(n // 2 for n in ball.shape)
    whole = BoundingBox.at(to_triple(v - n for v, n in zip(voxel, reach, strict=True)), to_triple(ball.shape))
    box = BoundingBox.of_voxel(voxel).grown(reach, to_triple(image.shape))
    return float(image[box.slices][ball[box.slices_in(whole)]].mean(dtype=np.float64))
