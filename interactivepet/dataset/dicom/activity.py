"""One PET series as it was stored, in Bq/ml or counts, for scans of which no SUV can be made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.uptake import UptakeUnit
from interactivepet.errors import CaseError

__all__ = ["STORED_UNITS", "read_stored_series"]

STORED_UNITS: Final[dict[UptakeUnit, str]] = {"bq_per_ml": "BQML", "counts": "CNTS"}
"""Unit -> Units (0054,1001) of a series that holds it."""


def read_stored_series(paths: Sequence[Path], *, unit: UptakeUnit) -> tuple[npt.NDArray[np.float32], Geometry]:
    """Read a static series without conversion to SUV.

    Args:
        paths: of its files, in any order.
        unit: of `STORED_UNITS`. A series without Units (0054,1001) is taken to hold it.

    Returns:
        Uptake (I, J, K) and its grid.

    Raises:
        CaseError: the series holds another unit, tags of its slices are missing, or they do not make a volume.
    """
    from interactivepet.dataset.dicom.series import arrange_slices, find_missing_slice_tags
    from interactivepet.dataset.dicom.slices import read_slices, read_voxels

    slices = read_slices(paths)
    headers = [one.header for one in slices]
    stored = sorted({str(header.get("Units") or "") for header in headers} - {"", STORED_UNITS[unit]})
    if stored:
        raise CaseError(
            f"{paths[0].parent}: Units (0054,1001) is {', '.join(stored)}, expected {STORED_UNITS[unit]} for {unit}; "
            "name the unit that the series has, or SUV"
        )
    if missing := find_missing_slice_tags(headers):
        raise CaseError(f"{paths[0].parent}: tags are missing: {', '.join(missing)}; export the series again")
    order = arrange_slices(headers, [one.path for one in slices])
    return read_voxels(slices, order), order.geometry
