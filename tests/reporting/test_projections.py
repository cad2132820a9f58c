from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from interactivepet.reporting.palette import STATUS_COLOURS, encode_picture, find_window_top
from interactivepet.reporting.projections import N_ANGLES, Projections, draw_projections
from tests.reporting.patients import make_body

SPACING = (5.0, 5.0, 5.0)
SIDES = {"right": (1, 0, 0), "left": (-1, 0, 0), "anterior": (0, 1, 0), "posterior": (0, -1, 0), "top": (0, 0, 1)}


def decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def find_tint(picture: np.ndarray) -> np.ndarray:
    """Give where a picture is coloured."""
    spread: np.ndarray = picture.max(axis=2) - picture.min(axis=2)
    return spread > 20


def draw(side: tuple[int, int, int], *, status: int = 1, size: int = 2) -> tuple[Projections, np.ndarray]:
    """Draw a body with one hot region at one of its sides."""
    image, _ = make_body()
    place = [n // 2 + int(0.3 * n) * direction for n, direction in zip(image.shape, side, strict=True)]
    part = tuple(slice(p, p + size) for p in place)
    image[part] = 8
    regions = np.zeros(image.shape, np.int32)
    regions[part] = 1
    return draw_projections(image, regions, spacing_mm=SPACING, statuses=[status], top=10.0), image


@pytest.mark.parametrize(
    ("side", "quarter", "expected"),
    [
        ("left", 0, "right"),
        ("right", 0, "left"),
        ("anterior", 0, "middle"),
        ("anterior", 1, "left"),
        ("posterior", 1, "right"),
        ("left", 1, "middle"),
        ("left", 2, "left"),
        ("right", 2, "right"),
        ("anterior", 3, "right"),
        ("posterior", 3, "left"),
        ("top", 0, "middle"),
        ("top", 3, "middle"),
    ],
)
def test_a_region_is_where_a_viewer_sees_it(side: str, quarter: int, expected: str) -> None:
    drawn, _ = draw(SIDES[side])
    index = quarter * N_ANGLES // 4
    tint = find_tint(decode(drawn.pictures[index]))
    column = np.argwhere(tint)[:, 1].mean() / tint.shape[1]
    assert expected == ("left" if column < 0.4 else "right" if column > 0.6 else "middle")
    if side == "top":
        assert np.argwhere(tint)[:, 0].mean() < tint.shape[0] / 2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("index", range(0, N_ANGLES, 5))
def test_marks_turn_with_their_regions(side: str, index: int) -> None:
    drawn, _ = draw(SIDES[side])
    tint = find_tint(decode(drawn.pictures[index]))
    pixel_mm = drawn.width_mm / tint.shape[1]
    row, column = (np.argwhere(tint).mean(axis=0) + 0.5) * pixel_mm
    angle = 2 * np.pi * index / N_ANGLES
    across, towards, down, beside = drawn.marks_mm[0]
    x = drawn.width_mm / 2 + across * np.cos(angle) - towards * np.sin(angle)
    assert (column, row) == pytest.approx((x, down), abs=6)
    assert beside > 5


def test_every_picture_shows_the_highest_uptake_and_has_one_size() -> None:
    drawn, _ = draw(SIDES["left"], size=4)
    pictures = [decode(png) for png in drawn.pictures]
    assert len(pictures) == N_ANGLES
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    for number, picture in enumerate(pictures):
        assert find_tint(picture).any()
        opposite = pictures[(number + N_ANGLES // 2) % N_ANGLES]
        assert np.array_equal(picture, opposite[:, ::-1]), "seen from the other side"


@pytest.mark.parametrize("status", [1, 2, 3])
def test_regions_have_the_colour_of_their_status(status: int) -> None:
    drawn, _ = draw(SIDES["anterior"], status=status, size=3)
    picture = decode(drawn.pictures[0])
    colour = picture[find_tint(picture)].mean(axis=0)
    expected = np.array(list(STATUS_COLOURS.values())[status - 1])
    assert np.argmax(colour) == np.argmax(expected)


def test_a_lesion_is_not_hidden_by_normal_uptake() -> None:
    image, _ = make_body()
    regions = np.zeros(image.shape, np.int32)
    regions[18:21, 10, 20:23], regions[16:23, 20, 18:25] = 1, 2
    image[regions > 0] = 5
    drawn = draw_projections(image, regions, spacing_mm=SPACING, statuses=[1, 3], top=10.0)
    picture = decode(drawn.pictures[0])
    colours = picture[find_tint(picture)]
    assert (colours.argmax(axis=1) == 0).any()
    assert (colours.argmax(axis=1) == 2).any()


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 5.0), (4.07, 4.07, 3.0), (8.0, 8.0, 8.0)], ids=str)
def test_a_region_of_one_voxel_is_visible_from_everywhere(spacing_mm: tuple[float, float, float]) -> None:
    image, _ = make_body((32, 28, 24))
    regions = np.zeros(image.shape, np.int32)
    image[20, 15, 11], regions[20, 15, 11] = 9, 1
    drawn = draw_projections(image, regions, spacing_mm=spacing_mm, statuses=[1], top=10.0)
    assert all(find_tint(decode(png)).any() for png in drawn.pictures)
    size_mm = np.array(image.shape) * 0.8 * spacing_mm
    assert drawn.height_mm == pytest.approx(size_mm[2], abs=12)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((6, 5, 4), np.float32),
        np.full((6, 5, 4), -1, np.float32),
        np.ones((2, 2, 2), np.float32),
        np.full((3, 2, 40), 5, np.float32),
    ],
    ids=["zero", "negative", "tiny", "thin"],
)
def test_any_volume_can_be_drawn(image: np.ndarray) -> None:
    regions = np.zeros(image.shape, np.int32)
    drawn = draw_projections(image, regions, spacing_mm=(3.0, 3.0, 3.0), statuses=[1], top=10.0)
    assert len(drawn.pictures) == N_ANGLES
    assert drawn.marks_mm.shape == (1, 4)


@pytest.mark.parametrize(
    ("unit", "values", "top"),
    [("suv", [1, 50], 10.0), ("sul", [0.1], 10.0), ("counts", [100.0] * 5, 100.0), ("bq_per_ml", [0.0, -3], 1.0)],
)
def test_black_is_suv_10_or_the_upper_end_of_other_units(unit: str, values: list[float], top: float) -> None:
    assert find_window_top(np.array(values, np.float32), unit) == pytest.approx(top)  # type: ignore[arg-type]


def test_the_grey_is_inverted_and_ends_at_the_top() -> None:
    picture = decode(encode_picture(np.array([[-1.0, 0.0, 5.0, 10.0, 99.0]], np.float32), top=10.0))
    assert picture[0, :, 0].tolist() == pytest.approx([255, 255, 127, 0, 0], abs=3)
