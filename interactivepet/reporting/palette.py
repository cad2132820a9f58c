"""Small pictures of uptake: inverted grey, tinted where a region lies, as PNG files with a palette."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.summary import RegionStatus
from interactivepet.core.uptake import UNIT_OF_VARIANT, UptakeUnit

__all__ = ["STATUS_COLOURS", "encode_picture", "find_window_top"]

STATUS_COLOURS: Final[dict[RegionStatus, tuple[int, int, int]]] = {
    "lesion": (205, 16, 38),
    "unsure": (214, 122, 0),
    "physiological": (20, 96, 200),
}
"""RGB of regions on pictures and in tables."""
SUV_TOP: Final = 10.0
"""SUV that is black."""
TOP_PERCENTILE: Final = 99.9
"""Of the positive voxels: what is black in images that are not in SUV."""
_N_GREY = 100
_N_TINT = 52
_LIGHT = 0.22
"""Share of a tint's colour where the uptake is 0."""


def find_window_top(image: npt.NDArray[np.float32], unit: UptakeUnit) -> float:
    """Give the uptake that is black; 0 is white."""
    if unit in UNIT_OF_VARIANT.values():
        return SUV_TOP
    positive = image[image > 0]
    return float(np.percentile(positive, TOP_PERCENTILE)) if positive.size else 1.0


def encode_picture(
    uptake: npt.NDArray[np.float32], *, top: float, statuses: npt.NDArray[np.uint8] | None = None
) -> bytes:
    """Encode a picture as PNG.

    Args:
        uptake: (rows, columns), the first row is the upper one.
        top: uptake that is black; 0 and less is white.
        statuses: (rows, columns), 0 for grey and n for the n-th status of `STATUS_COLOURS`; None for all grey.
    """
    from PIL import Image

    share = np.clip(uptake / top, 0, 1)
    index = np.rint(share * (_N_GREY - 1)).astype(np.uint8)
    if statuses is not None:
        tinted = statuses > 0
        level = np.rint(share[tinted] * (_N_TINT - 1)).astype(np.uint8)
        index[tinted] = _N_GREY + (statuses[tinted] - 1) * _N_TINT + level
    picture = Image.fromarray(index)
    picture.putpalette(_make_palette())
    buffer = BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _make_palette() -> list[int]:
    """Give 256 colours: greys from white to black, then each status from its light to its dark tint."""
    grey = np.repeat(np.linspace(255, 0, _N_GREY)[:, None], 3, axis=1)
    tints = [_make_tint(np.asarray(colour, float)) for colour in STATUS_COLOURS.values()]
    return [int(value) for value in np.rint(np.concatenate([grey, *tints])).ravel()]


def _make_tint(colour: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    white = np.full(3, 255.0)
    stops = np.stack([white + _LIGHT * (colour - white), colour, 0.45 * colour])
    share = np.linspace(0, 1, _N_TINT)
    return np.stack([np.interp(share, (0, 0.55, 1), stops[:, channel]) for channel in range(3)], axis=1)
