"""Scores of one step of a session: several labels, empty ones, and clicks that were not obeyed."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.simulation import SimulatedStep
from interactivepet.errors import CaseError
from interactivepet.evaluation.metrics import dice
from interactivepet.evaluation.steps import STEP_METRICS, count_disobeyed, score_step
from interactivepet.evaluation.surface import surface_dice

GRID = Geometry((16, 14, 12), np.diag([-2.0, -2.0, 5.0, 1.0]))


def score(mask: np.ndarray, reference: np.ndarray, *, labels: tuple[int, ...] = (1,)) -> SimulatedStep:
    return score_step(mask, reference, geometry=GRID, labels=labels, clicks=(), added=(), n_clicks=3, seconds=0.5)


def make_label() -> np.ndarray:
    label = np.zeros(GRID.shape, np.uint8)
    label[2:9, 3:9, 2:7] = 1
    label[11:14, 9:12, 8:11] = 2
    return label


def test_volumes_add_up_over_labels_and_the_rest_is_averaged() -> None:
    label = make_label()
    mask = np.zeros_like(label)
    mask[3:10, 3:9, 2:7] = 1
    mask[0, 0, 0] = 2
    step = score(mask, label, labels=(1, 2))
    halves = [dice(mask == value, label == value) for value in (1, 2)]
    assert step.dice == pytest.approx(np.mean([half for half in halves if half is not None]))
    voxel_ml = 2 * 2 * 5 / 1000
    assert step.false_positive_ml == pytest.approx(voxel_ml)
    assert step.false_negative_ml == pytest.approx(27 * voxel_ml)
    assert step.lesion_f1 == pytest.approx(0.5)
    expected = [
        np.mean([surface_dice(mask == v, label == v, spacing_mm=(2, 2, 5), tolerances_mm=(t,))[0] for v in (1, 2)])
        for t in (2.0, 5.0)
    ]
    assert [step.surface_dice_2mm, step.surface_dice_5mm] == pytest.approx(expected)
    assert (step.n_clicks, step.seconds) == (3, 0.5)


def test_a_case_without_lesion_has_a_dice_of_one_only_when_the_mask_is_empty() -> None:
    empty = np.zeros(GRID.shape, np.uint8)
    right = score(empty, empty)
    assert (right.dice, right.lesion_f1, right.surface_dice_2mm, right.false_positive_ml) == (1.0, None, None, 0.0)
    mask = empty.copy()
    mask[4, 4, 4] = 1
    wrong = score(mask, empty)
    assert (wrong.dice, wrong.lesion_f1, wrong.surface_dice_2mm) == (0.0, None, 0.0)
    assert wrong.false_positive_ml == pytest.approx(0.02)


def test_an_object_of_one_slice_keeps_its_two_faces() -> None:
    label = np.zeros(GRID.shape, np.uint8)
    label[3:9, 3:9, 6] = 1
    mask = np.roll(label, 1, axis=2)
    step = score(mask, label)
    assert step.surface_dice_2mm is not None
    assert 0 < step.surface_dice_2mm < 1
    assert step.surface_dice_5mm == 1.0


def test_clicks_that_the_mask_contradicts_are_counted() -> None:
    label = make_label()
    inside, outside = (tuple(GRID.to_mm(voxel).tolist()) for voxel in ((4, 5, 4), (0, 0, 0)))
    clicks = [
        Click(position_mm=inside),
        Click(position_mm=inside, label=2),
        Click(position_mm=inside, is_positive=False),
        Click(position_mm=outside),
        Click(position_mm=outside, is_positive=False),
        Click(position_mm=inside, label=2, is_positive=False),
    ]
    assert [count_disobeyed(label, [click], geometry=GRID) for click in clicks] == [0, 1, 1, 1, 0, 0]
    assert count_disobeyed(label, clicks, geometry=GRID) == 3


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(CaseError, match="one shape"):
        score(np.zeros((3, 3, 3), np.uint8), make_label())


def test_metrics_are_fields() -> None:
    assert set(STEP_METRICS) <= set(SimulatedStep.model_fields)
