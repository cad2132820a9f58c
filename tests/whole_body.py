"""A whole body made of cylinders: a trunk with lungs, a head, raised arms apart from it, two lesions and air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, SpatialTrace

__all__ = ["SHAPE", "SPACING_MM", "WholeBody", "make_body_case", "make_ready", "make_whole_body"]

SHAPE = (80, 80, 120)
SPACING_MM = (8.0, 8.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class WholeBody:
    """Masks (I, J, K) bool and uptake (I, J, K) float32 in SUV, 0 in the air."""

    uptake: np.ndarray
    body: np.ndarray
    arms: np.ndarray
    lungs: np.ndarray
    lesions: np.ndarray

    def hounsfield(self) -> np.ndarray:
        """Give the same body as CT sees it."""
        tissue = np.where(self.lungs, -800.0, np.where(self.lesions, 60.0, 30.0))
        return np.where(self.body, tissue, -1000.0).astype(np.float32)


def make_whole_body(*, noise: float = 0.005, seed: int = 0) -> WholeBody:
    """Make uptake with the noise that air has in a reconstruction, whose field of view is a circle."""
    i, j, k = np.indices(SHAPE)
    trunk = ((i - 40) / 17) ** 2 + ((j - 40) / 11) ** 2 <= 1
    head = (i - 40) ** 2 + (j - 40) ** 2 <= 81
    arms = (k >= 85) & (((i - 18) ** 2 + (j - 40) ** 2 <= 25) | ((i - 62) ** 2 + (j - 40) ** 2 <= 25))
    body = np.where(k < 95, trunk, head) | arms
    lungs = (k > 60) & (k < 88) & (((i - 33) ** 2 + (j - 40) ** 2 <= 30) | ((i - 47) ** 2 + (j - 40) ** 2 <= 30))
    rng = np.random.default_rng(seed)
    uptake = np.where(body, np.where(lungs, 0.25, 0.6), 0.0) * rng.uniform(0.8, 1.2, SHAPE)
    lesions = ((i - 30) ** 2 + (j - 40) ** 2 + (k - 20) ** 2 <= 16) | (
        (i - 18) ** 2 + (j - 40) ** 2 + (k - 105) ** 2 <= 6
    )
    uptake[lesions] = 8.0
    uptake[(i - 40) ** 2 + (j - 40) ** 2 + (k - 5) ** 2 <= 12] = 60.0
    uptake += np.abs(rng.normal(0, noise, SHAPE))
    uptake[(i - 39.5) ** 2 + (j - 39.5) ** 2 > 39.5**2] = 0.0
    return WholeBody(uptake.astype(np.float32), body, arms, lungs, lesions & body)


def make_ready(*channels: np.ndarray, spacing_mm: tuple[float, float, float] = SPACING_MM) -> PreprocessedCase:
    """Make a case whose channels (I, J, K) lie on the network's grid already."""
    i, j, k = channels[0].shape
    shape: Shape = (i, j, k)
    grid = Geometry(shape, np.diag([*spacing_mm, 1.0]))
    image = np.stack(channels).astype(np.float32)
    return PreprocessedCase("A", image, None, SpatialTrace(grid, BoundingBox((0, 0, 0), shape), grid))


def make_body_case(*channels: np.ndarray) -> Case:
    """Make the same as a raw case."""
    ready = make_ready(*channels)
    return Case("A", ready.image, ready.trace.original)
