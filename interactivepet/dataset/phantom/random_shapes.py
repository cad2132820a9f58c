"""Lesions far from ellipsoids: lobulated, clustered, thin, bent, with cold parts and blurred margins.

A shape is a level function: small inside, large outside. The threshold that gives a lesion its volume is found
afterwards, so every kind of shape has the volume that was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.dataset.phantom.fields import Axes, FloatArray, find_distance_mm, make_field, make_line

__all__ = ["RandomLesion", "draw_level", "draw_uptake", "find_inside"]

KINDS = ("blob", "cluster", "tube", "plate", "bent")
KIND_SHARES = (0.45, 0.2, 0.1, 0.1, 0.15)

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RandomLesion:
    """What was drawn for one lesion, or for normal uptake that looks like one.

    Attributes:
        volume_ml: of the whole, cold parts included.
        suv: typical uptake.
        contrast: standard deviation of the logarithm of the uptake inside.
        cold_share: share of the volume that takes up little: necrosis or poorly active tumour.
        cold_suv: uptake there.
        fade: share of the uptake that is lost from the middle to the surface.
    """

    volume_ml: float
    suv: float
    contrast: float
    cold_share: float
    cold_suv: float
    fade: float


def draw_level(axes_mm: Axes, *, radius_mm: float, rng: np.random.Generator) -> FloatArray:
    """Draw the level function of a shape around 0, (I, J, K) float32, rising outwards.

    Args:
        axes_mm: positions of the voxels from the centre of the shape.
        radius_mm: of the sphere of the same volume.
        rng: random numbers.
    """
    kind = rng.choice(KINDS, p=KIND_SHARES)
    if kind == "cluster":
        level = _draw_cluster(axes_mm, radius_mm, rng)
    elif kind == "tube":
        line = make_line(np.zeros(3), length_mm=radius_mm * rng.uniform(2.5, 5.0), rng=rng)
        level = find_distance_mm(axes_mm, line) / radius_mm
    else:
        level = _draw_ellipsoid(axes_mm, radius_mm, kind=str(kind), rng=rng)
    roughness = rng.uniform(0.0, 0.35)
    coarse = make_field(axes_mm, length_mm=max(3.0, radius_mm * rng.uniform(0.4, 1.0)), rng=rng)
    fine = make_field(axes_mm, length_mm=max(3.0, radius_mm * 0.25), rng=rng)
    return np.asarray(level + roughness * (coarse + 0.35 * fine), np.float32)


def _draw_ellipsoid(axes_mm: Axes, radius_mm: float, *, kind: str, rng: np.random.Generator) -> FloatArray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = np.exp(rng.uniform(-0.5, 0.5, 3))
    if kind == "plate":
        stretch[0] *= rng.uniform(0.3, 0.5)
    matrix = (turn / stretch / radius_mm * np.prod(stretch) ** (1 / 3)).astype(np.float32)
    i, j, k = np.meshgrid(*axes_mm, indexing="ij", sparse=True)
    u, v, w = (i * matrix[0, n] + j * matrix[1, n] + k * matrix[2, n] for n in range(3))
    if kind == "bent":
        u = u + rng.uniform(0.3, 0.9) * (v**2 - 0.3)
    return np.asarray(np.sqrt(u**2 + v**2 + w**2), np.float32)


def _draw_cluster(axes_mm: Axes, radius_mm: float, rng: np.random.Generator) -> FloatArray:
    """Draw balls that grow out of one another."""
    i, j, k = np.meshgrid(*axes_mm, indexing="ij", sparse=True)
    centres, radii = [np.zeros(3)], [radius_mm * rng.uniform(0.5, 0.8)]
    for _ in range(int(rng.integers(1, 7))):
        n = int(rng.integers(len(centres)))
        direction = rng.normal(size=3)
        centres.append(centres[n] + direction / np.linalg.norm(direction) * radii[n] * rng.uniform(0.7, 1.2))
        radii.append(radius_mm * rng.uniform(0.25, 0.75))
    level = np.full((i.size, j.size, k.size), np.inf, np.float32)
    for (x, y, z), radius in zip(centres, radii, strict=True):
        distance = np.sqrt((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) - radius
        np.minimum(level, distance / radius_mm, out=level)
    return level + 1


def find_inside(level: FloatArray, *, volume_ml: float, voxel_ml: float) -> BoolArray:
    """Give the connected part, (I, J, K) bool, of the lowest values of a level function that has a volume.

    Smaller parts that are not connected with it are left out, so the volume may be a little less.
    """
    from interactivepet.core.components import find_components

    n = min(max(1, round(volume_ml / voxel_ml)), level.size)
    threshold = np.partition(level, n - 1, axis=None)[n - 1]
    parts, _ = find_components(level <= threshold)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def draw_uptake(
    lesion: RandomLesion,
    level: FloatArray,
    inside: BoolArray,
    *,
    axes_mm: Axes,
    radius_mm: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Draw the uptake of a lesion where it is, (I, J, K) float32 in SUV.

    Args:
        lesion: how hot, how uneven, how much of it is cold.
        level: of `draw_level`.
        inside: of `find_inside`: where the lesion lies.
        axes_mm: positions of the voxels.
        radius_mm: of the sphere of the same volume.
        rng: random numbers.
    """
    uneven = make_field(axes_mm, length_mm=max(3.0, radius_mm * rng.uniform(0.3, 0.8)), rng=rng)
    uptake = lesion.suv * np.exp(lesion.contrast * uneven - lesion.contrast**2 / 2)
    uptake *= 1 - lesion.fade * np.clip(level, 0, 1)
    if lesion.cold_share > 0:
        # between a core and patches anywhere
        coldness = make_field(axes_mm, length_mm=max(4.0, radius_mm * rng.uniform(0.4, 1.0)), rng=rng)
        coldness -= rng.uniform(0.0, 4.0) * level
        limit = np.quantile(coldness[inside], 1 - lesion.cold_share)
        uptake = np.where(coldness > limit, np.float32(lesion.cold_suv), uptake)
    return np.asarray(uptake, np.float32)
