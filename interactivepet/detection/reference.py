"""Normal uptake to compare with: the liver, the blood pool, or a sphere that the user names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Geometry, to_triple
from interactivepet.detection.body import Body, cut_to_body, find_body
from interactivepet.detection.scan import BoolVolume, Scan, Volume, make_scan

__all__ = [
    "Liver",
    "Reference",
    "find_blood_pool",
    "find_liver",
    "measure_liver",
    "measure_sphere",
    "percist_threshold",
    "take_liver",
]

SPHERE_MM = 15.0
"""Radius of PERCIST's sphere in the right lobe of the liver: 3 cm across (Wahl et al. 2009, J Nucl Med 50:122S)."""

LOCAL_MM = 9.0
"""Standard deviation of the Gaussian within which uptake must be even."""

MOST_VARIATION = 0.3
"""Largest coefficient of variation of the liver within that Gaussian, noise included."""

UPTAKE = (2.0, 12.0)
"""Uptake of the liver as a multiple of the body's median."""

THICK_MM = (44.0, 36.0, 28.0)
"""Thickness of the evenly bright part at least, the first at which there is one: more than vessels and muscles have,
less than a liver."""

SMALLEST_LIVER_ML = 150.0
"""Volume of the evenly bright middle of a liver at least; of an adult it has about 700 of 1500 ml."""

EDGE_MM = 10.0
"""Outer layer of a liver's mask that is left out: breathing and blur mix other tissue into it."""

DOME_MM, POOL_MM = (70.0, 160.0), 25.0
"""How far above the middle of the liver the blood pool is measured, and how far from the body's middle."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Uptake of normal tissue.

    Attributes:
        name: of the tissue.
        mean: in the unit of the image.
        spread: standard deviation between voxels.
    """

    name: str
    mean: float
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class Liver:
    """The liver of a scan.

    Attributes:
        reference: uptake in a sphere of 3 cm in its right lobe.
        core: (X, Y, Z) bool, where its uptake is even.
        centre_mm: of the core, along x, y, z from the first voxel.
    """

    reference: Reference
    core: BoolVolume
    centre_mm: tuple[float, float, float]


def find_liver(scan: Scan, body: Body) -> Liver | None:
    """Find the liver without CT: the largest part of the body's right half that is bright and even.

    Brain, bladder and tumours are smaller or uneven, the spleen lies on the left.

    Returns:
        The liver; None where the image shows none, as a cut-out of a leg does.
    """
    import edt

    mean, variation = _measure_evenness(scan)
    right_mm = np.arange(scan.values.shape[0])[:, None] * scan.spacing_mm[0] - body.middle_mm[None, :]
    low, high = (factor * body.level for factor in UPTAKE)
    is_even = body.mask & (mean > low) & (mean < high) & (variation < MOST_VARIATION) & (right_mm[:, None, :] > 0)
    deep = edt.edt(is_even, anisotropy=scan.spacing_mm, black_border=True)
    found = (_find_thickest(is_even, deep, scan, thick_mm=mm) for mm in THICK_MM)
    core = next((part for part in found if part.sum() * scan.voxel_ml >= SMALLEST_LIVER_ML), None)
    if core is None:
        return None
    return _describe_liver(scan, core)


def take_liver(scan: Scan, mask: BoolVolume) -> Liver | None:
    """Take the liver from a mask (X, Y, Z) of it; None where less than its smallest volume lies in the image."""
    import edt

    core = edt.edt(mask, anisotropy=scan.spacing_mm) >= EDGE_MM
    return _describe_liver(scan, core) if core.sum() * scan.voxel_ml >= SMALLEST_LIVER_ML else None


def measure_liver(image: Volume, geometry: Geometry) -> Reference | None:
    """Measure the liver of an image (I, J, K) in any unit; None where none is seen."""
    full = make_scan(image, geometry)
    seen = find_body(full)
    liver = None if seen is None else find_liver(*cut_to_body(full, seen))
    return None if liver is None else liver.reference


def _describe_liver(scan: Scan, core: BoolVolume) -> Liver:
    x, y, z = (np.argwhere(core) * np.asarray(scan.spacing_mm)).mean(axis=0).tolist()
    return Liver(_measure_core(scan, core), core, (x, y, z))


