"""The lesions of a digital PET patient: how large, of which shape, how hot and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Spacing, to_triple
from interactivepet.dataset.phantom.anatomy import Box, FloatArray, find_range

__all__ = [
    "HOT_DISTANCE_MM",
    "Tumour",
    "choose_centre",
    "find_radius_mm",
    "measure_room",
    "measure_tumour",
    "sample_tumour",
]

DoubleArray = npt.NDArray[np.float64]

HOT_SUV = 2.9
"""Normal uptake above this could be taken for a lesion, so lesions keep away from it."""

HOT_DISTANCE_MM = 14.0
"""Free space between a lesion and hot organs or other lesions."""

SKIN_DISTANCE_MM = 6.0
"""Free space between a lesion and the skin."""

REACH = 1.5
"""A lobe reaches at most this many times as far as the radius of the sphere of the same volume."""

NECROSIS_ML = 10.0
"""Smaller lesions have no necrotic core."""

NECROTIC_SHARE = 0.2
"""Uptake of a necrotic core as a share of the rim's."""

SITES = np.array(
    # right, anterior, up, spread
    [
        (45, 10, 570, 12),
        (-45, 10, 570, 12),
        (115, 5, 500, 20),
        (-115, 5, 500, 20),
        (0, 20, 470, 25),
        (75, 0, 440, 40),
        (-80, -10, 460, 40),
        (75, 10, 325, 35),
        (0, -15, 290, 25),
        (0, -10, 180, 40),
        (0, -55, 300, 60),
        (85, -40, 75, 25),
        (-85, -40, 75, 25),
        (75, 10, 60, 30),
        (-75, 10, 60, 30),
    ],
    dtype=np.float32,
)
"""Neck, axillae, mediastinum, lungs, liver, retroperitoneum, spine, hips and pelvis; all in mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """A lobulated lesion, star-shaped about its centre.

    Attributes:
        volume_ml: of the whole shape, core included.
        suv: uptake outside of the core, on average.
        axes: (3, 3) of determinant 1, turns a sphere into the ellipsoid that the lobes sit on.
        waves: (N, 3) wave vectors of the lobes over the unit sphere.
        phases: (N,) in rad.
        core_share: radius of the necrotic core as a share of the outer one; 0 for none.
        contrast: share of the uptake by which it varies inside.
    """

    volume_ml: float
    suv: float
    axes: DoubleArray
    waves: DoubleArray
    phases: DoubleArray
    core_share: float
    contrast: float

    @property
    def reach_mm(self) -> float:
        """The furthest that any part may lie from the centre."""
        return REACH * find_radius_mm(self.volume_ml)


def find_radius_mm(volume_ml: float) -> float:
    """Give the radius of the sphere of a volume."""
    return float((volume_ml * 3000 / (4 * np.pi)) ** (1 / 3))


def sample_tumour(volume_ml: float, *, rng: np.random.Generator) -> Tumour:
    """Draw the shape and uptake of a lesion of a given volume; SUV is log-uniform from 3 to 15."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    lengths = np.exp(rng.uniform(-0.1, 0.1, 3))
    lengths /= np.prod(lengths) ** (1 / 3)
    is_necrotic = volume_ml > NECROSIS_ML and rng.random() < 0.4
    return Tumour(
        volume_ml=volume_ml,
        suv=float(np.exp(rng.uniform(np.log(3.0), np.log(15.0)))),
        axes=turn @ np.diag(lengths) @ turn.T,
        waves=rng.normal(0.0, 1.8, (6, 3)),
        phases=rng.uniform(0.0, 2 * np.pi, 6),
        core_share=rng.uniform(0.4, 0.6) if is_necrotic else 0.0,
        contrast=rng.uniform(0.0, 0.25),
    )


