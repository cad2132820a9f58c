"""A patch of a training batch as the network sees it, to be shown to people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Sample"]

FloatMap = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One patch as the network sees it, all of it (I, J, K) on one grid.

    Attributes:
        image: the first channel, normalised.
        positive: maximum over the labels of the maps of positive clicks, in [0, 1].
        negative: the same of negative clicks.
        previous: the mask to be corrected, 0 is background.
        label: what it should give, 0 is background.
    """

    image: FloatMap
    positive: FloatMap
    negative: FloatMap
    previous: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
