"""Normal organs that lesions are compared with: liver and blood pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, to_triple
from interactivepet.core.measures import Organ, ReferenceUptake
from interactivepet.errors import CaseError

__all__ = ["ReferenceSphere", "measure_reference", "suggest_deauville", "threshold_percist"]

MARKED_UPTAKE: Final = 2.0
"""Score 5 begins at 2 to 3 times the maximum of the liver (Barrington 2014); the lower bound is taken."""


@dataclass(frozen=True, slots=True)
class ReferenceSphere:
    """Where a normal organ is measured.

    Attributes:
        centre_mm: in RAS+ mm.
        diameter_mm: above 0.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float

    def __str__(self) -> str:
        """Give size and place in words."""
        return f"sphere of {self.diameter_mm:g} mm at ({', '.join(f'{v:g}' for v in self.centre_mm)}) in RAS+ mm"


def measure_reference(image: npt.NDArray[Any], sphere: ReferenceSphere, *, geometry: Geometry) -> ReferenceUptake:
    """Measure a normal organ in a sphere.

    PERCIST takes 30 mm in the right lobe of the liver, and for the blood pool a cylinder of 10 mm in the descending
    aorta (Wahl et al. 2009, J Nucl Med 50 Suppl 1:122S).

    Args:
        image: (I, J, K) in any unit.
        sphere: voxels count whose centres lie within it.
        geometry: the grid of the image.

    Returns:
        Mean, standard deviation (of the voxels, not of the mean) and maximum in the unit of the image.

    Raises:
        CaseError: the sphere reaches out of the grid, holds no voxel centre, or its mean is not positive.
    """
    box = _find_box(sphere, geometry)
    index = np.stack(np.meshgrid(*(np.arange(part.start, part.stop) for part in box.slices), indexing="ij"), axis=-1)
    distances_mm = np.linalg.norm(geometry.to_mm(index.reshape(-1, 3)) - np.asarray(sphere.centre_mm), axis=1)
    values = np.asarray(image[box.slices], np.float64).ravel()[distances_mm <= sphere.diameter_mm / 2]
    if values.size == 0:
        raise CaseError(f"{sphere} holds no centre of a voxel; give a larger diameter")
    if not values.mean() > 0:
        raise CaseError(
            f"{sphere} holds a mean uptake of {values.mean():.3g}, expected uptake above 0; place it inside the organ"
        )
    sd = float(values.std(ddof=1)) if values.size > 1 else None
    return ReferenceUptake(mean=float(values.mean()), sd=sd, maximum=float(values.max()))


def _find_box(sphere: ReferenceSphere, geometry: Geometry) -> BoundingBox:
    """Find the voxels around a sphere; refuse one that reaches out of the grid."""
    shape = np.asarray(geometry.shape)
    middle = geometry.to_voxel(sphere.centre_mm)
    reach = sphere.diameter_mm / 2 / np.asarray(geometry.spacing_mm)
    # An image of one slice has no extent along the third axis to stay within.
    is_outside = (shape > 1) & ((middle - reach < -0.5) | (middle + reach > shape - 0.5))
    if is_outside.any():
        raise CaseError(f"{sphere} reaches out of the image; give a centre in RAS+ mm within it")
    lowest = np.clip(np.floor(middle - reach), 0, shape - 1)
    highest = np.clip(np.ceil(middle + reach), 0, shape - 1)
    return BoundingBox(to_triple(int(n) for n in lowest), to_triple(int(n) + 1 for n in highest))


def threshold_percist(reference: ReferenceUptake, organ: Organ) -> float | None:
    """Give the SULpeak from which a lesion is measurable in PERCIST 1.0; None without a standard deviation.

    1.5 x mean + 2 SD of the liver; where the liver is diseased, 2 x mean + 2 SD of the blood pool (Wahl et al. 2009,
    J Nucl Med 50 Suppl 1:122S; O et al. 2016, Radiology 280:576). Only SUL has this meaning.
    """
    factor = 1.5 if organ == "liver" else 2.0
    return None if reference.sd is None else factor * reference.mean + 2.0 * reference.sd


def suggest_deauville(maximum: float, *, liver_maximum: float, blood_pool_maximum: float) -> int:
    """Suggest a Deauville score for lymphoma from the hottest lesion; never a diagnosis.

    2: not above the blood pool (where that is hotter than the liver: not above the liver). 3: above it, not above the
    liver. 4: above the liver. 5: from twice the liver on. Score 1 (no uptake) and new lesions, which are 5, cannot be
    told from a number.

    Args:
        maximum: of the hottest lesion.
        liver_maximum: in a large region of normal liver, same unit.
        blood_pool_maximum: in the mediastinum, same unit.

    Source:
        Barrington et al. 2014, J Clin Oncol 32:3048, who compare maxima; the scale itself is read by eye.
    """
    if maximum <= min(blood_pool_maximum, liver_maximum):
        return 2
    if maximum <= liver_maximum:
        return 3
    return 4 if maximum < MARKED_UPTAKE * liver_maximum else 5
