"""The intensities that networks were trained on, channel by channel, to tell an image in another unit."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from interactivepet.core.artefact import Record

__all__ = ["FACTOR_LIMIT", "IntensityRange", "measure_range"]

FACTOR_LIMIT = 50.0
"""An image this many times stronger or weaker than any of training is in another unit: patients, tracers and doses
differ less, and SUV and Bq/ml by several thousand."""

PERCENTILES = (1.0, 99.0)
"""Of the voxels above the mean."""

MOST_VALUES = 1_000_000
"""Voxels of a channel that are looked at, evenly spread; more would only take longer."""


class IntensityRange(Record):
    """What the brighter voxels of some cases hold in one channel, in the channel's own unit.

    Of each case the voxels above its mean count, from their 1st to their 99th percentile: air, of which an image may
    have much or little, is left out.
    """

    low: float
    """The lowest 1st percentile of any case."""
    high: float
    """The highest 99th percentile of any case."""
    weakest: float
    """The smallest magnitude of any case: the larger absolute value of its two percentiles."""

    @property
    def strongest(self) -> float:
        """The largest magnitude of any case."""
        return max(abs(self.low), abs(self.high))

    @classmethod
    def of(cls, low: float, high: float) -> Self:
        """Give the range of one case."""
        return cls(low=low, high=high, weakest=max(abs(low), abs(high)))

    def joined(self, other: IntensityRange) -> IntensityRange:
        """Give the range of both."""
        return IntensityRange(
            low=min(self.low, other.low), high=max(self.high, other.high), weakest=min(self.weakest, other.weakest)
        )

    def is_outside(self, seen: IntensityRange) -> bool:
        """Whether no value of this range lies in another one."""
        return self.low > seen.high or self.high < seen.low

    def is_stronger(self, seen: IntensityRange) -> bool:
        """Whether this range reaches further than another one, in either direction from 0."""
        return self.strongest > seen.strongest

    def __str__(self) -> str:
        """Give both ends."""
        return f"{self.low:.4g} to {self.high:.4g}"

    def factor(self, seen: IntensityRange) -> float:
        """Give how many times this case is stronger, or weaker, than every case of another range; at least 1."""
        if self.strongest <= 0 or seen.weakest <= 0:
            return 1.0
        return max(1.0, self.strongest / seen.strongest, seen.weakest / self.weakest)


def measure_range(values: npt.NDArray[Any]) -> IntensityRange | None:
    """Measure one channel.

    Only voxels above the mean count. In PET most of an image is air, whose values near 0 belong to the range of any
    unit; the mean follows the unit, whatever it is, and leaves air out.

    Args:
        values: (I, J, K) in the unit of the files.

    Returns:
        None for a channel without contrast or with voxels that are not finite, which other checks report, and for one
        whose brightest voxels are 0.
    """
    flat = values.ravel()
    sample = np.asarray(flat[:: max(1, flat.size // MOST_VALUES)], np.float64)
    mean = float(sample.mean())
    bright = sample[sample > mean] if math.isfinite(mean) else sample[:0]
    if bright.size == 0:
        return None
    low, high = (float(value) for value in np.percentile(bright, PERCENTILES))
    return IntensityRange.of(low, high) if low or high else None
