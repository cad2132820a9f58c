"""One patient scan in memory, raw or preprocessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry, SpatialTrace

__all__ = ["Case", "PreprocessedCase"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan on its own grid.

    Attributes:
        id: the case's identifier, unique in its task.
        image: (C, I, J, K) float32 in the units of the files (SUV, Bq/ml, HU, counts).
        geometry: the grid of every channel and of the label. A 2D image has K = 1.
        label: (I, J, K) uint8, 0 is background; None when unknown.
    """

    id: str
    image: npt.NDArray[np.float32]
    geometry: Geometry
    label: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedCase:
    """A scan as networks see it: cropped, resampled to the plan's spacing and normalised.

    Attributes:
        id: the case's identifier.
        image: (C, I, J, K) float32, normalised, on `trace.resampled`.
        label: (I, J, K) uint8 on the same grid; None when unknown.
        trace: the way back to the scanner's grid.
    """

    id: str
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8] | None
    trace: SpatialTrace
