"""Arrays on disk: chunked, compressed and readable by box, as blosc2 `.b2nd` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.dataset.write import atomic_path
from interactivepet.errors import ArtefactError, MissingArtefactError

__all__ = ["open_array", "read_array", "write_array"]

CHUNK_EDGE = 32
"""Spatial chunk edge in voxels: a training patch then touches few chunks and reads little beyond itself."""


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array atomically.

    Args:
        path: ends in `.b2nd`.
        array: (..., I, J, K); chunks span all leading axes and `CHUNK_EDGE` voxels of the last three.
    """
    import blosc2

    chunks = tuple(array.shape[:-3]) + tuple(min(CHUNK_EDGE, n) for n in array.shape[-3:])
    with atomic_path(path) as partial:
        partial.unlink(missing_ok=True)
        cparams = {"codec": blosc2.Codec.ZSTD, "clevel": 3, "nthreads": 1}
        blosc2.asarray(np.ascontiguousarray(array), urlpath=str(partial), chunks=chunks, cparams=cparams, mode="w")


def open_array(path: Path, *, command: str) -> Any:
    """Open an array for partial reads: index the result like a numpy array.

    Args:
        path: as given to `write_array`.
        command: what the user must run when the file is not there.

    Raises:
        MissingArtefactError: the file is not there.
        ArtefactError: the file is damaged.
    """
    import blosc2

    if not path.is_file():
        raise MissingArtefactError(f"{path} is not there; run {command} first")
    try:
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtefactError(_describe_damage(path, error, command=command)) from error


def read_array(path: Path, *, command: str) -> npt.NDArray[Any]:
    """Read a whole array; raises as `open_array` does."""
    array = open_array(path, command=command)
    try:
        values: npt.NDArray[Any] = array[:]
    except RuntimeError as error:
        # The file opens by its header; what lies between only shows when it is decompressed.
        raise ArtefactError(_describe_damage(path, error, command=command)) from error
    return values


def _describe_damage(path: Path, error: Exception, *, command: str) -> str:
    return f"{path} cannot be read ({error}); delete it and run {command} again"
