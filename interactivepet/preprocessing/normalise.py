"""Bring intensities into the range that networks learn from, as planned for each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.plan import Normalisation

__all__ = ["normalise"]


def normalise(image: npt.NDArray[np.float32], plans: Sequence[Normalisation]) -> npt.NDArray[np.float32]:
    """Normalise each channel by its plan.

    Args:
        image: (C, I, J, K) in the units of the files, cropped to the body.
        plans: one a channel.

    Returns:
        (C, I, J, K) float32; a new array.
    """
    return np.stack([_normalise_channel(channel, plan) for channel, plan in zip(image, plans, strict=True)])


def _normalise_channel(values: npt.NDArray[np.float32], plan: Normalisation) -> npt.NDArray[np.float32]:
    clipped = values if plan.clip is None else np.clip(values, *plan.clip)
    if plan.scheme == "zscore":
        mean = float(clipped.mean(dtype=np.float64))
        std = float(clipped.std(dtype=np.float64))
        return ((clipped - mean) / max(std, 1e-8)).astype(np.float32)
    return ((clipped - plan.mean) / plan.std).astype(np.float32)
