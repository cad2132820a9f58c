"""The page of one patient: a turning projection, planes through every region, measures, settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.summary import PatientSummary, RegionSummary
from interactivepet.reporting.html import render_page
from interactivepet.reporting.lesion_views import LesionView, draw_views
from interactivepet.reporting.measure_columns import describe_unit, list_columns, list_other_names
from interactivepet.reporting.palette import STATUS_COLOURS, find_window_top
from interactivepet.reporting.projections import Projections, draw_flat, draw_projections
from interactivepet.reporting.views import reorient, reorient_geometry

__all__ = ["MOST_VIEWED", "PatientPictures", "draw_patient", "make_patient_page", "render_patient"]

MOST_VIEWED: Final = 100
"""Regions whose planes are drawn: with more, a page would be larger than 3 MB. The table has all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class PatientPictures:
    """Pictures of one patient.

    Attributes:
        projections: the body from all angles.
        views: planes of the first regions, in their order.
        top: uptake that is black in the projections.
    """

    projections: Projections
    views: tuple[tuple[LesionView, ...], ...]
    top: float


def make_patient_page(
    summary: PatientSummary,
    image: npt.NDArray[np.float32],
    *,
    regions: npt.NDArray[np.integer],
    geometry: Geometry,
) -> str:
    """Make the page of one patient, which needs no other file.

    Args:
        summary: what the page says.
        image: (I, J, K) uptake in the summary's unit, finite.
        regions: (I, J, K), 0 or n for the n-th region of the summary.
        geometry: the grid of both.

    Returns:
        The page's text. Without a script the projection shows its first picture.
    """
    return render_patient(summary, draw_patient(summary, image, regions=regions, geometry=geometry))


def draw_patient(
    summary: PatientSummary,
    image: npt.NDArray[np.float32],
    *,
    regions: npt.NDArray[np.integer],
    geometry: Geometry,
) -> PatientPictures:
    """Draw the pictures of one patient; see `make_patient_page` for the arguments."""
    turned, numbers, grid = reorient(image, geometry), reorient(regions, geometry), reorient_geometry(geometry)
    top = find_window_top(turned, summary.unit)
    order = list(STATUS_COLOURS)
    statuses = [order.index(region.status) + 1 for region in summary.regions]
    draw = draw_flat if 1 in grid.shape else draw_projections
    projections = draw(turned, numbers, spacing_mm=grid.spacing_mm, statuses=statuses, top=top)
    # normal uptake at the end of the table is not drawn: there may be a hundred regions of it
    n_viewed = max((n for n, one in enumerate(summary.regions, start=1) if one.status != "physiological"), default=0)
    views = draw_views(turned, numbers, geometry=grid, n=min(n_viewed, MOST_VIEWED), unit=summary.unit)
    return PatientPictures(projections, views, top)


def render_patient(summary: PatientSummary, pictures: PatientPictures) -> str:
    """Render the page of one patient from its summary and its pictures."""
    names = [name for region in summary.regions for name in region.measures]
    columns = list_columns(summary.unit, [*names, *summary.totals])
    in_totals = list_columns(summary.unit, summary.totals)
    return render_page(
        "patient",
        title=summary.case,
        summary=summary,
        unit=describe_unit(summary.unit),
        pictures=pictures,
        columns=columns,
        tiles=[column for column in in_totals if column.measure not in ("sphericity", "maximum_diameter_mm")],
        others=list_other_names([*names, *(name for name in summary.totals if name != "n_lesions")], columns),
        viewed=list(zip(summary.regions, pictures.views, strict=False)),
        counts=_count(summary.regions),
        colours={status: "#{:02x}{:02x}{:02x}".format(*colour) for status, colour in STATUS_COLOURS.items()},
        has_status=any(region.status != "lesion" or region.reasons for region in summary.regions),
        has_quality=any(region.quality is not None for region in summary.regions),
        has_labels=any(region.label for region in summary.regions),
    )


def _count(regions: tuple[RegionSummary, ...]) -> dict[Any, int]:
    """Count the regions of each status."""
    return {status: sum(region.status == status for region in regions) for status in STATUS_COLOURS}
