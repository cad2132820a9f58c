"""Which frame of a dynamic or gated image stands for it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from interactivepet.errors import CaseError

__all__ = ["TimeFrame", "parse_time_frame", "pick_time_frame"]

TimeFrame = int | Literal["mean", "last"]
"""A frame by its number from 1, as DICOM counts; the mean over time; or the last frame."""


def parse_time_frame(text: str) -> TimeFrame:
    """Parse what `--time-frame` takes.

    Raises:
        ValueError: it is neither a whole number of at least 1, nor `mean`, nor `last`.
    """
    match text:
        case "mean" | "last":
            return text
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is not a whole number of at least 1")
    return number


def pick_time_frame(
    frames: npt.NDArray[np.float32],
    time_frame: TimeFrame,
    *,
    name: str,
    durations: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float32]:
    """Pick one volume of a dynamic image.

    Args:
        frames: (T, I, J, K), one volume per frame in temporal order.
        time_frame: the frame that was asked for.
        name: name of the image, for the error.
        durations: (T,) in seconds, the weights of the mean; None weighs all frames alike.

    Returns:
        (I, J, K) float32.

    Raises:
        CaseError: there is no frame of this number.
    """
    if time_frame == "mean":
        return np.asarray(np.average(frames, axis=0, weights=durations), np.float32)
    number = len(frames) if time_frame == "last" else time_frame
    if number > len(frames):
        raise CaseError(f"{name}: {_describe_choice(len(frames), number)}")
    return np.asarray(frames[number - 1])


def _describe_choice(n_frames: int, number: int) -> str:
    if n_frames == 1:
        return f"one frame, but --time-frame {number}; leave --time-frame out"
    return f"{n_frames} frames, but --time-frame {number}; choose 1 to {n_frames}, mean or last"
