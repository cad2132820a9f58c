"""Digital patients whose every property is drawn from far wider a range than real ones have (domain randomisation).

A network that has seen them meets real scanners, tracers and tumours as further cases of the same kind (Tobin et al.
2017, arXiv 1703.06907; for segmentation Billot et al. 2023, SynthSeg, doi 10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing, to_triple
from interactivepet.dataset.phantom.backgrounds import paint_limb, paint_organs, paint_trunk
from interactivepet.dataset.phantom.fields import Axes, FloatArray, find_distance_mm, make_axes, make_field, make_line
from interactivepet.dataset.phantom.random_shapes import RandomLesion, draw_level, draw_uptake, find_inside
from interactivepet.dataset.phantom.scan import blur, count
from interactivepet.dataset.phantom.tumour import find_radius_mm

__all__ = ["make_random_patient"]

SPACING_MM = (1.5, 6.0)
"""Of voxels along any axis."""

VOLUME_ML = (0.3, 1500.0)
"""Of the first lesion of an image; log-uniform."""

SUV = (1.3, 90.0)
"""From below the liver's uptake to 40 times it; log-uniform."""

LEAST_CONTRAST = 1.3
"""A lesion takes up at least this many times as much as what it lies in."""

FWHM_MM = (2.0, 9.0)
"""Of the blur in all: from the sharpest PET to SPECT."""

COUNTS_PER_SUV = (4.0, 400.0)
"""In a voxel, before the filter: from short to long scans; log-uniform."""

FINEST_MM = 2.0
"""Uptake is painted on cubes at least this wide ..."""

MOST_STEPS = 150
"""... and on at most so many along the longest edge."""

LESION_FREE_SHARE = 0.04

PLACES = 10
"""That are drawn for a lesion until one lies in the body."""

