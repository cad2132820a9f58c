"""Lesions of a mask, and what is measured in each of them.

A lesion is a connected component of one label: voxels that share a face, an edge or a corner belong together (26
neighbours), so lesions of two labels that touch stay two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import number_by_size
from interactivepet.core.geometry import BoundingBox, FloatArray, Geometry, to_triple
from interactivepet.quantification.peak import PEAK_RADIUS_MM, PeakUptake, measure_peaks
from interactivepet.quantification.shape import LesionShape, measure_shape

__all__ = ["SHARES_PERCENT", "Lesion", "find_lesions"]

SHARES_PERCENT: Final = (41, 50)
"""Of the lesion's maximum: the volume of its voxels that reach them is measured.

EANM's guideline for FDG tumour imaging (Boellaard et al. 2015, Eur J Nucl Med Mol Imaging 42:328) delineates at both.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion.

    Attributes:
        values: (N,) float64, uptake of its voxels in the unit of the image.
        centroid_mm: (3,) mean position of its voxels, each with the same weight, in RAS+ mm.
        voxel_volume_ml: volume of one voxel.
        peaks: mean uptake in 1 ml.
        shape: of the mesh around it.
    """

    values: FloatArray
    centroid_mm: FloatArray
    voxel_volume_ml: float
    peaks: PeakUptake
    shape: LesionShape

    @property
    def maximum(self) -> float:
        """Highest uptake of a voxel."""
        return float(self.values.max())

    @property
    def volume_ml(self) -> float:
        """Number of voxels times their volume."""
        return self.values.size * self.voxel_volume_ml

    def volume_above_ml(self, percent: float) -> float:
        """Volume of the voxels that reach a share of the lesion's own maximum."""
        return int(np.count_nonzero(self.values >= percent / 100 * self.maximum)) * self.voxel_volume_ml


def find_lesions(image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], *, geometry: Geometry) -> tuple[Lesion, ...]:
    """Measure every lesion of a mask, each within its own box.

    Args:
        image: (I, J, K) in any unit.
        mask: (I, J, K) bool.
        geometry: the grid of both.

    Returns:
        The largest first; of equal ones, the one whose first voxel has the lower index.
    """
    from scipy.ndimage import find_objects

    box = BoundingBox.of(mask)
    if box is None:
        return ()
    components, _ = number_by_size(mask[box.slices])
    lesions = []
    for number, parts in enumerate(find_objects(components), start=1):
        start = to_triple(part.start + first for part, first in zip(parts, box.start, strict=True))
        own = components[parts] == number
        lesions.append(_measure(image, own, BoundingBox.at(start, to_triple(own.shape)), geometry=geometry))
    return tuple(lesions)


def _measure(image: npt.NDArray[Any], own: npt.NDArray[np.bool_], box: BoundingBox, *, geometry: Geometry) -> Lesion:
    """Measure a lesion that fills the voxels `own` of a box."""
    # The spheres of the peak reach beyond the lesion.
    reach = to_triple(int(PEAK_RADIUS_MM // edge) for edge in geometry.spacing_mm)
    outer = box.grown(reach, geometry.shape)
    mask = np.zeros(outer.shape, np.bool_)
    mask[box.slices_in(outer)] = own
    part = image[outer.slices]
    return Lesion(
        values=np.asarray(part[mask], np.float64),
        centroid_mm=geometry.to_mm(np.argwhere(own).mean(axis=0) + box.start),
        voxel_volume_ml=geometry.voxel_volume_ml,
        peaks=measure_peaks(part, mask, spacing_mm=geometry.spacing_mm),
        shape=measure_shape(own, spacing_mm=geometry.spacing_mm),
    )
