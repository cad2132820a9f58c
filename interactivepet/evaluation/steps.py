"""Scores of one mask of an interactive session, by the definitions of the autoPET challenges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.simulation import SimulatedStep
from interactivepet.errors import CaseError
from interactivepet.evaluation.lesions import match_lesions
from interactivepet.evaluation.metrics import find_scored_box, mean_case_dice
from interactivepet.evaluation.surface import surface_dice

__all__ = ["STEP_METRICS", "TOLERANCES_MM", "count_disobeyed", "score_step"]

LabelMap = npt.NDArray[np.uint8]

STEP_METRICS = (
    "dice",
    "lesion_f1",
    "surface_dice_2mm",
    "surface_dice_5mm",
    "false_positive_ml",
    "false_negative_ml",
)
"""Fields of `SimulatedStep` that make curves."""

TOLERANCES_MM = (2.0, 5.0)
"""Of the surface Dice."""


def score_step(
    mask: LabelMap,
    reference: LabelMap,
    *,
    geometry: Geometry,
    labels: Sequence[int],
    clicks: Sequence[Click],
    added: Sequence[Click],
    n_clicks: int,
    seconds: float | None,
) -> SimulatedStep:
    """Score the mask after some corrections.

    Volumes are summed over the labels; the other metrics are averaged over the labels where they are defined.

    Args:
        mask: (I, J, K) uint8, 0 is background.
        reference: (I, J, K) uint8 on the same grid.
        geometry: the grid of both.
        labels: values to score.
        clicks: everything placed so far, in RAS+ mm.
        added: of these, what was placed before this step.
        n_clicks: how often the user acted so far.
        seconds: that the answer took.

    Raises:
        CaseError: mask, reference and geometry differ in shape.
    """
    if not mask.shape == reference.shape == geometry.shape:
        raise CaseError(
            f"mask {mask.shape} and reference {reference.shape} on a grid of {geometry.shape}; all three must have "
            "one shape: answer on the image's own grid"
        )
    index = find_scored_box(mask, reference).slices
    pairs = [(mask[index] == value, reference[index] == value) for value in labels]
    matches = [match_lesions(found, wanted) for found, wanted in pairs]
    surfaces = [
        surface_dice(found, wanted, spacing_mm=geometry.spacing_mm, tolerances_mm=TOLERANCES_MM)
        for found, wanted in pairs
    ]
    voxel_ml = geometry.voxel_volume_ml
    return SimulatedStep(
        n_clicks=n_clicks,
        added=tuple(added),
        dice=mean_case_dice(mask[index], reference[index], labels=labels),
        false_positive_ml=sum(match.untouched_mask_voxels for match in matches) * voxel_ml,
        false_negative_ml=sum(match.untouched_lesion_voxels for match in matches) * voxel_ml,
        lesion_f1=_average([match.f1 for match in matches]),
        surface_dice_2mm=_average([values[0] for values in surfaces]),
        surface_dice_5mm=_average([values[1] for values in surfaces]),
        n_disobeyed=count_disobeyed(mask, clicks, geometry=geometry),
        seconds=seconds,
        volume_ml=sum(int(np.count_nonzero(found)) for found, _ in pairs) * voxel_ml,
    )


def count_disobeyed(mask: LabelMap, clicks: Sequence[Click], *, geometry: Geometry) -> int:
    """Count the clicks in RAS+ mm whose voxel is not as they say: positive inside of their label, negative outside."""
    return sum(
        bool(mask[geometry.find_voxel(click.position_mm)] == click.label) != click.is_positive for click in clicks
    )


def _average(values: Sequence[float | None]) -> float | None:
    """Average what is defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
