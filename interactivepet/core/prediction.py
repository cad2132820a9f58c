"""What a segmenter gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click

__all__ = ["Prediction", "Segmentation"]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Probabilities on a case's own grid.

    Attributes:
        case_id: the case's identifier.
        probabilities: (1 + L, I, J, K) float32 in [0, 1], background first, summing to 1 over axis 0.
        geometry: the grid of the case's files.
        labels: the L label values of axis 0 after the background.
        skipped: share in [0, 1] of the network's runs that were left out, as they would have seen air.
    """

    case_id: str
    probabilities: npt.NDArray[np.float32]
    geometry: Geometry
    labels: tuple[int, ...]
    skipped: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A mask on a case's own grid.

    Attributes:
        case_id: the case's identifier.
        mask: (I, J, K) uint8, 0 is background.
        geometry: the grid of the case's files.
        labels: values that the mask can hold besides 0.
        unmet: clicks that the mask does not meet, as newer ones contradict them.
        source: file of the image, whose placement the mask's file takes over bit by bit; None writes `geometry`.
    """

    case_id: str
    mask: npt.NDArray[np.uint8]
    geometry: Geometry
    labels: tuple[int, ...] = (1,)
    unmet: tuple[Click, ...] = ()
    source: Path | None = None
