"""The ellipsoid that margin points span, as a guidance channel."""

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import GuidancePlan
from interactivepet.guidance.encode import encode_clicks, encode_points, encode_sign
from interactivepet.guidance.margin import draw_ellipsoid, split_margins
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks

ELLIPSOID = GuidancePlan(encoding="ellipsoid", scale_mm=4.0)
SIX = np.array([[4, 10, 12], [16, 10, 12], [10, 5, 12], [10, 15, 12], [10, 10, 4], [10, 10, 20]], np.float64)


def make_ball(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    places = np.indices(shape).transpose(1, 2, 3, 0) - (np.array(shape) - 1) / 2
    return (np.linalg.norm(places * spacing_mm, axis=-1) <= radius_mm).astype(np.uint8)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 3, 1, 0, 2, 4)])
def test_six_points_at_the_sides_of_their_box_are_margin_points(order: tuple[int, ...]) -> None:
    split = split_margins(SIX[list(order)], (24, 24, 24), spacing_mm=(2, 2, 2))

    assert len(split.margins) == 1
    assert split.loose == ()


@pytest.mark.parametrize(
    ("points", "n_loose"),
    [
        (SIX[:5], 5),
        (np.repeat(SIX[:1], 6, axis=0), 6),
        (np.array([[5, 5, n] for n in range(6)]), 6),
        (np.empty((0, 3)), 0),
    ],
    ids=["five", "one voxel", "a stroke", "none"],
)
def test_other_clicks_are_no_margin_points(points: np.ndarray, n_loose: int) -> None:
    split = split_margins(points, (24, 24, 24), spacing_mm=(2, 2, 2))

    assert split.margins == ()
    assert len(split.loose) == n_loose


def test_two_objects_and_a_further_click_are_told_apart() -> None:
    points = np.concatenate([SIX, SIX + 30, [[11.0, 11.0, 11.0]]])

    split = split_margins(points, (60, 60, 60), spacing_mm=(2, 2, 2))

    assert [points.tolist() for points in split.margins] == [SIX.tolist(), (SIX + 30).tolist()]
    assert [point.tolist() for point in split.loose] == [[11.0, 11.0, 11.0]]


def test_four_points_are_the_margin_of_a_picture() -> None:
    four = np.array([[3, 10, 0], [17, 10, 0], [10, 3, 0], [10, 17, 0]], np.float64)

    heat = encode_sign(four, (21, 21, 1), spacing_mm=(1, 1, 5), guidance=ELLIPSOID, is_positive=True)

    assert heat[10, 10, 0] == pytest.approx(0.75)
    assert len(split_margins(four, (21, 21, 1), spacing_mm=(1, 1, 5)).margins) == 1


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (1.5, 3.0, 4.5), (4.0, 4.0, 3.27)])
def test_half_the_height_lies_at_the_surface_of_the_object(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(int(90 / mm) for mm in spacing_mm)
    ball = make_ball(shape, spacing_mm, 28.0)
    geometry = Geometry(shape, np.diag([*spacing_mm, 1.0]))
    clicks = simulate_clicks(ball, geometry, options=ClickOptions(), rng=np.random.default_rng(0))

    channels = encode_clicks(clicks, geometry, labels=(1,), guidance=GuidancePlan(encoding="ellipsoid", scale_mm=0.5))
    inside = channels[0] >= 0.375

    dice = 2 * (inside & (ball > 0)).sum() / (inside.sum() + ball.sum())
    assert dice > 0.93
    assert not channels[1].any()


def test_clicks_stay_visible_on_the_ellipsoid() -> None:
    heat = encode_sign(SIX, (24, 24, 24), spacing_mm=(2, 2, 2), guidance=ELLIPSOID, is_positive=True)

    assert heat.dtype == np.float32
    assert all(heat[tuple(point)] == 1.0 for point in SIX.astype(int))
    assert heat.max() == 1.0


def test_a_window_of_the_grid_sees_its_part_of_the_ellipsoid() -> None:
    whole = encode_sign(SIX, (24, 24, 24), spacing_mm=(2, 2, 2), guidance=ELLIPSOID, is_positive=True)
    part = encode_sign(SIX - (8, 8, 8), (16, 16, 16), spacing_mm=(2, 2, 2), guidance=ELLIPSOID, is_positive=True)

    np.testing.assert_allclose(part, whole[8:, 8:, 8:], atol=1e-6)


def test_negative_clicks_and_fewer_points_are_gaussians_alone() -> None:
    gaussian = encode_points(SIX, (24, 24, 24), spacing_mm=(2, 2, 2), scale_mm=4.0)
    negative = encode_sign(SIX, (24, 24, 24), spacing_mm=(2, 2, 2), guidance=ELLIPSOID, is_positive=False)
    five = encode_sign(SIX[:5], (24, 24, 24), spacing_mm=(2, 2, 2), guidance=ELLIPSOID, is_positive=True)

    np.testing.assert_array_equal(negative, gaussian)
    np.testing.assert_array_equal(five, encode_points(SIX[:5], (24, 24, 24), spacing_mm=(2, 2, 2), scale_mm=4.0))


def test_the_map_so_far_is_not_changed() -> None:
    heat = np.zeros((24, 24, 24), np.float32)

    drawn = draw_ellipsoid(heat, [SIX], spacing_mm=(2, 2, 2))

    assert not heat.any()
    assert drawn.max() == pytest.approx(0.75)


def test_the_encoding_changes_nothing_for_a_plan_of_gaussians() -> None:
    geometry = Geometry((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
    clicks = [Click(position_mm=tuple((2 * point).tolist()), label=1) for point in SIX]

    channels = encode_clicks(clicks, geometry, labels=(1,), guidance=GuidancePlan(scale_mm=4.0))

    np.testing.assert_array_equal(channels[0], encode_points(SIX, geometry.shape, spacing_mm=(2, 2, 2), scale_mm=4.0))
