"""The rules that read the fingerprint: spacing, extents, guidance, normalisation. Each stands beside its reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interactivepet.core.fingerprint import ChannelStatistics, Fingerprint, ObjectStatistics
from interactivepet.core.geometry import FloatArray, Spacing, to_triple
from interactivepet.core.plan import CropPlan, GuidancePlan, Normalisation

__all__ = [
    "ANISOTROPIC_RATIO",
    "choose_crop",
    "choose_guidance",
    "choose_normalisation",
    "choose_spacing",
    "find_flat_axes",
    "find_reach_mm",
    "measure_extents_mm",
    "measure_voxel_edge_mm",
]

ANISOTROPIC_RATIO = 3.0
"""A task is anisotropic when its coarsest axis is this many times coarser than its finest (Isensee 2021) ..."""

COARSE_PERCENTILE = 10.0
"""... and then that axis gets this percentile of the spacings, so that thick slices do not blur thin ones."""

OBJECT_REACH = 4.0
"""On the `cpu` budget a patch is at most this many times as wide as objects' longest edges, at their 95th percentile by
volume: what lies further from a clicked object hardly helps, and halving the edge makes a step eight times faster."""

QUANTITATIVE_SPREAD = 5.0
"""SUV is comparable between patients. When the 95th percentile of the cases' mean intensity is more than this
times the 5th, the channel is not in a common unit, whatever its name says."""

CROP_SHARE = 0.5
"""A crop to clicks keeps this share of a typical object's longest edge on every side: context as wide as the object."""

SMALLEST_MARGIN_MM = 20.0
"""Kept around clicks at least: several voxels of any PET scanner, so that borders are seen from outside."""


def find_flat_axes(fingerprint: Fingerprint) -> tuple[int, ...]:
    """Find the axes along which every case has a single voxel: one in a 2D task, none in a 3D one."""
    return tuple(axis for axis in range(3) if all(case.shape[axis] == 1 for case in fingerprint.cases))


def choose_spacing(spacings: Sequence[Spacing]) -> Spacing:
    """Choose the target spacing: the median, with an exception for an anisotropic axis.

    When the coarsest axis is more than `ANISOTROPIC_RATIO` times coarser than the finest, it takes the
    `COARSE_PERCENTILE` of the cases, but never becomes finer than the other axes. nnU-Net's code compares with the
    coarser of the other two, and wants as many times fewer voxels along that axis besides.
    """
    values = np.asarray(spacings)
    target = np.median(values, axis=0)
    coarse = int(np.argmax(target))
    others = np.delete(target, coarse)
    if target[coarse] > ANISOTROPIC_RATIO * others.min():
        target[coarse] = max(np.percentile(values[:, coarse], COARSE_PERCENTILE), others.max())
    return to_triple(float(v) for v in target)


def measure_extents_mm(fingerprint: Fingerprint, crop: CropPlan) -> FloatArray:
    """Measure what is kept of every case, (n, 3) in mm.

    A crop to clicks keeps at least the largest object with its margin; where further objects lie, the fingerprint
    does not say. Cases without objects have no clicks and do not count.
    """
    cases = [case for case in fingerprint.cases if crop.region == "body" or case.objects != ()]
    extents = [np.multiply(case.crop_shape, case.spacing_mm) for case in cases]
    if crop.region == "clicks":
        for kept, case in zip(extents, cases, strict=True):
            if case.objects:
                largest = np.max([obj.extent_mm for obj in case.objects], axis=0)
                np.minimum(kept, largest + 2 * crop.margin_mm, out=kept)
    return np.array(extents)


def choose_guidance(fingerprint: Fingerprint, spacing: Spacing) -> GuidancePlan:
    """Choose the Gaussian's scale.

    On FDG-PET of sarcomas with 4.2 mm voxels a scale of 6 mm, 1.5 voxels and a tenth of the tumours' radius, gave the
    best out-of-fold Dice of the encodings compared: so the larger of the two, since fine pixels (a projection)
    say nothing about objects. For small objects the scale stays below half their radius, or guidance would cover
    object and surroundings alike; but a click always spans one voxel. Typical and small are quantiles of the
    objects' total volume (0.5 and 0.1): specks of a voxel or two are many, but little of it. Where objects were not
    measured, the spacing decides alone.
    """
    voxel = measure_voxel_edge_mm(fingerprint, spacing)
    if not _list_objects(fingerprint):
        return GuidancePlan(scale_mm=1.5 * voxel)
    radii, volumes = _measure_radii_mm(fingerprint)
    small, typical = (_find_quantile(radii, volumes, share=share) for share in (0.1, 0.5))
    return GuidancePlan(scale_mm=max(voxel, min(max(1.5 * voxel, 0.1 * typical), 0.5 * small)))


def _list_objects(fingerprint: Fingerprint) -> list[ObjectStatistics]:
    return [obj for case in fingerprint.cases for obj in case.objects or ()]


