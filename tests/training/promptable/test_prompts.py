from __future__ import annotations

import numpy as np
import pytest
from nnInteractive.interaction.point import build_point

from interactivepet.training.promptable.masks import draw_initial_mask
from interactivepet.training.promptable.prompt_habits import list_prompts
from interactivepet.training.promptable.prompts import KINDS, Kind, draw_shape, make_ball

BALL = ((np.indices((30, 28, 26)) - np.reshape((14, 13, 12), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 49
VOXEL = (14, 13, 12)


@pytest.mark.parametrize("radius", [2, 4])
def test_a_point_is_what_sessions_draw(radius: int) -> None:
    expected = build_point((radius,) * 3, True, False).numpy()
    np.testing.assert_allclose(make_ball(radius), expected, atol=1e-6)


def test_a_point_that_is_seen_from_afar_is_smaller_and_still_there() -> None:
    sizes = [make_ball(4, zoom).shape[0] for zoom in (1.0, 1.5, 2.0, 3.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size % 2 == 1 for size in sizes)
    ball = make_ball(4, 3.0)
    assert ball.max() == ball[ball.shape[0] // 2, ball.shape[0] // 2, ball.shape[0] // 2] > 0.8


@pytest.mark.parametrize("kind", ["scribble", "lasso", "box2d"])
def test_prompts_in_a_slice_meet_the_region_in_one_slice_through_the_voxel(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    axes = set()
    for _ in range(20):
        drawn = draw_shape(kind, BALL, VOXEL, rng=rng)
        flat = [axis for axis in range(3) if len(set(np.argwhere(drawn)[:, axis])) == 1]
        assert any(np.argwhere(drawn)[0, axis] == VOXEL[axis] for axis in flat)
        assert (drawn & BALL).sum() > 0.4 * drawn.sum()
        axes |= set(flat)
    assert axes == {0, 1, 2}


def test_a_box_is_about_the_region_and_a_lasso_around_its_slice() -> None:
    rng = np.random.default_rng(1)
    box = np.argwhere(draw_shape("box3d", BALL, VOXEL, rng=rng))
    assert np.abs(box.min(axis=0) - np.argwhere(BALL).min(axis=0)).max() <= 2
    assert len(box) == np.prod(box.max(axis=0) - box.min(axis=0) + 1)
    lasso = draw_shape("lasso", BALL, VOXEL, rng=rng)
    where = np.argwhere(lasso)
    axis = next(axis for axis in range(3) if len(set(where[:, axis])) == 1)
    assert lasso.take(VOXEL[axis], axis)[BALL.take(VOXEL[axis], axis)].all()


def test_most_scribbles_stay_inside_and_none_is_empty() -> None:
    rng = np.random.default_rng(2)
    strokes = [draw_shape("scribble", BALL, VOXEL, rng=rng) for _ in range(40)]
    assert min(stroke.sum() for stroke in strokes) > 0
    assert np.mean([bool((stroke & ~BALL).any()) for stroke in strokes]) < 0.4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "point"])
def test_a_single_voxel_can_be_prompted(kind: Kind) -> None:
    region = np.zeros((5, 1, 4), dtype=bool)
    region[2, 0, 3] = True
    for seed in range(6):
        assert draw_shape(kind, region, (2, 0, 3), rng=np.random.default_rng(seed)).any()


def test_users_have_habits() -> None:
    runs = []
    for seed in range(200):
        user = list_prompts(np.random.default_rng(seed))
        runs.append([next(user) for _ in range(6)])
    kinds = np.array(runs)
    assert set(kinds.ravel()) == set(KINDS)
    assert 0.4 < np.mean(kinds == "point") < 0.6
    faithful = np.mean([len(set(run)) == 1 for run in runs])
    assert 0.5 < faithful < 0.85


def test_initial_masks_are_faulty_in_every_way() -> None:
    label = BALL.astype(np.uint8)
    label[0:3, 0:3, 0:3] = 2
    rng = np.random.default_rng(3)
    masks = [draw_initial_mask(label, rng) > 0 for _ in range(60)]
    assert all(mask.shape == BALL.shape for mask in masks)
    assert any((mask & ~BALL).any() and not mask[:3, :3, :3].any() for mask in masks)
    assert any(mask[:3, :3, :3].all() and mask[BALL].all() for mask in masks)
    assert any(mask.any() and not mask[BALL].all() and not (mask & ~BALL).any() for mask in masks)


def test_an_absent_target_gives_an_empty_mask() -> None:
    rng = np.random.default_rng(4)
    masks = [draw_initial_mask(np.zeros((9, 1, 7), np.uint8), rng) for _ in range(20)]
    assert not any(mask.any() for mask in masks)
