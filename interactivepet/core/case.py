"""One patient scan in memory, raw or preprocessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import IDENTITY, Permutation, transpose
from interactivepet.core.geometry import BoundingBox, Geometry, SpatialTrace

__all__ = ["Case", "PreprocessedCase", "find_body_box"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan on its own grid.

    Attributes:
        id: the case's identifier, unique in its task.
        image: (C, I, J, K) float32 in the units of the files (SUV, Bq/ml, HU, counts).
        geometry: the grid of every channel and of the label. A 2D image has K = 1.
        label: (I, J, K) uint8, 0 is background; None when unknown.
        source: file of the first channel, whose placement a mask takes over bit by bit; None for DICOM and pictures.
    """

    id: str
    image: npt.NDArray[np.float32]
    geometry: Geometry
    label: npt.NDArray[np.uint8] | None = None
    source: Path | None = None

    def permuted(self, axes: Permutation) -> Case:
        """Give the same voxels in another order of the axes; itself where nothing changes."""
        if axes == IDENTITY:
            return self
        label = None if self.label is None else transpose(self.label, axes)
        return Case(self.id, transpose(self.image, axes), self.geometry.permuted(axes), label, self.source)


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedCase:
    """A scan as networks see it: its axes in the plan's order, cropped, resampled to the plan's spacing and normalised.

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


def find_body_box(image: npt.NDArray[np.float32]) -> BoundingBox:
    """Find the box outside of which every channel holds only its background value.

    The background value is each channel's minimum: 0 in PET, SPECT and MR, the padding value in CT.
    nnU-Net crops to non-zero voxels, which keeps all of a CT.

    Args:
        image: (C, I, J, K).

    Returns:
        The box; the whole grid for a constant image.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    shown = np.zeros(shape, dtype=bool)
    for channel in image:
        shown |= channel > channel.min()
    return BoundingBox.of(shown) or BoundingBox((0, 0, 0), shape)