def _measure_radii_mm(fingerprint: Fingerprint) -> tuple[FloatArray, FloatArray]:
    """Give each object's radius in mm, of a sphere of its volume or, in 2D, a circle of its area, and its volume."""
    flat = find_flat_axes(fingerprint)
    radii, volumes = [], []
    for case in fingerprint.cases:
        thickness_mm = np.prod([case.spacing_mm[axis] for axis in flat])
        for obj in case.objects or ():
            volume_mm3 = 1000.0 * obj.volume_ml
            area_mm2 = volume_mm3 / thickness_mm
            radii.append(np.sqrt(area_mm2 / np.pi) if flat else np.cbrt(3.0 * volume_mm3 / (4.0 * np.pi)))
            volumes.append(obj.volume_ml)
    return np.asarray(radii), np.asarray(volumes)


def measure_voxel_edge_mm(fingerprint: Fingerprint, spacing: Spacing) -> float:
    """Give the geometric mean of the spacing over the axes that have more than one voxel."""
    flat = find_flat_axes(fingerprint)
    edges = [mm for axis, mm in enumerate(spacing) if axis not in flat] or list(spacing)
    return float(np.prod(edges) ** (1.0 / len(edges)))


def find_reach_mm(fingerprint: Fingerprint) -> float:
    """Find the widest edge in mm that `OBJECT_REACH` allows; infinite where objects were not measured.

    Objects count by their volume, so specks hardly do.
    """
    return OBJECT_REACH * _find_edge_mm(fingerprint, share=0.95)


def _find_edge_mm(fingerprint: Fingerprint, *, share: float) -> float:
    objects = _list_objects(fingerprint)
    if not objects:
        return float(np.inf)
    edges = np.array([max(obj.extent_mm) for obj in objects])
    return _find_quantile(edges, np.array([obj.volume_ml for obj in objects]), share=share)


def _find_quantile(values: FloatArray, weights: FloatArray, *, share: float) -> float:
    """Give the smallest value at or below which `share` of the total weight lies."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[min(int(np.searchsorted(shares, share)), len(values) - 1)]])


def choose_crop(fingerprint: Fingerprint, *, interactive: bool) -> CropPlan:
    """Choose what is kept: the body, or around clicks `CROP_SHARE` of a typical object on every side.

    A click may lie anywhere in its object, so clicks alone need the other half too; margin points lie at its border.
    """
    if not interactive:
        return CropPlan()
    edge_mm = _find_edge_mm(fingerprint, share=0.5)
    wanted = CROP_SHARE * edge_mm if np.isfinite(edge_mm) else 0.0
    return CropPlan(region="clicks", margin_mm=round(max(SMALLEST_MARGIN_MM, wanted), 1))


def choose_normalisation(fingerprint: Fingerprint, scheme: str | None = None) -> tuple[Normalisation, ...]:
    """Choose each channel's normalisation by its name, checked against the fingerprint.

    Args:
        fingerprint: of the whole task.
        scheme: None decides; any other is taken for every channel.
    """
    statistics = fingerprint.foreground or fingerprint.body
    return tuple(
        _normalise_channel(scheme or _choose_scheme(name, fingerprint, index), statistics[index], chosen=bool(scheme))
        for index, name in enumerate(fingerprint.channels)
    )


def _choose_scheme(name: str, fingerprint: Fingerprint, index: int) -> str:
    kind = name.strip().lower()
    if kind == "ct":
        return "ct"
    if not kind.startswith(("pet", "suv", "fdg", "psma")):
        return "zscore"
    means = [case.body[index].mean for case in fingerprint.cases if case.body]
    if not means:
        return "suv"
    low, high = np.percentile(means, (5.0, 95.0))
    return "suv" if 0 < high <= QUANTITATIVE_SPREAD * low else "zscore"


def _normalise_channel(scheme: str, statistics: ChannelStatistics, *, chosen: bool) -> Normalisation:
    reasons = {
        "ct": "Hounsfield units: clip to the foreground's 0.5 and 99.5 percentiles, then the foreground's z-score",
        "suv": (
            "SUV is quantitative: one scale for all patients, the foreground's standard deviation; 0 stays 0, so that "
            f"padding is air; clipped above the foreground's 99.5 percentile{_describe_tail(statistics)}, since "
            "bladder and brain outshine lesions"
        ),
        "zscore": "no common unit between cases: z-score of each image's kept box",
        "minmax": "each image's kept box from 0 to 1",
    }
    reason = f"asked for: {reasons[scheme]}" if chosen else reasons[scheme]
    low, high = statistics.percentile_00_5, statistics.percentile_99_5
    if scheme == "ct":
        return Normalisation(
            scheme="ct", clip=(low, high), mean=statistics.mean, std=_positive(statistics.std), reason=reason
        )
    if scheme == "suv":
        return Normalisation(scheme="suv", clip=(0.0, _positive(high)), std=_positive(statistics.std), reason=reason)
    return Normalisation(scheme="minmax" if scheme == "minmax" else "zscore", reason=reason)


def _describe_tail(statistics: ChannelStatistics) -> str:
    if statistics.median <= 0:
        return ""
    return f", {statistics.percentile_99_5 / statistics.median:.1f} times its median"


def _positive(value: float) -> float:
    """Guard a divisor: a constant channel has no spread to divide by."""
    return value if value > 1e-8 else 1.0
