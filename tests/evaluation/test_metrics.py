from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactivepet.core.geometry import Geometry, Spacing
from interactivepet.errors import CaseError
from interactivepet.evaluation.metrics import (
    SurfaceDistances,
    average_surface_distance_mm,
    dice,
    false_negative_ml,
    false_positive_ml,
    hausdorff95_mm,
    mean_case_dice,
    score_case,
    surface_distances_mm,
    volume_ml,
)

Mask = npt.NDArray[np.bool_]

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5)
SPACINGS = st.tuples(*[st.floats(0.5, 6.0)] * 3)


def make_box(shape: tuple[int, int, int], start: tuple[int, int, int], stop: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def make_geometry(shape: tuple[int, ...], spacing_mm: Spacing = (1.0, 1.0, 1.0)) -> Geometry:
    return Geometry((shape[0], shape[1], shape[2]), np.diag([*spacing_mm, 1.0]))


def find_surface_slowly(mask: Mask) -> npt.NDArray[np.int64]:
    """The definition word by word: voxels with a face neighbour (axes longer than 1) outside of the mask."""
    voxels = {tuple(int(n) for n in v) for v in np.argwhere(mask)}
    axes = [a for a in range(3) if mask.shape[a] > 1] or [0]
    steps = [(a, s) for a in axes for s in (-1, 1)]
    surface = [
        v for v in voxels if any(tuple(n + s * (b == a) for b, n in enumerate(v)) not in voxels for a, s in steps)
    ]
    return np.array(sorted(surface)).reshape(-1, 3)


def measure_slowly(mask: Mask, reference: Mask, spacing_mm: Spacing) -> tuple[list[float], list[float]]:
    a, b = (find_surface_slowly(m) * np.asarray(spacing_mm) for m in (mask, reference))
    between = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return sorted(between.min(axis=1)), sorted(between.min(axis=0))


def test_dice_of_overlapping_boxes_is_the_hand_computed_value() -> None:
    mask = make_box((6, 6, 6), (0, 0, 0), (2, 2, 2))
    reference = make_box((6, 6, 6), (1, 0, 0), (4, 2, 2))
    assert dice(mask, reference) == pytest.approx(2 * 4 / (8 + 12))


def test_dice_is_undefined_without_anything_and_zero_with_one_side() -> None:
    empty, full = np.zeros((3, 3, 3), np.bool_), np.ones((3, 3, 3), np.bool_)
    assert dice(empty, empty) is None
    assert dice(empty, full) == 0.0
    assert dice(full, empty) == 0.0
    assert dice(full, full) == 1.0


@given(hnp.arrays(np.uint8, (2, 4, 3, 2), elements=st.integers(0, 3)))
@settings(deadline=None, max_examples=60)
def test_mean_case_dice_averages_the_labels_that_exist(pair: npt.NDArray[np.uint8]) -> None:
    mask, reference = pair
    defined = [d for v in (1, 2, 3) if (d := dice(mask == v, reference == v)) is not None]
    expected = sum(defined) / len(defined) if defined else 1.0
    assert mean_case_dice(mask, reference, labels=(1, 2, 3)) == pytest.approx(expected)


def test_mean_case_dice_is_one_when_rightly_empty_and_ignores_other_labels() -> None:
    mask = np.full((2, 2, 2), 5, np.uint8)
    assert mean_case_dice(mask, np.zeros_like(mask), labels=(1, 2)) == 1.0
    assert mean_case_dice(mask, np.zeros_like(mask), labels=(1, 5)) == 0.0


def test_volume_counts_voxels() -> None:
    assert volume_ml(make_box((5, 5, 5), (1, 1, 1), (3, 4, 5)), voxel_volume_ml=0.25) == pytest.approx(24 * 0.25)


def test_volumes_of_missed_and_invented_components() -> None:
    reference = make_box((12, 4, 4), (0, 0, 0), (2, 2, 2)) | make_box((12, 4, 4), (10, 0, 0), (11, 3, 1))
    mask = make_box((12, 4, 4), (1, 1, 1), (3, 3, 3)) | make_box((12, 4, 4), (6, 0, 0), (8, 1, 1))
    assert false_positive_ml(mask, reference, voxel_volume_ml=0.5) == pytest.approx(2 * 0.5)
    assert false_negative_ml(mask, reference, voxel_volume_ml=0.5) == pytest.approx(3 * 0.5)


def test_components_join_at_edges_and_not_at_corners_as_in_the_challenge() -> None:
    reference = np.zeros((3, 3, 3), np.bool_)
    reference[0, 0, 0] = True
    for voxel, expected_ml in (((1, 1, 0), 0.0), ((1, 1, 1), 1.0)):
        mask = reference.copy()
        mask[voxel] = True
        assert false_positive_ml(mask, reference, voxel_volume_ml=1.0) == expected_ml


def test_no_volumes_of_empty_masks() -> None:
    empty = np.zeros((3, 3, 3), np.bool_)
    assert false_positive_ml(empty, empty, voxel_volume_ml=1.0) == 0.0
    assert false_positive_ml(~empty, empty, voxel_volume_ml=1.0) == 27.0
    assert false_negative_ml(empty, ~empty, voxel_volume_ml=1.0) == 27.0


def test_one_voxel_objects_lie_their_distance_apart() -> None:
    mask, reference = np.zeros((2, 9, 9, 9), np.bool_)
    mask[0, 0, 0] = reference[3, 2, 8] = True
    distances = surface_distances_mm(mask, reference, spacing_mm=(2.0, 3.0, 0.5))
    assert distances is not None
    expected = np.sqrt(6.0**2 + 6.0**2 + 4.0**2)
    assert hausdorff95_mm(distances) == pytest.approx(expected)
    assert average_surface_distance_mm(distances) == pytest.approx(expected)


def test_surface_distances_are_undefined_with_an_empty_side() -> None:
    empty, full = np.zeros((3, 3, 3), np.bool_), np.ones((3, 3, 3), np.bool_)
    for mask, reference in ((empty, full), (full, empty), (empty, empty)):
        assert surface_distances_mm(mask, reference, spacing_mm=(1.0, 1.0, 1.0)) is None


def test_identical_masks_have_no_distance_even_at_the_border() -> None:
    mask = make_box((4, 4, 4), (0, 0, 0), (4, 4, 2))
    distances = surface_distances_mm(mask, mask, spacing_mm=(1.0, 2.0, 3.0))
    assert distances is not None
    assert hausdorff95_mm(distances) == average_surface_distance_mm(distances) == 0.0


def test_hausdorff_takes_the_worse_direction_and_the_average_pools() -> None:
    distances = SurfaceDistances(np.zeros(99), np.array([0.0, 10.0]))
    assert hausdorff95_mm(distances) == pytest.approx(9.5)
    assert average_surface_distance_mm(distances) == pytest.approx(10 / 101)


def test_a_2d_image_has_its_surface_in_the_plane() -> None:
    mask = make_box((9, 9, 1), (0, 0, 0), (5, 5, 1))
    inside = make_box((9, 9, 1), (2, 2, 0), (3, 3, 1))
    distances = surface_distances_mm(inside, mask, spacing_mm=(1.0, 1.0, 40.0))
    assert distances is not None
    # In 3D the voxel in the middle would be surface of the mask itself, at distance 0.
    assert distances.from_mask.tolist() == [2.0]
    assert len(distances.from_reference) == 16


@given(SHAPES.flatmap(lambda s: hnp.arrays(np.bool_, (2, *s))), SPACINGS)
@settings(deadline=None, max_examples=80)
def test_surface_distances_follow_their_definition(pair: Mask, spacing_mm: Spacing) -> None:
    mask, reference = pair
    distances = surface_distances_mm(mask, reference, spacing_mm=spacing_mm)
    if not mask.any() or not reference.any():
        assert distances is None
        return
    assert distances is not None
    from_mask, from_reference = measure_slowly(mask, reference, spacing_mm)
    np.testing.assert_allclose(sorted(distances.from_mask), from_mask, rtol=1e-5)
    np.testing.assert_allclose(sorted(distances.from_reference), from_reference, rtol=1e-5)


def test_score_case_scores_every_label_on_its_own_grid() -> None:
    shape, spacing = (10, 12, 14), (2.0, 2.0, 5.0)
    reference = make_box(shape, (1, 1, 1), (5, 5, 5)).astype(np.uint8)
    reference[7:9, 7:9, 7:9] = 2
    mask = np.roll(np.where(reference == 1, 1, 0), 1, axis=2).astype(np.uint8)
    labels = {"tumour": 1, "node": 2, "absent": 3}
    scores = score_case("A", mask, reference, geometry=make_geometry(shape, spacing), labels=labels, n_clicks=6)
    tumour, node, absent = scores.labels
    assert (scores.case, scores.n_clicks) == ("A", 6)
    assert tumour.dice == pytest.approx(0.75)
    assert tumour.hausdorff95_mm == pytest.approx(5.0)
    assert tumour.volume_ml == tumour.reference_volume_ml == pytest.approx(64 * 0.02)
    assert (node.dice, node.hausdorff95_mm, node.surface_distance_mm) == (0.0, None, None)
    assert node.false_negative_ml == pytest.approx(8 * 0.02)
    assert (absent.label, absent.dice, absent.volume_ml) == ("absent", None, 0.0)


def test_score_case_keeps_a_flat_object_in_three_dimensions() -> None:
    reference = make_box((9, 9, 9), (1, 1, 4), (8, 8, 5)).astype(np.uint8)
    mask = make_box((9, 9, 9), (4, 4, 4), (5, 5, 5)).astype(np.uint8)
    scores = score_case("A", mask, reference, geometry=make_geometry((9, 9, 9)), labels={"x": 1}, n_clicks=0)
    full = surface_distances_mm(mask > 0, reference > 0, spacing_mm=(1.0, 1.0, 1.0))
    assert full is not None
    assert len(full.from_reference) == 49
    assert scores.labels[0].surface_distance_mm == pytest.approx(average_surface_distance_mm(full))


def test_score_case_of_nothing_is_undefined_and_changes_nothing() -> None:
    empty = np.zeros((3, 4, 1), np.uint8)
    empty.setflags(write=False)
    scores = score_case("A", empty, empty, geometry=make_geometry((3, 4, 1)), labels={"x": 1}, n_clicks=0)
    assert scores.labels[0].dice is None
    assert scores.labels[0].reference_volume_ml == 0.0


def test_score_case_refuses_another_grid_by_name() -> None:
    mask, reference = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 4), np.uint8)
    with pytest.raises(CaseError, match=r"STS_014: mask \(3, 3, 3\) and reference \(3, 3, 4\)"):
        score_case("STS_014", mask, reference, geometry=make_geometry((3, 3, 3)), labels={"x": 1}, n_clicks=0)


def test_a_false_positive_in_a_lesion_free_case_has_a_volume_and_no_dice() -> None:
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    geometry = Geometry((6, 6, 6), np.diag([5.0, 5.0, 5.0, 1.0]))
    (label,) = score_case("A", mask, np.zeros_like(mask), geometry=geometry, labels={"lesion": 1}, n_clicks=0).labels
    assert label.dice is None
    assert label.false_positive_ml == label.volume_ml == pytest.approx(1.0)
