"""The organs of a digital PET patient: where they lie, how large they are and how much FDG they take up.

Positions and sizes are those of a lean adult. Uptakes an hour after injection are rounded from what is
usual in patients (for tables see Wang et al. 2007, Mol Imaging Biol 9, 83, doi 10.1007/s11307-006-0075-y).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Anatomy", "Organ", "find_range", "paint", "sample_anatomy"]

FloatArray = npt.NDArray[np.float32]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Organ:
    """An ellipsoid with a core of its own, in the patient's frame.

    Attributes:
        name: what it stands for.
        centre_mm: (right, anterior, superior) from the centre of the bladder, in the trunk's axis.
        radii_mm: half axes along the same directions.
        suv: uptake of the whole, or of the wall when there is a core.
        core_share: radii of the core as a share of the organ's; 0 for none.
        core_suv: uptake of the core.
        spread: standard deviation of the logarithm of the uptake between patients.
        phases: of the waves that make its outline irregular, in rad.
    """

    name: str
    centre_mm: Point
    radii_mm: Point
    suv: float
    core_share: float = 0.0
    core_suv: float = 0.0
    spread: float = 0.12
    phases: Point = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One patient.

    Attributes:
        organs: in the order in which they are painted; a later one replaces an earlier one.
        heights_mm: (N,) rising positions along the trunk where the outline is given.
        half_widths_mm: (N,) half axis of the outline to the right.
        half_depths_mm: (N,) half axis of the outline to anterior.
        fat_mm: (N,) thickness of the subcutaneous fat.
        roll_rad: by how much the patient lies turned about the trunk's axis.
    """

    organs: tuple[Organ, ...]
    heights_mm: FloatArray
    half_widths_mm: FloatArray
    half_depths_mm: FloatArray
    fat_mm: FloatArray
    roll_rad: float


FAT_SUV = 0.25
SOFT_TISSUE_SUV = 0.65
IRREGULARITY = 0.3
"""Share by which waves move the squared distance from an organ's centre: no organ is an ellipsoid."""

OUTLINE_EXPONENT = 2.4
"""Of the superellipse of a cross-section: a little boxier than an ellipse."""

OUTLINE = np.array(
    # height, half width, half depth, fat
    [
        (-80, 165, 100, 22),
        (20, 168, 105, 24),
        (110, 150, 98, 24),
        (180, 140, 95, 20),
        (300, 152, 108, 14),
        (400, 160, 112, 12),
        (470, 168, 105, 12),
        (520, 165, 88, 12),
        (555, 105, 72, 8),
        (580, 62, 62, 5),
        (610, 60, 64, 5),
        (640, 70, 88, 5),
        (690, 76, 96, 4),
        (760, 70, 88, 4),
    ],
    dtype=np.float32,
)
"""Trunk, neck and head from below the bladder to above the brain, in mm."""

