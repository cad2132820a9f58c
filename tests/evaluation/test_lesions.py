"""Lesions against the challenge's definition, computed voxel by voxel here."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from interactivepet.dataset.files.read import read_mask
from interactivepet.evaluation.lesions import MATCHING_IOU, match_lesions
from interactivepet.evaluation.metrics import dice
from interactivepet.evaluation.steps import score_step

FACES_AND_EDGES = [step for step in product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, step)) <= 2]


def find_objects(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Split a mask into objects by walking from voxel to voxel through faces and edges."""
    left = {tuple(voxel) for voxel in np.argwhere(mask).tolist()}
    objects = []
    while left:
        waiting, found = [left.pop()], set()
        while waiting:
            voxel = waiting.pop()
            found.add(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in FACES_AND_EDGES} & left
            left -= near
            waiting += near
        objects.append(found)
    return objects


def count_by_hand(mask: np.ndarray, reference: np.ndarray) -> tuple[int, int, int, int, int]:
    """Give TP, FP, FN, and the voxels of mask and reference objects without any overlap."""
    parts, lesions = find_objects(mask), find_objects(reference)
    is_match = [[len(a & b) / len(a | b) >= 0.1 for b in lesions] for a in parts]
    found = sum(any(row[n] for row in is_match) for n in range(len(lesions)))
    false = sum(not any(row) for row in is_match)
    spilled = sum(len(a) for a in parts if not any(a & b for b in lesions))
    missed = sum(len(b) for b in lesions if not any(a & b for a in parts))
    return found, false, len(lesions) - found, spilled, missed


def check(mask: np.ndarray, reference: np.ndarray) -> float | None:
    found, false, missed, spilled, untouched = count_by_hand(mask, reference)
    match = match_lesions(mask, reference)
    assert (match.n_found, match.n_false, match.n_lesions - match.n_found) == (found, false, missed)
    assert (match.untouched_mask_voxels, match.untouched_lesion_voxels) == (spilled, untouched)
    expected = 2 * found / (2 * found + false + missed) if found + missed else None
    assert match.f1 == pytest.approx(expected) if expected is not None else match.f1 is None
    return match.f1


@pytest.mark.parametrize("seed", range(4))
def test_random_masks_match_as_counted_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.random((9, 8, 7)) < 0.08
    mask = np.roll(reference, 1, axis=seed % 3) & (rng.random((9, 8, 7)) < 0.7) | (
        reference & (rng.random((9, 8, 7)) < 0.4)
    )
    f1 = check(mask, reference)
    assert f1 is not None
    assert 0 < f1 < 1


def test_the_overlap_that_just_suffices_is_a_match() -> None:
    reference, mask = np.zeros((2, 12, 1), bool), np.zeros((2, 12, 1), bool)
    reference[0, :10, 0] = True
    mask[0, 0, 0] = True
    assert MATCHING_IOU == 0.1
    assert match_lesions(mask, reference).f1 == 1.0
    reference[0, 10, 0] = True
    assert match_lesions(mask, reference).f1 == 0.0


def test_one_component_may_find_two_lesions_and_two_components_find_one_once() -> None:
    two, one = np.zeros((9, 3, 3), bool), np.zeros((9, 3, 3), bool)
    two[:4] = two[5:] = True
    one[:] = True
    assert check(one, two) == 1.0
    assert check(two, one) == 1.0


def test_voxels_that_share_a_corner_only_are_two_lesions() -> None:
    reference = np.zeros((3, 3, 3), bool)
    reference[0, 0, 0] = reference[1, 1, 1] = True
    mask = np.zeros_like(reference)
    mask[0, 0, 0] = True
    assert match_lesions(mask, reference).n_lesions == 2
    assert check(mask, reference) == pytest.approx(2 / 3)
    reference[1, 1, 0] = True
    assert match_lesions(mask, reference).n_lesions == 1


def test_without_a_lesion_there_is_no_f1_but_a_volume() -> None:
    empty = np.zeros((4, 4, 4), bool)
    mask = empty.copy()
    mask[1, 1, :2] = True
    assert match_lesions(empty, empty).f1 is None
    assert match_lesions(mask, empty).f1 is None
    assert match_lesions(mask, empty).untouched_mask_voxels == 2
    assert match_lesions(empty, mask).f1 == 0.0
    assert match_lesions(empty, mask).untouched_lesion_voxels == 2


@pytest.mark.real_data
def test_a_whole_body_scores_as_the_definitions_do(real_data: Path) -> None:
    label, geometry = read_mask(real_data / "autopetv" / "psma_ffcaa75377465b37_label.nii.gz")
    reference = label == 1
    mask = np.roll(reference, (1, 0, 1), axis=(0, 1, 2))
    mask[:, :, :118] = False
    mask[100:103, 100:103, 200] = True
    step = score_step(
        mask.astype(np.uint8), label, geometry=geometry, labels=(1,), clicks=(), added=(), n_clicks=0, seconds=None
    )
    found, false, missed, spilled, untouched = count_by_hand(mask, reference)
    assert found + missed > 5
    assert 0 < found < found + missed + false
    voxels, wanted = set(map(tuple, np.argwhere(mask))), set(map(tuple, np.argwhere(reference)))
    assert step.dice == pytest.approx(2 * len(voxels & wanted) / (len(voxels) + len(wanted)), abs=1e-12)
    assert step.dice == dice(mask, reference)
    assert step.lesion_f1 == pytest.approx(2 * found / (2 * found + false + missed), abs=1e-12)
    voxel_ml = float(np.prod(geometry.spacing_mm)) / 1000
    assert step.false_positive_ml == pytest.approx(spilled * voxel_ml)
    assert step.false_negative_ml == pytest.approx(untouched * voxel_ml)
