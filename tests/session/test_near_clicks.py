"""The first mask of a large image that was clicked on: near the clicks, and as far as what they show reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.core.plan import CropPlan
from interactivepet.inference.network import FoldNetwork
from interactivepet.networks import precision
from interactivepet.session import near_clicks
from interactivepet.session.segmenter import EnsembleSegmenter
from interactivepet.session.session import Session
from tests.fold_prediction import predict_with_folds
from tests.session.test_session import Model, count_tiles, forget_tiles, make_model, make_plan

SPACING = (3.0, 3.0, 5.0)
"""Of images and plans, so that the grids are the same."""

Box = tuple[slice, slice, slice]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: False)


def make_large(*objects: Box, shape: Shape = (64, 48, 32)) -> Case:
    """Make an image without noise in which some boxes are hot."""
    image = np.full(shape, 0.2, np.float32)
    for box in objects:
        image[box] = 4.0
    # the smallest value is the background that images are cropped to, so that nothing else may be as small
    image[-1, -1, -1] = 0.0
    return Case("A", image[None], Geometry(shape, np.diag([*SPACING, 1.0])))


def click_on(case: Case, *voxels: tuple[int, int, int], is_positive: bool = True, label: int = 1) -> list[Click]:
    points = [tuple(case.geometry.to_mm(voxel).tolist()) for voxel in voxels]
    return [Click(position_mm=point, label=label, is_positive=is_positive) for point in points]


def open_session(model: Model, case: Case, clicks: Sequence[Click]) -> Session:
    session = Session(model)
    session.set_image(case)
    session.add_clicks(clicks)
    return session


def make_boxes(*ranges: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> list[Box]:
    return [(slice(*i), slice(*j), slice(*k)) for i, j, k in ranges]


SMALL, LONG, FAR, CORNER = make_boxes(
    ((30, 35), (22, 26), (14, 17)),
    ((4, 60), (22, 26), (14, 17)),
    ((2, 6), (2, 6), (2, 5)),
    ((0, 5), (0, 5), (0, 4)),
)
BENT = make_boxes(((30, 34), (22, 26), (4, 30)), ((30, 34), (4, 26), (4, 7)))


@pytest.mark.parametrize(
    ("objects", "clicks", "fewest", "most"),
    [
        ([SMALL], [(32, 24, 15)], 1, 1),
        ([SMALL, FAR], [(32, 24, 15)], 1, 1),
        ([SMALL, FAR], [(32, 24, 15), (4, 4, 3)], 2, 2),
        ([CORNER], [(1, 1, 1)], 1, 1),
        ([LONG], [(32, 24, 15)], 5, 9),
        ([LONG], [(5, 24, 15)], 5, 9),
        ([LONG], [(5, 24, 15), (58, 23, 15), (32, 22, 15), (32, 25, 15), (32, 23, 14), (32, 23, 16)], 5, 12),
        (BENT, [(32, 24, 28)], 6, 24),
    ],
    ids=["small", "another", "two", "corner", "long", "its end", "margin points", "bent"],
)
def test_tiles_follow_what_was_clicked_on(
    objects: list[Box], clicks: list[tuple[int, int, int]], fewest: int, most: int
) -> None:
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large(*objects)
    session = open_session(model, case, click_on(case, *clicks))
    mask = session.segment().mask
    assert fewest <= count_tiles(model) <= most
    expected = case.image[0] > 1
    if len(clicks) == 1 and FAR in objects:
        expected[FAR] = False
    assert np.array_equal(mask > 0, expected)
    assert session.probabilities.probabilities.sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_an_object_without_an_end_ends_the_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(near_clicks, "MOST_TILES", 10)
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large((slice(None),) * 3)
    with caplog.at_level("INFO"):
        mask = open_session(model, case, click_on(case, (32, 24, 15))).segment().mask
    assert 1 <= count_tiles(model) <= 10
    assert mask[32, 24, 15] == 1
    assert "place more clicks" in caplog.text


def test_many_clicks_are_all_predicted_whatever_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_clicks, "MOST_TILES", 1)
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large(SMALL, FAR)
    mask = open_session(model, case, click_on(case, (32, 24, 15), (4, 4, 3))).segment().mask
    assert np.array_equal(mask > 0, case.image[0] > 1)


@pytest.mark.parametrize("shape", [(64, 48, 5), (64, 9, 5), (9, 48, 32)], ids=str)
def test_images_that_are_smaller_than_the_patch_along_an_axis(shape: Shape) -> None:
    model = make_model(make_plan(spacing_mm=SPACING), n_folds=1)
    middle = tuple(n // 2 for n in shape)
    case = make_large(tuple(slice(m - 2, m + 2) for m in middle), shape=shape)
    mask = open_session(model, case, click_on(case, middle)).segment().mask
    assert count_tiles(model) == 1
    assert np.array_equal(mask > 0, case.image[0] > 1)


def test_a_2d_network_follows_slice_by_slice() -> None:
    plan = make_plan("2d", patch=(16, 16, 1), spacing_mm=SPACING)
    (tower,) = make_boxes(((30, 34), (22, 26), (4, 28)))
    model, case = make_model(plan, n_folds=1), make_large(tower, FAR)
    mask = open_session(model, case, click_on(case, (32, 24, 15))).segment().mask
    expected = np.zeros_like(mask)
    expected[tower] = 1
    assert np.array_equal(mask, expected)
    assert 24 <= count_tiles(model) <= 30


@pytest.mark.parametrize(
    "use",
    [
        lambda session, case: None,
        lambda session, case: session.add_clicks(click_on(case, (50, 10, 10), is_positive=False)),
        lambda session, case: (session.add_clicks(click_on(case, (32, 24, 15))), session.segment(), session.reset()),
        lambda session, case: (session.add_clicks(click_on(case, (32, 24, 15))), session.segment(), session.undo()),
    ],
    ids=["no click", "only a negative one", "after a reset", "after undo"],
)
def test_without_a_positive_click_all_of_the_image_is_predicted(use: Callable[[Session, Case], object]) -> None:
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large(SMALL, FAR)
    session = open_session(model, case, ())
    use(session, case)
    mask = session.segment().mask
    assert mask[SMALL].all()
    assert mask[FAR].all()


def test_a_click_after_an_automatic_mask_keeps_the_rest_of_it() -> None:
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large(SMALL, FAR)
    session = open_session(model, case, ())
    session.segment()
    session.add_clicks(click_on(case, (32, 24, 15)))
    assert session.segment().mask[FAR].all()


def test_corrections_and_undo_after_a_first_click() -> None:
    model, case = make_model(make_plan(spacing_mm=SPACING), n_folds=1), make_large(SMALL, FAR)
    session = open_session(model, case, click_on(case, (32, 24, 15)))
    first = session.segment().mask
    session.add_clicks(click_on(case, (4, 4, 3)))
    assert np.array_equal(session.segment().mask > 0, case.image[0] > 1)
    session.undo()
    forget_tiles(model)
    assert np.array_equal(session.segment().mask, first)
    assert count_tiles(model) == 0


def test_several_folds_and_configurations_are_averaged_near_the_clicks() -> None:
    plans = (make_plan(spacing_mm=SPACING), make_plan("3d_lowres", spacing_mm=(6.0, 6.0, 6.0)), make_plan("3d_cascade"))
    model, case = make_model(*plans, fused=("3d_fullres", "3d_cascade")), make_large(SMALL, FAR)
    session = open_session(model, case, click_on(case, (32, 24, 15)))
    assert session.segment().mask[SMALL].all()
    assert not session.segment().mask[FAR].any()
    parts = EnsembleSegmenter(model).segment(case, session.clicks).probabilities
    assert session.probabilities.probabilities[:, *SMALL] == pytest.approx(parts[:, *SMALL], abs=0.1)


def test_all_clicks_of_a_batch_predict_the_whole_image() -> None:
    model, case = make_model(make_plan(spacing_mm=SPACING)), make_large(SMALL, FAR)
    clicks = click_on(case, (32, 24, 15))
    found = EnsembleSegmenter(model).segment(case, clicks).probabilities
    assert found == pytest.approx(predict_with_folds(model.folds["3d_fullres"], case, clicks).probabilities, abs=1e-5)


def test_a_plan_that_crops_to_clicks_predicts_its_crop() -> None:
    plan = make_plan(spacing_mm=SPACING, crop=CropPlan(region="clicks", margin_mm=60.0))
    model, case = make_model(plan), make_large(SMALL)
    clicks = click_on(case, (32, 24, 15))
    found = open_session(model, case, clicks).probabilities.probabilities
    assert found == pytest.approx(predict_with_folds(model.folds["3d_fullres"], case, clicks).probabilities, abs=1e-5)


def test_the_whole_body_is_never_predicted_for_a_first_click(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(FoldNetwork, "predict", fail)
    model, case = make_model(make_plan(spacing_mm=SPACING)), make_large(SMALL)
    assert open_session(model, case, click_on(case, (32, 24, 15))).segment().mask[SMALL].all()
