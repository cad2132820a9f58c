"""Where the lesions of randomised digital patients lie: a trunk with some tracer, a limb, or organs at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from interactivepet.dataset.phantom.anatomy import FAT_SUV, paint, sample_anatomy
from interactivepet.dataset.phantom.fields import Axes, FloatArray, make_field

__all__ = ["TRACERS", "paint_limb", "paint_organs", "paint_trunk"]

TRACERS: dict[str, dict[str, float]] = {
    "FDG": {},
    "PSMA": {
        "right kidney": 12.0,
        "left kidney": 12.0,
        "liver": 2.3,
        "spleen": 3.0,
        "parotid": 7.0,
        "small bowel": 7.0,
        "bladder": 2.0,
        "brain": 0.03,
        "cerebellum": 0.03,
        "left ventricle": 0.5,
        "throat": 1.5,
    },
    "DOTATATE": {
        "right kidney": 5.0,
        "left kidney": 5.0,
        "liver": 3.0,
        "spleen": 12.0,
        "small bowel": 2.0,
        "bladder": 1.0,
        "brain": 0.04,
        "cerebellum": 0.04,
        "left ventricle": 0.5,
        "stomach": 2.5,
    },
    "any": {},
}
"""Uptake as a multiple of FDG's, by the beginning or end of an organ's name, rounded from what is usual (PSMA:
Demirci 2016, DOTATATE: Walker 2013). `any` multiplies each organ by chance."""

ANY_SPREAD = 0.8
"""Standard deviation of the logarithm of the factor of each organ for the tracer `any`."""


def paint_trunk(axes_mm: Axes, *, rng: np.random.Generator) -> FloatArray:
    """Paint a part of a patient between pelvis and head, with the normal uptake of one of `TRACERS`.

    Args:
        axes_mm: positions of the voxels, with the middle of the grid at 0.
        rng: random numbers.

    Returns:
        (I, J, K) float32 in SUV; 0 outside of the patient.
    """
    anatomy = sample_anatomy(rng)
    tracer = str(rng.choice(list(TRACERS)))
    organs = tuple(
        replace(o, suv=o.suv * (f := _find_factor(o.name, tracer, rng)), core_suv=o.core_suv * f)
        for o in anatomy.organs
    )
    centre = (rng.uniform(-110, 110), rng.uniform(-60, 60), rng.uniform(-20, 620))
    i, j, k = (axis + np.float32(c) for axis, c in zip(axes_mm, centre, strict=True))
    return paint(replace(anatomy, organs=organs), -i, j, k)


def _find_factor(name: str, tracer: str, rng: np.random.Generator) -> float:
    if tracer == "any":
        return float(np.exp(rng.normal(0.0, ANY_SPREAD)))
    known = TRACERS[tracer]
    return next((factor for part, factor in known.items() if name.startswith(part) or name.endswith(part)), 1.0)


def paint_limb(axes_mm: Axes, *, rng: np.random.Generator) -> FloatArray:
    """Paint one or two limbs along an axis: skin, fat, muscle and bone; arguments and result as of `paint_trunk`."""
    along = 2 if rng.random() < 0.8 else int(rng.integers(2))
    across = [axis for axis in range(3) if axis != along]
    shape = [axis.size for axis in axes_mm]
    activity = np.zeros(shape, np.float32)
    radius = rng.uniform(45, 110)
    middle = rng.uniform(-0.6, 0.6, 2) * radius
    for offset in (0.0, rng.uniform(1.9, 2.6) * radius)[: int(rng.integers(1, 3))]:
        u, v = (
            axes_mm[axis].reshape([-1 if a == axis else 1 for a in range(3)]) - np.float32(m)
            for axis, m in zip(across, (middle[0] + offset, middle[1]), strict=True)
        )
        taper = 1 + np.float32(rng.uniform(-0.001, 0.001)) * axes_mm[along].reshape(
            [-1 if a == along else 1 for a in range(3)]
        )
        r = np.sqrt(u**2 + (v * np.float32(rng.uniform(0.85, 1.15))) ** 2) / (radius * taper)
        shell = rng.uniform(0.75, 0.95)
        activity = np.where(r < 1, np.float32(FAT_SUV), activity)
        activity = np.where(r < shell, np.float32(rng.uniform(0.4, 1.0)), activity)
        bone = np.sqrt((u - 0.2 * radius) ** 2 + v**2) / radius
        activity = np.where(bone < rng.uniform(0.12, 0.25), np.float32(rng.uniform(0.2, 1.2)), activity)
    return np.asarray(activity, np.float32)


def paint_organs(axes_mm: Axes, *, rng: np.random.Generator) -> FloatArray:
    """Paint organs of any shape beside one another; arguments and result as of `paint_trunk`."""
    activity = np.full([axis.size for axis in axes_mm], np.float32(np.exp(rng.uniform(np.log(0.2), np.log(1.5)))))
    for _ in range(int(rng.integers(1, 6))):
        field = make_field(axes_mm, length_mm=rng.uniform(25, 90), rng=rng)
        inside = field > rng.uniform(0.3, 1.5)
        activity[inside] = np.exp(rng.uniform(np.log(0.1), np.log(4.0)))
    if rng.random() < 0.5:
        activity[make_field(axes_mm, length_mm=rng.uniform(80, 200), rng=rng) > rng.uniform(0.6, 1.6)] = 0.0
    return activity