def measure_tumour(
    tumour: Tumour,
    centre_mm: tuple[float, float, float],
    *,
    axes_mm: tuple[FloatArray, FloatArray, FloatArray],
) -> tuple[Box, DoubleArray, DoubleArray]:
    """Measure a lesion on a grid.

    Args:
        tumour: its shape.
        centre_mm: where it is, in the frame of the axes.
        axes_mm: positions of the voxels along (i, j, k).

    Returns:
        A box that holds the lesion, the distance of its voxels from the centre as a share of the surface's
        in their direction (below 1 inside), and their uptake.
    """
    reach = tumour.reach_mm
    box = to_triple(find_range(np.abs(axis - c) <= reach) for axis, c in zip(axes_mm, centre_mm, strict=True))
    parts = [axis[b] - c for axis, b, c in zip(axes_mm, box, centre_mm, strict=True)]
    offsets = np.stack(np.meshgrid(*parts, indexing="ij"), axis=-1) @ np.linalg.inv(tumour.axes)
    length = np.linalg.norm(offsets, axis=-1)
    ripple = _ripple(tumour, offsets / np.maximum(length, 1e-6)[..., None])
    share = length / (_mean_radius_mm(tumour) * (1 + ripple))
    uptake = tumour.suv * (1 + tumour.contrast * np.sin(0.3 * offsets[..., 0] + tumour.phases[0]))
    return box, share, np.where(share < tumour.core_share, NECROTIC_SHARE * tumour.suv, uptake)


def measure_room(activity: FloatArray, spacing_mm: Spacing) -> FloatArray:
    """Measure, for every voxel, how far a lesion's surface may lie from it.

    Args:
        activity: (I, J, K) SUV of a patient without lesions and without blur.
        spacing_mm: distance of the voxels along (i, j, k).

    Returns:
        (I, J, K) float32 mm to the nearest hot organ or to the skin, less the space to leave free.
    """
    import edt

    to_hot = edt.edt(activity <= HOT_SUV, anisotropy=spacing_mm) - HOT_DISTANCE_MM
    to_skin = edt.edt(activity > 0, anisotropy=spacing_mm, black_border=True) - SKIN_DISTANCE_MM
    return np.asarray(np.minimum(to_hot, to_skin), dtype=np.float32)


def choose_centre(
    room_mm: FloatArray, tumour: Tumour, *, axes_mm: tuple[FloatArray, ...], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Choose where a lesion lies: at a site where lesions are common and where it has room.

    Args:
        room_mm: (I, J, K) distance to what the lesion must not reach; negative in it.
        tumour: the lesion.
        axes_mm: positions of the voxels along (i, j, k).
        rng: random numbers.

    Returns:
        The voxel (i, j, k) of its centre: the one with most room when none has enough.
    """
    x, y, z = np.meshgrid(*axes_mm, indexing="ij", sparse=True)
    weights = np.zeros(room_mm.shape, dtype=np.float32)
    for right, anterior, up, spread in SITES:
        r2 = (x - right) ** 2 + (y - anterior) ** 2 + (z - up) ** 2
        weights += np.exp(-r2 / (2 * spread**2)) / spread**3
    total = (weights * (room_mm >= tumour.reach_mm)).ravel().cumsum(dtype=np.float64)
    place = int(np.searchsorted(total, rng.random() * total[-1])) if total[-1] > 0 else int(room_mm.argmax())
    return to_triple(int(n) for n in np.unravel_index(place, room_mm.shape))


def _ripple(tumour: Tumour, directions: DoubleArray) -> DoubleArray:
    """Relative departure from the ellipsoid along unit vectors (..., 3), within 0.3."""
    lobes = 0.1 * np.cos(directions @ tumour.waves.T + tumour.phases).sum(axis=-1)
    return np.asarray(np.clip(lobes, -0.3, 0.3))


def _mean_radius_mm(tumour: Tumour) -> float:
    """Radius that gives the lesion its volume, from the mean of the cubed radius over a Fibonacci sphere."""
    n = np.arange(500) + 0.5
    height, angle = 1 - n / 250, np.pi * (1 + 5**0.5) * n
    width = np.sqrt(1 - height**2)
    directions = np.stack([width * np.cos(angle), width * np.sin(angle), height], axis=-1)
    mean_cube = float(((1 + _ripple(tumour, directions)) ** 3).mean())
    return float((tumour.volume_ml * 3000 / (4 * np.pi * mean_cube)) ** (1 / 3))
