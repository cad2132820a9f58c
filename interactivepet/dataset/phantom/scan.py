"""What a scanner makes of uptake: blur, counts, and the filter after reconstruction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interactivepet.core.geometry import Spacing
from interactivepet.dataset.phantom.anatomy import FloatArray

__all__ = ["blur", "count"]

FWHM_TO_SIGMA = 1 / (8 * np.log(2)) ** 0.5


def blur(values: FloatArray, fwhm_mm: float, *, spacing_mm: Sequence[float]) -> FloatArray:
    """Blur an image (I, J, K) with a Gaussian of that full width at half maximum."""
    from scipy.ndimage import gaussian_filter

    blurred: FloatArray = gaussian_filter(values, [fwhm_mm * FWHM_TO_SIGMA / mm for mm in spacing_mm], truncate=3.0)
    return blurred


def count(
    expected: FloatArray, *, counts_per_suv: float, filter_mm: float, spacing_mm: Spacing, rng: np.random.Generator
) -> FloatArray:
    """Count decays in every voxel, and filter the noise.

    Args:
        expected: (I, J, K) float32 uptake in SUV; values below 0 count as 0.
        counts_per_suv: in a voxel of SUV 1.
        filter_mm: FWHM of the filter; it gives the noise its grain.
        spacing_mm: of the voxels.
        rng: random numbers.

    Returns:
        (I, J, K) float32 in SUV.
    """
    scale = np.float32(counts_per_suv)
    counts = rng.poisson(np.maximum(expected, 0) * scale).astype(np.float32)
    return np.asarray(blur(counts, filter_mm, spacing_mm=spacing_mm) / scale, dtype=np.float32)
