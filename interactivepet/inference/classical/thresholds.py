"""Thresholds of PET: a share of the maximum, a fixed SUV, and one that follows the contrast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, to_triple

__all__ = ["MARGIN_MM", "find_background", "find_nestle_threshold", "find_share_threshold"]

MARGIN_MM = 10.0
"""Width of the layer around an object's box in which the background is measured: past the blur of the scanner."""

NESTLE_SHARE = 0.15
"""Nestle's beta."""

NESTLE_CORE = 0.7
"""Share of the maximum above which voxels count for the mean uptake of a lesion."""

FloatArray = npt.NDArray[np.float32]


def find_share_threshold(values: FloatArray, share: float) -> float:
    """Give a share of the maximum, such as 0.41.

    41 % and 50 % are those of the EANM's guideline for tumour PET (Boellaard et al. 2015, Eur J Nucl Med Mol Imaging
    42:328); 41 % goes back to phantom spheres (Erdi et al. 1997, Cancer 80:2505).

    Args:
        values: (i, j, k) float32 of the region, in any unit.
        share: of the maximum, above 0 and below 1.

    Returns:
        The threshold in the unit of the values.
    """
    return share * float(values.max())


def find_nestle_threshold(values: FloatArray, background: float) -> float:
    """Give the threshold that follows the contrast.

    0.15 times the mean of the voxels above 70 % of the maximum, plus the background (Nestle et al. 2005, J Nucl Med
    46:1342).

    Args:
        values: (i, j, k) float32 of the region, in any unit.
        background: mean of the surroundings, in the same unit.

    Returns:
        The threshold in the same unit.
    """
    core = values[values >= NESTLE_CORE * values.max()]
    # without positive uptake no voxel reaches the share; the maximum then stands for the mean
    mean = float(core.mean()) if core.size else float(values.max())
    return NESTLE_SHARE * mean + background


def find_background(image: FloatArray, box: BoundingBox, *, geometry: Geometry) -> float:
    """Measure the mean of the layer of `MARGIN_MM` around a box; of the box's own lower half where there is no layer.

    Args:
        image: (I, J, K) float32.
        box: the region of an object.
        geometry: of the image.

    Returns:
        The mean in the unit of the image.
    """
    margin = to_triple(
        0 if n == 1 else int(np.ceil(MARGIN_MM / mm)) for n, mm in zip(geometry.shape, geometry.spacing_mm, strict=True)
    )
    outer = box.grown(margin, within=geometry.shape)
    around = np.ones(outer.shape, np.bool_)
    around[box.slices_in(outer)] = False
    values = image[outer.slices]
    if not around.any():
        return float(values[values <= np.median(values)].mean())
    return float(values[around].mean())
