"""Digital whole bodies, and what detection makes of their lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interactivepet.core.components import find_components
from interactivepet.core.geometry import Geometry, Spacing
from interactivepet.dataset.phantom.patient import SPACING_MM, make_patient
from interactivepet.detection.find import Detection

__all__ = ["Count", "count_regions", "make_digital"]


@dataclass(frozen=True, slots=True)
class Count:
    """How the lesions of a patient were called.

    Attributes:
        n_lesions: of the reference.
        n_called: lesions that a region called `lesion` overlaps.
        n_false: regions called `lesion` without any.
        n_unsure: regions called `unsure` without any.
    """

    n_lesions: int
    n_called: int
    n_false: int
    n_unsure: int

    def __add__(self, other: Count) -> Count:
        """Sum two patients."""
        return Count(
            self.n_lesions + other.n_lesions,
            self.n_called + other.n_called,
            self.n_false + other.n_false,
            self.n_unsure + other.n_unsure,
        )


def make_digital(
    seed: int, *, spacing_mm: Spacing = SPACING_MM, n_lesions: tuple[int, int] = (1, 4)
) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Make image (I, J, K), label and grid of a whole body."""
    image, label, geometry = make_patient(np.random.default_rng(seed), spacing_mm=spacing_mm, n_lesions=n_lesions)
    return image[0], label, geometry


def count_regions(found: Detection, label: np.ndarray) -> Count:
    """Compare regions with a label (I, J, K)."""
    lesions, n = find_components(label > 0)
    called: set[int] = set()
    n_false = n_unsure = 0
    for region in found.regions:
        hit = set(np.unique(lesions[region.box.slices][region.mask]).tolist()) - {0}
        if region.status == "lesion":
            called |= hit
        n_false += region.status == "lesion" and not hit
        n_unsure += region.status == "unsure" and not hit
    return Count(n, len(called), n_false, n_unsure)
