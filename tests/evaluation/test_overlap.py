from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.report import LabelScores
from interactivepet.evaluation.metrics import score_case
from interactivepet.evaluation.overlap import Overlap, count_overlap

GEOMETRY = Geometry((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize(
    ("both", "mask", "reference", "iou", "precision", "recall", "specificity", "difference"),
    [
        (4, 4, 4, 1, 1, 1, 1, 0),
        (2, 4, 4, 1 / 3, 0.5, 0.5, 94 / 96, 0),
        (4, 8, 4, 0.5, 0.5, 1, 92 / 96, 1),
        (1, 1, 4, 0.25, 1, 0.25, 1, -0.75),
        (0, 4, 4, 0, 0, 0, 92 / 96, 0),
        (0, 0, 4, 0, None, 0, 1, -1),
        (0, 4, 0, None, None, None, 0.96, None),
        (0, 0, 0, None, None, None, 1, None),
        (50, 50, 100, 0.5, 1, 0.5, None, -0.5),
    ],
)
def test_overlap_of_a_hundred_voxels(
    both: int,
    mask: int,
    reference: int,
    iou: float | None,
    precision: float | None,
    recall: float | None,
    specificity: float | None,
    difference: float | None,
) -> None:
    found = Overlap(both, mask, reference)
    values = (found.iou, found.precision, found.recall, found.specificity(100), found.relative_difference)
    for value, expected in zip(values, (iou, precision, recall, specificity, difference), strict=True):
        assert value == (expected if expected is None else pytest.approx(expected))


def test_voxels_are_counted() -> None:
    mask, reference = np.zeros((4, 4, 4), np.bool_), np.zeros((4, 4, 4), np.bool_)
    mask[0, 0, :3] = True
    reference[0, 0, 1:] = True
    assert count_overlap(mask, reference) == Overlap(2, 3, 3)


def score(mask: np.ndarray, reference: np.ndarray) -> LabelScores:
    return score_case("A", mask, reference, geometry=GEOMETRY, labels={"x": 1}, n_clicks=0).labels[0]


def test_a_score_has_every_overlap_of_the_whole_image() -> None:
    mask, reference = np.zeros((10, 10, 10), np.uint8), np.zeros((10, 10, 10), np.uint8)
    reference[2:4, 2:4, 2:4] = 1
    mask[2:4, 2:4, 2:5] = 1
    found = score(mask, reference)
    assert (found.iou, found.precision, found.recall) == pytest.approx((8 / 12, 8 / 12, 1))
    # of the image, not of the box in which distances are measured
    assert found.specificity == pytest.approx(988 / 992)
    assert found.relative_volume_difference == pytest.approx(0.5)
    assert found.hausdorff_mm == pytest.approx(2.0)


def test_the_largest_distance_counts_one_voxel_far_away() -> None:
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:5, 2:5, 2:5] = 1
    mask = reference.copy()
    mask[9, 4, 4] = 1
    found = score(mask, reference)
    assert found.hausdorff_mm == pytest.approx(10.0)
    assert found.hausdorff95_mm == 0


def test_a_missed_lesion_has_no_distance() -> None:
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2, 2, 2] = 1
    found = score(reference * 0, reference)
    assert (found.iou, found.recall, found.precision, found.hausdorff_mm) == (0, 0, None, None)
    assert found.relative_volume_difference == -1
