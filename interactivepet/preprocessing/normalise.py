"""Bring intensities into the range that networks learn from, as planned for each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.plan import Normalisation

__all__ = ["normalise"]

SMALLEST_SPREAD = 1e-8
"""Deviation, or range, below which an image is constant: it becomes 0."""

FloatVolume = npt.NDArray[np.float32]


def normalise(image: FloatVolume, plans: Sequence[Normalisation], *, out: FloatVolume | None = None) -> FloatVolume:
    """Normalise each channel by its plan.

    Args:
        image: (C, I, J, K) in the units of the files, cropped to what is kept.
        plans: one a channel.
        out: (C, I, J, K) to write into; may be `image` itself, which is then lost. None makes a new array.

    Returns:
        (C, I, J, K) float32: `out`.
    """
    result = np.empty(image.shape, np.float32) if out is None else out
    for values, plan, channel in zip(image, plans, result, strict=True):
        _normalise_channel(values, plan, channel)
    return result


def _normalise_channel(values: FloatVolume, plan: Normalisation, out: FloatVolume) -> None:
    if plan.clip is None:
        np.copyto(out, values)
    else:
        np.clip(values, *plan.clip, out=out)
    low, spread = _measure(out, plan)
    out -= np.float32(low)
    out /= np.float32(max(spread, SMALLEST_SPREAD))


def _measure(values: FloatVolume, plan: Normalisation) -> tuple[float, float]:
    """Give what is subtracted and what is divided by."""
    if plan.scheme == "minmax":
        low = float(values.min())
        return low, float(values.max()) - low
    if plan.scheme == "zscore":
        mean = float(values.mean(dtype=np.float64))
        # Plane by plane, since a deviation in double precision would copy the whole channel.
        squares = sum(float(np.square(plane.astype(np.float64) - mean).sum()) for plane in values)
        return mean, (squares / values.size) ** 0.5
    return plan.mean, plan.std
