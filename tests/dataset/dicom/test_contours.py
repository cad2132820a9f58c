"""Even-odd filling and tracing in one plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from interactivepet.dataset.dicom.contours import fill_polygons, trace_mask


def circle(centre: tuple[float, float], radius: float, n: int = 720) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def distance(shape: tuple[int, int], centre: tuple[float, float]) -> np.ndarray:
    u, v = np.indices(shape)
    return np.hypot(u - centre[0], v - centre[1])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.31, 0.17), (0.5, 0.5)])
def test_a_circle_holds_the_centres_within_its_radius(shift: tuple[float, float]) -> None:
    centre = (10 + shift[0], 12 + shift[1])
    mask = fill_polygons([circle(centre, 7.26)], (24, 26))
    r = distance((24, 26), centre)
    is_clear = np.abs(r - 7.26) > 0.02
    assert np.array_equal(mask[is_clear], r[is_clear] < 7.26)
    assert is_clear.sum() > 24 * 26 - 9


def test_inner_contours_are_holes_and_islands_in_any_winding() -> None:
    centre = (11.0, 11.0)
    rings = [circle(centre, 9.3), circle(centre, 6.5)[::-1], circle(centre, 3.3)]
    r = distance((24, 24), centre)
    assert np.abs(r[..., None] - (9.3, 6.5, 3.3)).min() > 0.02
    expected = (r < 9.3) & ~(r < 6.5) | (r < 3.3)
    assert np.array_equal(fill_polygons(rings, (24, 24)), expected)
    assert np.array_equal(fill_polygons([ring[::-1] for ring in rings], (24, 24)), expected)


def test_contours_through_pixel_centres_hold_them_in_spite_of_rounding() -> None:
    square = np.array([[3, 4], [3, 9], [7, 9], [7, 4]], float)
    expected = np.zeros((12, 12), bool)
    expected[3:8, 4:10] = True
    for nudge in (0.0, 0.004, -0.004):
        assert np.array_equal(fill_polygons([square + nudge], (12, 12)), expected)


def test_what_lies_outside_of_the_plane_is_cut() -> None:
    mask = fill_polygons([np.array([[-50, -50], [-50, 4.5], [3.5, 4.5], [3.5, -50]], float)], (6, 9))
    assert mask[:4, :5].all()
    assert mask.sum() == 20


def test_tracing_gives_one_outline_a_component_with_its_holes_on_keyholes() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:15, 2:18] = True
    mask[5:8, 5:8] = mask[5:12, 11:14] = False
    mask[10, 6] = mask[17, 24] = False
    mask[17:19, 22:27] = True
    outlines = trace_mask(mask)
    assert len(outlines) == 2
    # Readers who fill contour by contour and join the results must find the holes too.
    joined = np.logical_or.reduce([fill_polygons([outline], mask.shape) for outline in outlines])
    assert np.array_equal(joined, mask)
    from skimage.measure import points_in_poly

    centres = np.indices(mask.shape).reshape(2, -1).T
    by_another = np.logical_or.reduce([points_in_poly(centres, outline) for outline in outlines])
    assert np.array_equal(by_another.reshape(mask.shape), mask)


def test_an_outline_encloses_half_a_pixel_less_than_its_mask() -> None:
    mask = distance((40, 40), (19.5, 19.5)) <= 12
    (outline,) = trace_mask(mask)
    u, v = outline.T
    area = abs(np.sum(u * np.roll(v, -1) - v * np.roll(u, -1))) / 2
    assert area == pytest.approx(mask.sum() - 0.5)


def test_nothing_has_no_outline() -> None:
    assert trace_mask(np.zeros((4, 5), bool)) == ()


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_mask_survives_tracing_and_filling(mask: np.ndarray) -> None:
    outlines = trace_mask(mask)
    back = fill_polygons(outlines, mask.shape) if outlines else np.zeros_like(mask)
    assert np.array_equal(back, mask)
    for outline in outlines:
        assert not np.any(np.all(outline == np.roll(outline, 1, axis=0), axis=1)), "a corner twice in a row"