def find_blood_pool(scan: Scan, body: Body, liver: Liver) -> Reference | None:
    """Estimate the blood pool: the median of the mediastinum, between spine and sternum above the liver.

    Heart muscle and nodes are brighter and lungs darker, so that the median is that of blood and its vessels.

    Returns:
        None where the image ends below.
    """
    x, y, z = (np.arange(n) * mm for n, mm in zip(scan.values.shape, scan.spacing_mm, strict=True))
    up = z - liver.centre_mm[2]
    depth = (y[:, None] - body.back_mm[None, :]) / np.maximum(body.depth_mm[None, :], 1.0)
    inside = (np.abs(x[:, None] - body.middle_mm[None, :]) < POOL_MM)[:, None, :] & (
        (depth > 0.35) & (depth < 0.7) & ((up > DOME_MM[0]) & (up < DOME_MM[1]))[None, :]
    )[None]
    values = scan.values[inside & body.mask]
    if values.size * scan.voxel_ml < 20:
        return None
    median = float(np.median(values))
    return Reference("blood pool", median, 1.4826 * float(np.median(np.abs(values - median))))


def measure_sphere(
    image: Volume, geometry: Geometry, *, centre_mm: tuple[float, float, float], name: str
) -> Reference | None:
    """Measure a sphere of 3 cm that the user places, such as in the liver.

    Args:
        image: (I, J, K) float32.
        geometry: its grid.
        centre_mm: in RAS+ mm.
        name: of the tissue.

    Returns:
        Mean and standard deviation; None when the centre is outside of the image.
    """
    if not geometry.contains(centre_mm):
        return None
    margin = to_triple(int(np.ceil(SPHERE_MM / mm)) for mm in geometry.spacing_mm)
    box = BoundingBox.of_voxel(geometry.find_voxel(centre_mm)).grown(margin, within=geometry.shape)
    places = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)), indexing="ij"))
    offsets = np.moveaxis(places, 0, -1) - geometry.to_voxel(centre_mm)
    values = image[box.slices][np.linalg.norm(offsets * np.asarray(geometry.spacing_mm), axis=-1) <= SPHERE_MM]
    return _describe(name, values) if values.size else None


def percist_threshold(reference: Reference) -> float:
    """Give the uptake from which a lesion counts by PERCIST 1.0 (Wahl et al. 2009, J Nucl Med 50:122S, table 7).

    1.5 times the liver plus two standard deviations; twice the blood pool plus two where the liver is diseased. PERCIST
    uses SUV by lean body mass; as lesion and reference are in the same image, the factor between both is the same.
    """
    factor = 2.0 if reference.name == "blood pool" else 1.5
    return factor * reference.mean + 2.0 * reference.spread


def _find_thickest(mask: BoolVolume, deep: Volume, scan: Scan, *, thick_mm: float) -> BoolVolume:
    """Take the largest part that is so thick, without what only touches it: vessels and muscles are thin.

    Args:
        mask: (X, Y, Z) bool.
        deep: (X, Y, Z) distance in mm to what is outside of it.
        scan: gives the size of voxels.
        thick_mm: of the part.
    """
    import edt

    parts, n = find_components(deep >= thick_mm / 2, connectivity=6)
    if n == 0:
        return np.zeros_like(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    near = edt.edt(parts != sizes.argmax(), anisotropy=scan.spacing_mm) < thick_mm / 2
    return np.asarray(near & mask)


def _measure_evenness(scan: Scan) -> tuple[Volume, Volume]:
    """Measure mean and coefficient of variation around every voxel."""
    from scipy import ndimage

    sigma = [LOCAL_MM / mm for mm in scan.spacing_mm]
    mean = ndimage.gaussian_filter(scan.values, sigma)
    square = ndimage.gaussian_filter(scan.values**2, sigma)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, np.asarray(spread / np.maximum(mean, 1e-6))


def _measure_core(scan: Scan, core: BoolVolume) -> Reference:
    """Measure PERCIST's sphere where it is deepest in the core."""
    import edt

    deep = edt.edt(core, anisotropy=scan.spacing_mm, black_border=True)
    place = np.array(np.unravel_index(int(deep.argmax()), deep.shape))
    offset = (np.argwhere(core) - place) * np.asarray(scan.spacing_mm)
    near = np.linalg.norm(offset, axis=1) <= SPHERE_MM
    return _describe("liver", scan.values[core][near])


def _describe(name: str, values: npt.NDArray[np.float32]) -> Reference:
    return Reference(name, float(values.mean()), float(values.std()))
