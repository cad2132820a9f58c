"""Measures of an exported mask as a DICOM structured report over the series that the image came from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interactivepet.core.geometry import Geometry
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.dicom.reference import SERIES_TOLERANCE_MM, draw_on_series
from interactivepet.errors import CaseError
from interactivepet.quantification.case import measure_regions

if TYPE_CHECKING:
    import numpy.typing as npt

    from interactivepet.dataset.dicom.reference import SourceSeries
    from interactivepet.dataset.dicom.tree import FoundSeries

__all__ = ["write_measures"]

logger = logging.getLogger(__name__)


def write_measures(
    path: Path, mask: npt.NDArray[np.uint8], *, geometry: Geometry, labels: Mapping[str, int], series: FoundSeries
) -> tuple[Path, ...]:
    """Measure a mask on its PET series and write the report and the segmentation that it refers to.

    Args:
        path: the report, `CASE.sr.dcm`.
        mask: (I, J, K), 0 is background.
        geometry: its grid: the series' own or a part of it.
        labels: name -> value.
        series: that the image came from. PET is converted to SUV by body weight; of other series only volume and
            shape are reported.

    Returns:
        The files.

    Raises:
        CaseError: tags that SUV needs are missing (all of them are listed), the series has several time frames, or
            the mask does not fit it.
    """
    from interactivepet.dataset.dicom.sr import write_sr

    drawn = draw_on_series(mask, geometry, labels=labels, series=series.paths, name=str(path))
    image, unit = _read_uptake(series, drawn.source)
    grid = drawn.source.geometry
    regions = measure_regions(image, drawn.mask, geometry=grid, labels=labels, unit=unit)
    return write_sr(path, drawn.mask, geometry=grid, labels=labels, series=series.paths, regions=regions, unit=unit)


def _read_uptake(series: FoundSeries, source: SourceSeries) -> tuple[npt.NDArray[np.float32], UptakeUnit]:
    """Read SUV (columns, rows, slices) on the grid of a series; zeros, of no unit, where it is no PET."""
    from interactivepet.dataset.dicom.case import read_suv_series

    if series.modality != "PT":
        logger.info("%s is no PET: the report has volume and shape, and no uptake", series.description or series.uid)
        return np.zeros(source.geometry.shape, np.float32), "unknown"
    try:
        image, grid, _ = read_suv_series(series.paths)
    except CaseError as error:
        raise CaseError(
            f"series {series.description or series.uid} cannot be measured in SUV ({error}); add what is missing, or "
            "export without sr"
        ) from error
    if not grid.matches(source.geometry, SERIES_TOLERANCE_MM):
        raise CaseError(f"series {series.uid}: SUV lies on another grid than the mask; export the series again")
    return image, "suv"
