"""A file's voxels before anything is made of them: channels first, axes (i, j, k), with their grid."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry, Shape
from interactivepet.errors import CaseError

__all__ = [
    "DEFLATE_RATIO",
    "LABEL_TOLERANCE",
    "LARGEST_VOLUME_BYTES",
    "Header",
    "Volume",
    "describe_mismatch",
    "make_header",
    "naming_file",
    "refuse_size",
    "round_labels",
]

LABEL_TOLERANCE = 1e-3
"""Largest distance from an integer that still counts as one: rounding, not interpolation."""
LARGEST_VOLUME_BYTES = 8 * 2**30
"""More voxels than this are refused: twice a whole-body CT of 512 x 512 x 2000 in double precision."""
DEFLATE_RATIO = 1032
"""No stream of zlib or gzip inflates by more (its own documentation)."""
_LARGEST_STEP = 0.5
"""Coarser steps between stored values cannot have rounded a label, so they earn no more tolerance."""
_LARGEST_LINK_BYTES = 1024
"""A file shorter than this may be a symbolic link that was stored as text."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a file says before its voxels are read.

    Attributes:
        geometry: the grid; K = 1 for a 2D file.
        n_channels: number of channels.
        remark: what the header contradicts itself in, and what was taken; empty when it does not.
    """

    geometry: Geometry
    n_channels: int
    remark: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The voxels of one file.

    Attributes:
        values: (C, I, J, K), real numbers in the file's unit, after the file's own scaling.
        geometry: the grid; K = 1 for a 2D file.
        step: distance between two neighbouring stored values when integers were scaled, else 0.
        remark: as in `Header`.
    """

    values: npt.NDArray[Any]
    geometry: Geometry
    step: float = 0.0
    remark: str = ""


def make_header(shape: tuple[int, ...], affine: npt.ArrayLike) -> Header:
    """Interpret a file's axes (i, j[, k[, channels]]) and its transform.

    Args:
        shape: length of every axis; axes of length 1 after the third do not count.
        affine: (4, 4), voxel centre indices -> RAS+ mm.

    Raises:
        ValueError: the axes are not those of an image, or the transform cannot be inverted.
    """
    channels = [n for n in shape[3:] if n != 1]
    if len(shape) < 2 or 0 in shape or len(channels) > 1:
        raise ValueError(f"shape {shape}, expected (i, j), (i, j, k) or (i, j, k, channels), none of them 0")
    i, j, k = (*shape, 1)[:3]
    matrix = np.array(affine, dtype=np.float64)
    if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < 4:
        raise ValueError(f"its transform to mm cannot be inverted: {matrix.tolist()}")
    return Header(Geometry((i, j, k), matrix), channels[0] if channels else 1)


@contextmanager
def naming_file(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn a library's `errors` into a `CaseError` that names the file and what to do.

    Raises:
        CaseError: one of `errors` was raised inside.
    """
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CaseError(f"{path}: cannot be read ({reason}); {_remedy(path, error)}") from error


def refuse_size(shape: Sequence[int], *, item_bytes: int, file_bytes: int | None = None, ratio: int = 1) -> None:
    """Refuse a header that promises more voxels than there can be, before any memory is taken for them.

    Args:
        shape: length of every axis that the header promises.
        item_bytes: of one voxel, all its channels together.
        file_bytes: size of the file; None when the voxels may lie elsewhere or pack more densely than known.
        ratio: how many voxel bytes one byte of the file can hold at most.

    Raises:
        ValueError: more than `LARGEST_VOLUME_BYTES`, or than the file can hold.
    """
    promised = math.prod(int(n) for n in shape) * item_bytes
    size = "x".join(str(n) for n in shape)
    if promised > LARGEST_VOLUME_BYTES:
        raise ValueError(f"its header promises {size} voxels, {promised / 2**30:.3g} GiB, expected 8 GiB at most")
    if file_bytes is not None and promised > file_bytes * ratio:
        raise ValueError(
            f"its header promises {size} voxels, {promised} bytes, but a file of {file_bytes} bytes is there"
        )


def _remedy(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
        return "you have no right to read it: ask for it, or copy it as its owner"
    if path.stat().st_size == 0:
        return "the file is empty: copy or export it again"
    if path.stat().st_size < _LARGEST_LINK_BYTES:
        text = path.read_bytes().decode("utf-8", errors="replace").strip()
        if text.isprintable() and "/" in text:
            return f"it is a link that was stored as text: put {text} in its place"
    return "the file is damaged or not what its ending says: copy or export it again"


def round_labels(volume: Volume, *, channel: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Round a mask's values to integers, as far as the file's own scaling may have blurred them.

    A mask of 0 and 1 that was saved as scaled bytes comes back as 0 and 1.004, half a step away.

    Args:
        volume: the file's voxels.
        channel: which of its channels.

    Returns:
        The rounded values (I, J, K), and where the file holds no integer (I, J, K).
    """
    values = volume.values[channel]
    if values.dtype.kind != "f":
        return values, np.zeros(values.shape, dtype=bool)
    rounded = np.rint(values)
    tolerance = LABEL_TOLERANCE + (volume.step / 2 if volume.step < _LARGEST_STEP else 0.0)
    with np.errstate(invalid="ignore"):
        is_integer = np.abs(values - rounded) <= tolerance
    return rounded, ~is_integer


def describe_mismatch(name: str, geometry: Geometry, *, other_name: str, other: Geometry) -> str:
    """Say how two grids differ: `label grid 41x43x59 but PET grid 41x43x60`."""
    if geometry.shape != other.shape:
        return f"{name} grid {_size(geometry.shape)} but {other_name} grid {_size(other.shape)}"
    return (
        f"{name} grid {_place(geometry)} but {other_name} grid {_place(other)}, "
        f"up to {geometry.offset_mm(other):.3g} mm apart"
    )


def _size(shape: Shape) -> str:
    return "x".join(str(n) for n in shape)


def _place(geometry: Geometry) -> str:
    spacing = " x ".join(f"{v:.4g}" for v in geometry.spacing_mm)
    origin = ", ".join(f"{v:.2f}" for v in geometry.affine[:3, 3])
    return f"of {spacing} mm from ({origin})"
