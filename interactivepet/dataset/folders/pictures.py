"""PNG of projections: their pixels, and the mask in a picture of two values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import read_volume
from interactivepet.errors import CaseError

__all__ = ["BLACK", "WHITE", "read_luminance", "read_mask_picture"]

BLACK, WHITE = 0, 255
"""Luminance."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
_SHOWN = 5
"""Values of a mask that an error message lists."""
_TRANSPARENT = (0, 0, 0, 0)


def read_luminance(path: Path, *, behind: int) -> tuple[npt.NDArray[np.float32], Geometry]:
    """Read a picture's luminance.

    Args:
        path: PNG of 8 bits per sample.
        behind: luminance of what shines through where the picture is not opaque.

    Returns:
        (I, J, 1) from 0 to 255, i being columns and j rows; and a grid of 1 mm on which viewers show it upright.

    Raises:
        CaseError: the file cannot be read, or has other numbers than bytes.
    """
    luminance = _find_luminance(_read_pixels(path), behind=behind)
    i, j, k = luminance.shape
    return luminance, Geometry((i, j, k), np.diag([-1.0, -1.0, 1.0, 1.0]))


def _find_luminance(values: npt.NDArray[np.uint8], *, behind: int) -> npt.NDArray[np.float32]:
    """Find the luminance (I, J, K) of samples (C, I, J, K)."""
    colours = values[: 3 if len(values) > 2 else 1].astype(np.float32)
    luminance = np.tensordot(np.asarray(_LUMINANCE), colours, axes=1).round(3) if len(colours) == 3 else colours[0]
    if len(values) in (2, 4):
        opacity = values[-1] / np.float32(WHITE)
        luminance = behind + opacity * (luminance - behind)
    in_bytes: npt.NDArray[np.float32] = luminance.astype(np.float32)
    return in_bytes


def read_mask_picture(path: Path, *, above: int | None = None) -> npt.NDArray[np.uint8]:
    """Read the mask in a picture of two values, whatever they are.

    The background is the transparent value, else black, else the value that fills more of the picture and of its
    border. A picture of one value is a mask without lesion when that value could be a background. A picture in which
    these signs contradict each other is refused. An opacity that is the same everywhere says nothing and is ignored.

    Args:
        path: PNG of 8 bits per sample, grey or colours, with or without opacity.
        above: luminance over black above which a pixel is lesion, for pictures of more values; None refuses these.

    Returns:
        (I, J, 1) of 0 and 1, i being columns and j rows.

    Raises:
        CaseError: the file cannot be read, or it is open which pixels are lesion; the message says how to answer.
    """
    pixels = _read_pixels(path)
    if len(pixels) in (2, 4) and (pixels[-1] == pixels[-1].flat[0]).all():
        pixels = pixels[:-1]
    if above is not None:
        return np.asarray(_find_luminance(pixels, behind=BLACK) > above, np.uint8)
    values, index, counts = _find_values(pixels)
    if len(values) > 2:
        shown = ", ".join(map(_name, values[:_SHOWN])) + (", ..." if len(values) > _SHOWN else "")
        raise CaseError(
            f"{path}: a mask of {len(values)} values ({shown}), expected two, background and lesion; save it with two, "
            "or say with --mask-above N that pixels with a luminance above N are lesion"
        )
    if len(values) == 1:
        if not _is_background(values[0]):
            raise CaseError(
                f"{path}: every pixel of the mask is {_name(values[0])}, so it is open whether everything is lesion or "
                "nothing; save a mask without lesion as black"
            )
        return np.zeros(index.shape, np.uint8)
    background = _choose_background(path, values, index, counts=counts)
    return np.asarray(index != background, np.uint8)


def _choose_background(
    path: Path, values: Sequence[tuple[int, ...]], index: npt.NDArray[np.intp], *, counts: npt.NDArray[np.intp]
) -> int:
    """Choose which of two values is the background, as a position."""
    border = np.concatenate([index[0].ravel(), index[-1].ravel(), index[1:-1, 0].ravel(), index[1:-1, -1].ravel()])
    surrounding = int(np.bincount(border, minlength=2).argmax())
    more_frequent = int(np.argmax(counts))
    marked = sorted((value[-1], number) for number, value in enumerate(values) if _is_background(value))
    if marked and marked[0][1] in (surrounding, more_frequent):
        return marked[0][1]
    if not marked and surrounding == more_frequent:
        return surrounding
    raise CaseError(
        f"{path}: a mask of {_name(values[0])} and {_name(values[1])} in which {_name(values[more_frequent])} is more "
        f"frequent and {_name(values[surrounding])} fills the border, so it is open which of them is the lesion; save "
        "it with a black background"
    )


def _is_background(value: tuple[int, ...]) -> bool:
    """Whether a colour (red, green, blue, opacity) is transparent or black."""
    return value[3] == 0 or value[:3] == (0, 0, 0)


def _find_values(
    pixels: npt.NDArray[np.uint8],
) -> tuple[list[tuple[int, ...]], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find the colours of a picture (C, I, J, 1).

    Returns:
        The colours as (red, green, blue, opacity), where each is (I, J, 1), and how many pixels have it. What is
        transparent is one colour.
    """
    opacity = pixels[-1:] if len(pixels) in (2, 4) else np.full_like(pixels[:1], WHITE)
    colours = pixels[:3] if len(pixels) > 2 else np.repeat(pixels[:1], 3, axis=0)
    rows = np.concatenate([colours, opacity]).reshape(4, -1).T.copy()
    rows[rows[:, 3] == 0] = _TRANSPARENT
    packed = np.ascontiguousarray(rows).view(np.uint32).ravel()
    _, first, index, counts = np.unique(packed, return_index=True, return_inverse=True, return_counts=True)
    values = [tuple(int(sample) for sample in rows[row]) for row in first]
    return values, index.reshape(pixels.shape[1:]), counts


def _name(value: tuple[int, ...]) -> str:
    """Name a colour for a message: `black`, `red 200 green 10 blue 10`, `grey 1`, with its opacity where not opaque."""
    red, green, blue, opacity = value
    if opacity == 0:
        return "transparent"
    if red == green == blue:
        name = {BLACK: "black", WHITE: "white"}.get(red, f"grey {red}")
    else:
        name = f"colour ({red}, {green}, {blue})"
    return name if opacity == WHITE else f"{name} of opacity {opacity}"


def _read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture's samples (C, I, J, 1)."""
    values: npt.NDArray[Any] = read_volume(path).values
    if values.dtype != np.uint8:
        raise CaseError(
            f"{path}: numbers of {values.dtype}, expected bytes from 0 to 255; save it with 8 bits per colour"
        )
    return values