BACKGROUNDS = (paint_trunk, paint_limb, paint_organs)
BACKGROUND_SHARES = (0.45, 0.25, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What is painted so far.

    Attributes:
        activity: (I, J, K) float32 in SUV, changed in place.
        label: (I, J, K) bool, changed in place.
        axes_mm: positions of the voxels.
        step_mm: edge of the voxels.
    """

    activity: FloatArray
    label: npt.NDArray[np.bool_]
    axes_mm: Axes
    step_mm: float


def make_random_patient(rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.uint8], Geometry]:
    """Make an image with lesions in a part of a body.

    Args:
        rng: random numbers; the same state makes the same image.

    Returns:
        The image (1, I, J, K) float32 in SUV, the label (I, J, K) uint8 that is 1 where lesions fill at least half of
        a voxel, and the grid: i runs to the patient's left, j to posterior, k to superior.
    """
    spacing_mm = _draw_spacing(rng)
    volume_ml = _draw_log(VOLUME_ML, rng)
    extent_mm = _draw_extent_mm(volume_ml, rng)
    shape = to_triple(max(12, round(edge / mm)) for edge, mm in zip(extent_mm, spacing_mm, strict=True))
    extent_mm = np.multiply(shape, spacing_mm)
    scene = _paint_scene(extent_mm, finest_mm=min(spacing_mm), rng=rng)
    if rng.random() >= LESION_FREE_SHARE:
        _add_lesions(scene, volume_ml=volume_ml, rng=rng)
    image = _scan(scene, shape=shape, spacing_mm=spacing_mm, rng=rng)
    label = _average(scene.label.astype(np.float32), scene, shape=shape, spacing_mm=spacing_mm) >= 0.5
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = np.round(rng.uniform(-300.0, 300.0, 3), 2)
    return image[None], label.astype(np.uint8), Geometry(shape, affine)


def _draw_log(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def _draw_spacing(rng: np.random.Generator) -> Spacing:
    """Draw square pixels, and slices up to 2.5 times as thick or as thin."""
    pixel = _draw_log(SPACING_MM, rng)
    thickness = float(np.clip(pixel * _draw_log((0.4, 2.5), rng), *SPACING_MM))
    return round(pixel, 3), round(pixel, 3), round(thickness, 3)


def _draw_extent_mm(volume_ml: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw the edges of the image: a crop around the first lesion, or a large part of the body."""
    if rng.random() < 0.25:
        return rng.uniform(180.0, 420.0, 3)
    diameter_mm = 2 * find_radius_mm(volume_ml)
    return np.minimum(diameter_mm * rng.uniform(1.0, 1.8, 3) + 2 * rng.uniform(20.0, 70.0, 3), 420.0)


def _paint_scene(extent_mm: npt.NDArray[np.float64], *, finest_mm: float, rng: np.random.Generator) -> _Scene:
    step_mm = float(max(FINEST_MM, finest_mm, extent_mm.max() / MOST_STEPS))
    shape = to_triple(int(np.ceil(edge / step_mm)) for edge in extent_mm)
    axes = make_axes(shape, (step_mm, step_mm, step_mm))
    paint = BACKGROUNDS[int(rng.choice(len(BACKGROUNDS), p=BACKGROUND_SHARES))]
    activity = paint(axes, rng=rng)
    texture = make_field(axes, length_mm=rng.uniform(6.0, 30.0), rng=rng)
    activity *= np.exp(np.float32(rng.uniform(0.0, 0.3)) * texture)
    scene = _Scene(np.asarray(activity, np.float32), np.zeros(shape, np.bool_), axes, step_mm)
    for _ in range(int(rng.integers(0, 5))):
        _add_imitator(scene, rng)
    return scene


def _add_imitator(scene: _Scene, rng: np.random.Generator) -> None:
    """Paint normal uptake that could be taken for disease, without a label.

    Vessels, ureters and bowel (tubes), muscle after food (sheets), marrow after chemotherapy (a row of vertebrae),
    brown fat (the same spot on both sides), hot organs and the injection site (blobs, up to 40 times the liver's
    uptake).
    """
    place = np.array([rng.choice(axis) for axis in scene.axes_mm], np.float64)
    kind = str(rng.choice(["tube", "sheet", "row", "pair", "blob"]))
    suv = np.float32(_draw_log((0.8, 12.0) if kind != "blob" else SUV, rng))
    if kind == "tube":
        line = make_line(place, length_mm=rng.uniform(60.0, 300.0), rng=rng)
        inside = find_distance_mm(scene.axes_mm, line) < rng.uniform(3.0, 14.0)
    elif kind == "sheet":
        field = make_field(scene.axes_mm, length_mm=rng.uniform(30.0, 90.0), rng=rng)
        inside = np.abs(field - rng.uniform(-0.5, 0.5)) < rng.uniform(0.05, 0.2)
        suv = np.float32(_draw_log((0.8, 4.0), rng))
    elif kind in ("row", "pair"):
        steps = np.arange(-4, 5) * rng.uniform(25.0, 40.0) if kind == "row" else np.array([-1, 1]) * abs(place[0])
        axis = 2 if kind == "row" else 0
        points = np.tile(place, (len(steps), 1))
        points[:, axis] = steps
        inside = find_distance_mm(scene.axes_mm, points.astype(np.float32)) < rng.uniform(5.0, 15.0)
    else:
        radius_mm = rng.uniform(6.0, 45.0)
        box, axes = _cut(scene, place, reach_mm=2.5 * radius_mm)
        level = draw_level(axes, radius_mm=radius_mm, rng=rng)
        inside = np.zeros(scene.label.shape, np.bool_)
        inside[box.slices] = level < 1
    # in the body, if there is one
    scene.activity[inside & ((scene.activity > 0) | (rng.random() < 0.1))] = suv


def _cut(scene: _Scene, place_mm: npt.NDArray[np.float64], *, reach_mm: float) -> tuple[BoundingBox, Axes]:
    """Give the box within `reach_mm` of a place, and the positions of its voxels from there."""
    starts, stops, axes = [], [], []
    for axis, centre in zip(scene.axes_mm, place_mm, strict=True):
        near = np.flatnonzero(np.abs(axis - centre) <= max(reach_mm, scene.step_mm))
        starts.append(int(near[0]))
        stops.append(int(near[-1]) + 1)
        axes.append((axis[near[0] : near[-1] + 1] - np.float32(centre)).astype(np.float32))
    return BoundingBox(to_triple(starts), to_triple(stops)), (axes[0], axes[1], axes[2])


def _add_lesions(scene: _Scene, *, volume_ml: float, rng: np.random.Generator) -> None:
    """Paint one to four lesions, the first near the middle, and label them."""
    n = 1 if rng.random() < 0.7 else int(rng.integers(2, 5))
    for number in range(n):
        wanted_ml = volume_ml if number == 0 else _draw_log((VOLUME_ML[0], max(0.6, volume_ml / 2)), rng)
        place = _draw_place(scene, spread=0.08 if number == 0 else 0.35, rng=rng)
        _add_lesion(scene, place, volume_ml=wanted_ml, rng=rng)


def _draw_place(scene: _Scene, *, spread: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw a place in mm, in the body if one of `PLACES` is."""
    place = np.zeros(3)
    for _ in range(PLACES):
        voxel = tuple(
            int(np.clip(axis.size * (0.5 + rng.normal(0.0, spread)), 0, axis.size - 1)) for axis in scene.axes_mm
        )
        place = np.array([axis[n] for axis, n in zip(scene.axes_mm, voxel, strict=True)], np.float64)
        if scene.activity[voxel] > 0:
            break
    return place


def _add_lesion(
    scene: _Scene, place_mm: npt.NDArray[np.float64], *, volume_ml: float, rng: np.random.Generator
) -> None:
    radius_mm = find_radius_mm(volume_ml)
    box, axes = _cut(scene, place_mm, reach_mm=max(3.0 * radius_mm, 4 * scene.step_mm))
    level = draw_level(axes, radius_mm=radius_mm, rng=rng)
    voxel_ml = scene.step_mm**3 / 1000.0
    active = find_inside(level, volume_ml=volume_ml, voxel_ml=voxel_ml)
    # readers draw a little more or less than what takes up
    drawn_ml = volume_ml * float(np.exp(rng.normal(0.0, 0.15))) if rng.random() < 0.5 else volume_ml
    drawn = find_inside(level, volume_ml=drawn_ml, voxel_ml=voxel_ml)
    around = float(np.median(scene.activity[box.slices][active]))
    lesion = _draw_lesion(volume_ml, around=around, rng=rng)
    uptake = draw_uptake(lesion, level, active, axes_mm=axes, radius_mm=radius_mm, rng=rng)
    scene.activity[box.slices][active] = uptake[active]
    scene.label[box.slices][drawn] = True


def _draw_lesion(volume_ml: float, *, around: float, rng: np.random.Generator) -> RandomLesion:
    suv = max(_draw_log((SUV[0], 20.0), rng) if rng.random() < 0.85 else _draw_log(SUV, rng), LEAST_CONTRAST * around)
    has_cold = rng.random() < (0.55 if volume_ml > 10 else 0.15)
    return RandomLesion(
        volume_ml=volume_ml,
        suv=suv,
        contrast=0.0 if rng.random() < 0.25 else float(rng.uniform(0.1, 0.8)),
        cold_share=float(rng.uniform(0.1, 0.7)) if has_cold else 0.0,
        cold_suv=float(max(0.1, around) * rng.uniform(0.4, 1.6)),
        fade=0.0 if rng.random() < 0.5 else float(rng.uniform(0.0, 0.7)),
    )


def _scan(scene: _Scene, *, shape: Shape, spacing_mm: Spacing, rng: np.random.Generator) -> FloatArray:
    """Blur fine uptake with the scanner's resolution, count, and filter."""
    fwhm_mm = rng.uniform(*FWHM_MM)
    filter_mm = fwhm_mm * rng.uniform(0.3, 0.8)
    blurred = blur(scene.activity, (fwhm_mm**2 - filter_mm**2) ** 0.5, spacing_mm=[scene.step_mm] * 3)
    return count(
        _average(blurred, scene, shape=shape, spacing_mm=spacing_mm),
        counts_per_suv=_draw_log(COUNTS_PER_SUV, rng),
        filter_mm=filter_mm,
        spacing_mm=spacing_mm,
        rng=rng,
    )


def _average(fine: FloatArray, scene: _Scene, *, shape: Shape, spacing_mm: Spacing) -> FloatArray:
    """Average fine cubes over the voxels of the image: (I, J, K) float32."""
    result = fine
    for axis, (n, mm) in enumerate(zip(shape, spacing_mm, strict=True)):
        centres = (np.arange(n) - (n - 1) / 2) * mm
        half = (mm + scene.step_mm) / 2
        overlap = half - np.abs(centres[:, None] - scene.axes_mm[axis])
        weights = np.clip(overlap, 0, min(mm, scene.step_mm)).astype(np.float32)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.asarray(result, np.float32)
