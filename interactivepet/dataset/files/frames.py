"""Dynamic and gated images in one file -> the volume that stands for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.time_frame import TimeFrame, pick_time_frame
from interactivepet.dataset.files.read import read_image
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.errors import CaseError

__all__ = ["PICTURE_ENDINGS", "pick_frames", "read_frame"]

PICTURE_ENDINGS = (".png", ".tif", ".tiff")
"""Files whose volumes are colours."""

logger = logging.getLogger(__name__)


def read_frame(
    paths: Sequence[Path], time_frame: TimeFrame, *, n_channels: int
) -> tuple[npt.NDArray[np.float32], Geometry]:
    """Read one frame of a case, one file per channel.

    Args:
        paths: in channel order; a file holds one volume, or one per frame.
        time_frame: which frame to take.
        n_channels: of the case.

    Returns:
        (C, I, J, K) in the files' unit, and the grid of the first file.

    Raises:
        CaseError: a file cannot be read, there is no such frame, channels differ in their grid, or one file holds
            several channels, which cannot be told from frames.
    """
    if len(paths) != n_channels:
        raise CaseError(
            f"{paths[0]}: --time-frame needs one file per channel, and {len(paths)} of {n_channels} are there; split "
            "the channels, or leave --time-frame out"
        )
    read = [read_image([path]) for path in paths]
    geometry = read[0][1]
    for path, (_, other) in zip(paths, read, strict=True):
        if not other.matches(geometry):
            found = describe_mismatch(path.name, other, other_name=paths[0].name, other=geometry)
            raise CaseError(f"{path}: {found}; resample the channels to one grid")
    picked, remark = pick_frames([image for image, _ in read], time_frame, names=paths)
    if remark:
        logger.info("%s: %s", paths[0].name, remark)
    return np.concatenate(picked), geometry


def pick_frames(
    images: Sequence[npt.NDArray[np.float32]], time_frame: TimeFrame, *, names: Sequence[Path]
) -> tuple[list[npt.NDArray[np.float32]], str]:
    """Take one frame of each channel that has several; a channel of one volume beside such a one is static.

    Args:
        images: (T, I, J, K) per channel.
        time_frame: which frame to take.
        names: their files, for messages.

    Returns:
        (1, I, J, K) per channel, and what was taken, in words; empty where nothing had several frames.

    Raises:
        CaseError: there is no such frame, or the volumes are the colours of a picture.
    """
    most = max(len(image) for image in images)
    picked = []
    for image, name in zip(images, names, strict=True):
        if len(image) > 1 and name.suffix.lower() in PICTURE_ENDINGS:
            raise CaseError(f"{name}: {len(image)} colours, which are no frames; save it in shades of grey")
        is_static = len(image) == 1 < most
        picked.append(image if is_static else pick_time_frame(image, time_frame, name=str(name))[None])
    words = f"a dynamic image of {most} frames, of which --time-frame {time_frame} was taken" if most > 1 else ""
    return picked, words
