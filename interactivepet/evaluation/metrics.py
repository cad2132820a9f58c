"""How good one mask is: overlap, surface distances in mm and volumes in ml, on the grid of the case.

Every mask is (I, J, K), bool unless said otherwise. An axis of length 1 is no direction of space: a 2D
image has K = 1, and its surfaces and distances lie in the plane. What lies outside of the grid counts
as background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Geometry, Spacing, to_triple
from interactivepet.core.report import CaseScores, LabelScores
from interactivepet.errors import CaseError
from interactivepet.evaluation.lesions import CHALLENGE_CONNECTIVITY
from interactivepet.evaluation.overlap import count_overlap

__all__ = [
    "SurfaceDistances",
    "average_surface_distance_mm",
    "dice",
    "false_negative_ml",
    "false_positive_ml",
    "find_scored_box",
    "hausdorff95_mm",
    "hausdorff_mm",
    "mean_case_dice",
    "score_case",
    "surface_distances_mm",
    "volume_ml",
]

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]
Distances = npt.NDArray[np.float64]


class SurfaceDistances(NamedTuple):
    """Distances in mm between the surface voxels of two masks, from centre to centre, in no order."""

    from_mask: Distances
    """(N,) float64: from each surface voxel of the mask to the nearest one of the reference."""
    from_reference: Distances
    """(M,) float64: from each surface voxel of the reference to the nearest one of the mask."""


def dice(mask: Mask, reference: Mask) -> float | None:
    """Give 2 |A and B| / (|A| + |B|) in [0, 1] (Dice 1945); None when both masks are empty."""
    total = np.count_nonzero(mask) + np.count_nonzero(reference)
    if total == 0:
        return None
    return 2.0 * np.count_nonzero(mask & reference) / total


def mean_case_dice(mask: LabelMap, reference: LabelMap, *, labels: Sequence[int]) -> float:
    """Average the Dice of every label of a case, quickly: the choice from cross-validation calls it often.

    Args:
        mask: (I, J, K) uint8, 0 is background.
        reference: the same, of the same shape.
        labels: values to score; a label that neither of the two holds is left out of the mean.

    Returns:
        The mean in [0, 1]; 1.0 when no label is held by either, since a mask that is rightly empty is
        perfect, and a candidate that empties it must win over one that does not.
    """
    scores = [dice(mask == value, reference == value) for value in labels]
    defined = [score for score in scores if score is not None]
    return float(np.mean(defined)) if defined else 1.0


def volume_ml(mask: Mask, *, voxel_volume_ml: float) -> float:
    """Give the volume of a mask in ml."""
    return float(np.count_nonzero(mask) * voxel_volume_ml)


def false_positive_ml(mask: Mask, reference: Mask, *, voxel_volume_ml: float) -> float:
    """Give the volume in ml of the components of `mask` that share no voxel with `reference`.

    As the autoPET challenge counts it (Gatidis 2024, doi:10.1038/s42256-024-00912-9).
    """
    components, n = find_components(mask, connectivity=CHALLENGE_CONNECTIVITY)
    sizes = np.bincount(components.ravel(), minlength=n + 1)
    sizes[0] = 0
    sizes[np.unique(components[reference])] = 0
    return float(sizes.sum() * voxel_volume_ml)


def false_negative_ml(mask: Mask, reference: Mask, *, voxel_volume_ml: float) -> float:
    """Give the volume in ml of the components of `reference` that share no voxel with `mask`."""
    return false_positive_ml(reference, mask, voxel_volume_ml=voxel_volume_ml)


def surface_distances_mm(mask: Mask, reference: Mask, *, spacing_mm: Spacing) -> SurfaceDistances | None:
    """Measure how far the surfaces of two masks lie apart, in both directions.

    A surface voxel is a voxel of the mask of which at least one face neighbour is background. Every
    surface voxel weighs the same, whatever the area of surface that it stands for.

    Returns:
        The distances in mm, or None when at least one of the masks is empty.
    """
    box = BoundingBox.of(mask | reference)
    if box is None or not mask.any() or not reference.any():
        return None
    of_mask = _find_surface(mask, box)
    of_reference = _find_surface(reference, box)
    return SurfaceDistances(
        from_mask=_distances_to(of_reference, spacing_mm)[of_mask],
        from_reference=_distances_to(of_mask, spacing_mm)[of_reference],
    )


def hausdorff95_mm(distances: SurfaceDistances) -> float:
    """Give the larger of the two directed 95th percentiles in mm (Maier-Hein 2024, Metrics Reloaded, HD95).

    Percentiles are interpolated linearly. Other packages pool both directions first, which is smaller.
    """
    return float(max(np.percentile(d, 95) for d in distances))


def hausdorff_mm(distances: SurfaceDistances) -> float:
    """Give the largest distance in mm of a surface voxel of one mask from the other (Hausdorff 1914)."""
    return float(max(d.max() for d in distances))


def average_surface_distance_mm(distances: SurfaceDistances) -> float:
    """Give the mean of all distances of both directions in mm (ASSD, Heimann 2009, IEEE TMI 28(8))."""
    return float(np.concatenate(distances).mean())


def score_case(
    case_id: str,
    mask: LabelMap,
    reference: LabelMap,
    *,
    geometry: Geometry,
    labels: Mapping[str, int],
    n_clicks: int,
) -> CaseScores:
    """Score every label of a case.

    Args:
        case_id: the case's identifier.
        mask: (I, J, K) uint8, 0 is background.
        reference: (I, J, K) uint8 on the same grid.
        geometry: the grid of both.
        labels: name -> value of the labels to score.
        n_clicks: with how many clicks the mask was made.

    Raises:
        CaseError: mask, reference and geometry differ in shape.
    """
    if not mask.shape == reference.shape == geometry.shape:
        raise CaseError(
            f"{case_id}: mask {mask.shape} and reference {reference.shape} on a grid of {geometry.shape}; "
            "all three must have one shape: predict on the grid that the reference was drawn on"
        )
    index = find_scored_box(mask, reference).slices
    scores = tuple(
        _score_label(name, mask[index] == value, reference[index] == value, geometry) for name, value in labels.items()
    )
    return CaseScores(case=case_id, n_clicks=n_clicks, labels=scores)


def find_scored_box(mask: LabelMap, reference: LabelMap) -> BoundingBox:
    """Find the box that holds every object of mask and reference, both (I, J, K); a corner where there is none."""
    box = BoundingBox.of((mask | reference) != 0) or BoundingBox((0, 0, 0), (1, 1, 1))
    # One voxel of margin, so that a flat object of a 3D grid does not turn into a 2D image.
    return box.grown((1, 1, 1), to_triple(mask.shape))


def _score_label(name: str, mask: Mask, reference: Mask, geometry: Geometry) -> LabelScores:
    """Score one label in a part of the grid `geometry` that holds every object."""
    voxel_ml = geometry.voxel_volume_ml
    distances = surface_distances_mm(mask, reference, spacing_mm=geometry.spacing_mm)
    overlap = count_overlap(mask, reference)
    return LabelScores(
        label=name,
        dice=dice(mask, reference) if reference.any() else None,
        iou=overlap.iou,
        precision=overlap.precision,
        recall=overlap.recall,
        specificity=overlap.specificity(int(np.prod(geometry.shape))),
        relative_volume_difference=overlap.relative_difference,
        hausdorff_mm=None if distances is None else hausdorff_mm(distances),
        hausdorff95_mm=None if distances is None else hausdorff95_mm(distances),
        surface_distance_mm=None if distances is None else average_surface_distance_mm(distances),
        volume_ml=volume_ml(mask, voxel_volume_ml=voxel_ml),
        reference_volume_ml=volume_ml(reference, voxel_volume_ml=voxel_ml),
        false_positive_ml=false_positive_ml(mask, reference, voxel_volume_ml=voxel_ml),
        false_negative_ml=false_negative_ml(mask, reference, voxel_volume_ml=voxel_ml),
    )


def _find_surface(mask: Mask, box: BoundingBox) -> Mask:
    """Mark the voxels of `box` that are in the mask and have a face neighbour that is not."""
    inside = mask[box.slices]
    interior = inside.copy()
    # A grid of a single voxel has no axis left; any of them makes that voxel surface.
    for axis in [a for a in range(3) if mask.shape[a] > 1] or [0]:
        padded = np.pad(inside, [(1, 1) if a == axis else (0, 0) for a in range(3)])
        n = padded.shape[axis]
        interior &= padded.take(range(n - 2), axis=axis) & padded.take(range(2, n), axis=axis)
    return inside & ~interior


def _distances_to(surface: Mask, spacing_mm: Spacing) -> Distances:
    """Give for each voxel the distance in mm to the nearest surface voxel, at least one of which exists."""
    import edt

    distances = edt.edt(~surface, anisotropy=spacing_mm, black_border=False, parallel=1)
    return np.asarray(distances, dtype=np.float64)
