"""Large arrays that change box by box: every version stays as it was and holds what is new only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox

__all__ = ["MOST_PATCHES", "PatchedArray"]

MOST_PATCHES = 32
"""Boxes on top of each other before they are joined: reading goes through all of them."""

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PatchedArray:
    """A version of an array (C, I, J, K).

    Attributes:
        values: (C, *box.shape) float32; never written to.
        box: where they lie; the whole array when there is nothing below.
        below: the version that this one changes.
        depth: how many are below.
    """

    values: FloatVolume
    box: BoundingBox
    below: PatchedArray | None = None
    depth: int = 0

    @staticmethod
    def of(values: FloatVolume) -> PatchedArray:
        """Begin with a whole array, which must not be written to any more."""
        return PatchedArray(values, BoundingBox((0, 0, 0), (values.shape[1], values.shape[2], values.shape[3])))

    def changed(self, values: FloatVolume, box: BoundingBox) -> PatchedArray:
        """Give the version with other values (C, *box.shape) in a box."""
        below = PatchedArray.of(self.flatten()) if self.depth >= MOST_PATCHES else self
        return PatchedArray(values, box, below, below.depth + 1)

    def flatten(self) -> FloatVolume:
        """Give the whole array."""
        bottom = self
        while bottom.below is not None:
            bottom = bottom.below
        return self.read(bottom.box)

    def read(self, box: BoundingBox) -> FloatVolume:
        """Give a new array of the values in a box."""
        chain: list[PatchedArray] = []
        array: PatchedArray | None = self
        while array is not None:
            chain.append(array)
            array = array.below
        result = np.empty((len(self.values), *box.shape), np.float32)
        for part in reversed(chain):
            _paste(part, result, box)
        return result


def _paste(array: PatchedArray, target: FloatVolume, box: BoundingBox) -> None:
    """Copy what an array and a box have in common into `target`, the values of the box."""
    shared = array.box.intersection(box)
    if shared is not None:
        target[(slice(None), *shared.slices_in(box))] = array.values[(slice(None), *shared.slices_in(array.box))]
