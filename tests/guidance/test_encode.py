from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import GuidancePlan
from interactivepet.errors import InteractionError
from interactivepet.guidance.encode import CUT_OFF_SCALES, encode_clicks, encode_points

coordinates = st.tuples(*[st.floats(-12, 24)] * 3)


@settings(deadline=None)
@given(
    points=st.lists(coordinates, max_size=4),
    spacing_mm=st.tuples(*[st.floats(0.5, 5)] * 3),
    scale_mm=st.floats(0.5, 8),
)
def test_the_map_is_the_gaussian_of_the_distance_to_the_nearest_point(
    points: list[tuple[float, float, float]], spacing_mm: tuple[float, float, float], scale_mm: float
) -> None:
    shape = (9, 8, 7)

    heat = encode_points(np.array(points).reshape(-1, 3), shape, spacing_mm=spacing_mm, scale_mm=scale_mm)

    offset = np.indices(shape).reshape(3, -1).T[:, None] - np.array(points).reshape(-1, 3)
    squared = ((offset * np.array(spacing_mm)) ** 2).sum(-1)
    exact = np.exp(-squared / (2 * scale_mm**2)).max(axis=1, initial=0).reshape(shape)
    assert heat.dtype == np.float32
    assert heat == pytest.approx(exact, abs=np.exp(-0.5 * CUT_OFF_SCALES**2))
    assert heat.max() <= 1.0


def test_the_peak_is_one_at_the_click() -> None:
    heat = encode_points(np.array([[3, 4, 5]]), (8, 8, 8), spacing_mm=(4, 4, 4), scale_mm=6)

    assert heat[3, 4, 5] == 1.0
    assert heat[4, 4, 5] == pytest.approx(np.exp(-16 / 72))
    assert heat.argmax() == np.ravel_multi_index((3, 4, 5), heat.shape)


def test_a_point_outside_reaches_in_and_a_far_one_does_not() -> None:
    near = encode_points(np.array([[-1.5, 2, 2]]), (5, 5, 5), spacing_mm=(2, 2, 2), scale_mm=3)
    far = encode_points(np.array([[-50.0, 2, 2]]), (5, 5, 5), spacing_mm=(2, 2, 2), scale_mm=3)

    assert near[0, 2, 2] == pytest.approx(np.exp(-0.5))
    assert not far.any()


def test_distances_follow_the_spacing_of_each_axis() -> None:
    heat = encode_points(np.array([[4, 4, 4]]), (9, 9, 9), spacing_mm=(1, 2, 4), scale_mm=4)

    assert heat[8, 4, 4] == pytest.approx(heat[4, 6, 4])
    assert heat[8, 4, 4] == pytest.approx(heat[4, 4, 5])


def test_channels_are_positive_then_negative_for_each_label() -> None:
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (30.0, -20.0, 10.0)
    geometry = Geometry((10, 10, 10), affine)
    voxels = {(1, True): (1, 2, 3), (1, False): (4, 5, 6), (2, True): (7, 8, 9), (2, False): (0, 9, 0)}
    clicks = [
        Click(position_mm=tuple(geometry.to_mm(v).tolist()), label=label, is_positive=sign)
        for (label, sign), v in voxels.items()
    ]

    channels = encode_clicks(clicks, geometry, labels=(2, 1), guidance=GuidancePlan(scale_mm=5))

    assert channels.shape == (4, 10, 10, 10)
    assert channels.dtype == np.float32
    order = [(2, True), (2, False), (1, True), (1, False)]
    for channel, key in zip(channels, order, strict=True):
        assert channel[voxels[key]] == pytest.approx(1.0)
        assert np.unravel_index(channel.argmax(), channel.shape) == voxels[key]


def test_without_clicks_the_channels_are_zero() -> None:
    channels = encode_clicks([], Geometry((4, 5, 1), np.eye(4)), labels=(1, 2), guidance=GuidancePlan(scale_mm=5))

    assert channels.shape == (4, 4, 5, 1)
    assert not channels.any()


def test_a_click_of_an_unknown_label_is_refused() -> None:
    click = Click(position_mm=(0, 0, 0), label=3)

    with pytest.raises(InteractionError, match=r"label \[3\], expected \[1, 2\]"):
        encode_clicks([click], Geometry((4, 4, 4), np.eye(4)), labels=(1, 2), guidance=GuidancePlan(scale_mm=5))


@pytest.mark.parametrize("scale_mm", [0.0, -1.0, float("nan")])
def test_a_scale_without_sense_is_refused(scale_mm: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        encode_points(np.zeros((1, 3)), (4, 4, 4), spacing_mm=(1, 1, 1), scale_mm=scale_mm)