ORGANS = (
    Organ("right lung", (76, -4, 432), (60, 84, 112), 0.45),
    Organ("left lung", (-76, -4, 432), (60, 84, 112), 0.45),
    Organ("lung apices", (0, -12, 512), (92, 45, 40), 0.45),
    Organ("mediastinum", (0, 10, 440), (30, 62, 116), 1.3),
    Organ("thoracic inlet", (0, 0, 545), (38, 30, 45), 0.9),
    Organ("liver, right lobe", (72, 4, 322), (68, 80, 66), 2.2, spread=0.1),
    Organ("liver, left lobe", (8, 46, 336), (74, 38, 38), 2.2, spread=0.1),
    Organ("spleen", (-104, -36, 322), (26, 46, 44), 1.8),
    Organ("stomach", (-58, 42, 312), (38, 32, 42), 1.9, 0.72, 0.7, 0.35),
    Organ("left ventricle", (-36, 40, 392), (37, 36, 44), 3.0, 0.66, 1.5, 0.6),
    Organ("caecum", (88, 30, 112), (28, 28, 42), 1.3, 0.6, 0.7, 0.35),
    Organ("descending colon", (-98, 0, 170), (19, 19, 78), 1.2, 0.6, 0.6, 0.35),
    Organ("small bowel", (0, 48, 130), (72, 34, 52), 1.1, spread=0.25),
    Organ("aorta", (-10, -28, 330), (11, 11, 165), 1.6),
    Organ("left ilium", (-82, -38, 70), (20, 42, 56), 1.0),
    Organ("right ilium", (82, -38, 70), (20, 42, 56), 1.0),
    Organ("sacrum", (0, -70, 50), (40, 16, 52), 1.1),
    Organ("lumbar spine", (0, -52, 185), (19, 19, 100), 1.4),
    Organ("thoracic spine", (0, -64, 400), (16, 17, 150), 1.4),
    Organ("cervical spine", (0, -28, 578), (12, 12, 70), 1.2),
    Organ("right kidney", (62, -50, 242), (28, 27, 52), 2.9, 0.5, 8.0, 0.25),
    Organ("left kidney", (-62, -50, 254), (28, 27, 52), 2.9, 0.5, 8.0, 0.25),
    Organ("bladder", (0, 24, 0), (36, 30, 27), 14.0, spread=0.2),
    Organ("throat", (0, 18, 606), (20, 12, 22), 2.2, spread=0.25),
    Organ("right parotid", (50, -4, 612), (11, 16, 22), 1.9, spread=0.25),
    Organ("left parotid", (-50, -4, 612), (11, 16, 22), 1.9, spread=0.25),
    Organ("airways", (0, 40, 622), (12, 28, 14), 0.2),
    Organ("brain", (0, -2, 692), (64, 80, 56), 8.0, 0.74, 4.5, 0.1),
    Organ("cerebellum", (0, -42, 650), (46, 34, 24), 6.5, spread=0.1),
)
"""The mean patient."""


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient: stature, girth, fat, and position, size and uptake of every organ."""
    stature, girth = rng.uniform(0.88, 0.99), rng.uniform(0.92, 1.06)
    sides = np.array([girth, girth, 1.0]) * stature
    heights, widths, depths, fat = OUTLINE.T
    return Anatomy(
        organs=tuple(_vary(organ, sides, rng) for organ in ORGANS),
        heights_mm=heights * np.float32(stature),
        half_widths_mm=widths * np.float32(sides[0]),
        half_depths_mm=depths * np.float32(sides[1]),
        fat_mm=fat * np.float32(rng.uniform(0.6, 1.3)),
        roll_rad=rng.normal(0.0, 0.04),
    )


def _vary(organ: Organ, sides: npt.NDArray[np.float64], rng: np.random.Generator) -> Organ:
    centre = np.asarray(organ.centre_mm) * sides + rng.normal(0.0, 3.0, 3)
    # Organs that fill and empty, such as the bladder, vary most in uptake and in size.
    radii = np.asarray(organ.radii_mm) * sides * rng.lognormal(0.0, organ.spread / 3)
    return replace(
        organ,
        centre_mm=_as_point(centre),
        radii_mm=_as_point(radii),
        suv=organ.suv * rng.lognormal(0.0, organ.spread),
        phases=_as_point(rng.uniform(0.0, 2 * np.pi, 3)),
    )


def _as_point(values: npt.NDArray[np.float64]) -> Point:
    x, y, z = values.tolist()
    return (x, y, z)


def paint(anatomy: Anatomy, right_mm: FloatArray, anterior_mm: FloatArray, up_mm: FloatArray) -> FloatArray:
    """Paint the uptake of a patient without lesions.

    Args:
        anatomy: the patient.
        right_mm: (I,) positions of the voxels along the patient's left-right axis.
        anterior_mm: (J,) positions along the posterior-anterior axis.
        up_mm: (K,) positions along the trunk's axis.

    Returns:
        (I, J, K) float32 in SUV; 0 outside of the patient.
    """
    cosine, sine = np.float32(np.cos(anatomy.roll_rad)), np.float32(np.sin(anatomy.roll_rad))
    x = cosine * right_mm[:, None] + sine * anterior_mm[None, :]
    y = cosine * anterior_mm[None, :] - sine * right_mm[:, None]
    activity = _paint_outline(anatomy, x, y, up_mm)
    for organ in anatomy.organs:
        box, distance = _measure(organ, x, y, up_mm)
        inside = (distance < 1) & (activity[box] > FAT_SUV)
        activity[box][inside] = organ.suv
        activity[box][inside & (distance < organ.core_share**2)] = organ.core_suv
    return activity


def _paint_outline(anatomy: Anatomy, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    widths = np.interp(z, anatomy.heights_mm, anatomy.half_widths_mm).astype(np.float32)
    depths = np.interp(z, anatomy.heights_mm, anatomy.half_depths_mm).astype(np.float32)
    fat = np.interp(z, anatomy.heights_mm, anatomy.fat_mm).astype(np.float32)
    p = np.float32(OUTLINE_EXPONENT)
    xp, yp = (np.abs(x) ** p)[:, :, None], (np.abs(y) ** p)[:, :, None]
    activity = np.zeros((*x.shape, z.size), dtype=np.float32)
    activity[xp * widths**-p + yp * depths**-p < 1] = FAT_SUV
    activity[xp * (widths - fat) ** -p + yp * (depths - fat) ** -p < 1] = SOFT_TISSUE_SUV
    return activity


def _measure(organ: Organ, x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[Box, FloatArray]:
    """Give the box that holds an organ, and in it the squared distance from its centre in radii."""
    u, v, w = ((axis - c) / r for axis, c, r in zip((x, y, z), organ.centre_mm, organ.radii_mm, strict=True))
    flat, upright = u**2 + v**2, w**2
    limit = 1 / (1 - IRREGULARITY)
    box = (
        find_range(flat.min(axis=1) < limit),
        find_range(flat.min(axis=0) < limit),
        find_range(upright < limit),
    )
    a, b, c = organ.phases
    ripple = (np.sin(2.5 * u + a) * np.sin(2.5 * v + b))[box[0], box[1], None] * np.sin(2.5 * w + c)[box[2]]
    return box, (flat[box[0], box[1], None] + upright[box[2]]) * (1 + IRREGULARITY * ripple)


def find_range(hit: npt.NDArray[np.bool_]) -> slice:
    """Give the smallest slice that holds every true element of `hit` (N,); an empty one without any."""
    places = np.flatnonzero(hit)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)
