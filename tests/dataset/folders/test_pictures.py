"""Masks of projections as their users save them: picture -> mask, or what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.dataset.files.read import read_geometry, read_mask
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.folders.pictures import BLACK, WHITE, read_luminance, read_mask_picture
from interactivepet.errors import CaseError
from tests.files import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, write_png

ROWS, COLUMNS = 12, 9
LESION = np.zeros((ROWS, COLUMNS), bool)
LESION[3:6, 2:4] = True


def paint(background: Any, lesion: Any) -> np.ndarray:
    """Paint the lesion on a background, both of them one number or one per sample."""
    return np.where(LESION[..., None], np.atleast_1d(lesion), np.atleast_1d(background))


def paint_hidden(background: Any, lesion: Any) -> np.ndarray:
    """Paint with other colours below what is transparent."""
    pixels = paint(background, lesion)
    pixels[0, :, 0] = 77
    return pixels


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (paint(0, 255), {"colour_type": GREY}),
        (paint(0, 1), {"colour_type": GREY}),
        (paint(0, 100), {"colour_type": GREY}),
        (paint(0, 1), {"colour_type": GREY, "depth": 1}),
        (paint(255, 1), {"colour_type": GREY}),
        (paint((0, 0, 0), (1, 1, 1)), {"colour_type": RGB}),
        (paint((0, 0, 0), (255, 0, 0)), {"colour_type": RGB}),
        (paint((0, 0, 0), (0, 0, 255)), {"colour_type": RGB}),
        (paint((255, 255, 255), (255, 0, 0)), {"colour_type": RGB}),
        (paint((0, 0, 0, 255), (255, 255, 255, 255)), {"colour_type": RGBA}),
        (paint((0, 0, 0, 0), (0, 0, 0, 255)), {"colour_type": RGBA}),
        (paint((0, 0, 0, 0), (255, 0, 0, 128)), {"colour_type": RGBA}),
        (paint_hidden((9, 9, 9, 0), (0, 0, 0, 40)), {"colour_type": RGBA}),
        (paint((0, 0, 0, 0), (255, 255, 255, 0)), {"colour_type": RGBA}),
        (paint((0, 255), (255, 255)), {"colour_type": GREY_ALPHA}),
        (paint((0, 0), (0, 255)), {"colour_type": GREY_ALPHA}),
        (paint(0, 1), {"colour_type": PALETTE, "palette": (0, 0, 0, 200, 10, 10)}),
        (paint(0, 1), {"colour_type": PALETTE, "palette": (0, 0, 0, 1, 1, 1), "depth": 1}),
        (paint(0, 1), {"colour_type": PALETTE, "palette": (0, 0, 0, 0, 0, 0), "opacities": (0,)}),
    ],
    ids=[
        "black and white",
        "0 and 1",
        "0 and 100",
        "one bit",
        "dark on white",
        "RGB of 0 and 1",
        "red",
        "blue",
        "red on white",
        "opaque white",
        "black with alpha",
        "half opaque red",
        "colours below what is transparent",
        "opacity 0 everywhere",
        "grey with alpha",
        "black on transparent grey",
        "palette",
        "palette of one bit",
        "transparent palette",
    ],
)
def test_two_values_are_background_and_lesion(tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]) -> None:
    mask = read_mask_picture(write_png(tmp_path / "mask.png", pixels, **options))
    np.testing.assert_array_equal(mask[:, :, 0].T, LESION)


@pytest.mark.parametrize(
    ("colour_type", "value"), [(GREY, 0), (RGB, (0, 0, 0)), (RGBA, (0, 0, 0, 0)), (RGBA, (0, 0, 0, 255))]
)
def test_a_picture_that_is_all_background_has_no_lesion(tmp_path: Path, colour_type: int, value: Any) -> None:
    mask = read_mask_picture(write_png(tmp_path / "mask.png", paint(value, value), colour_type=colour_type))
    assert mask.shape == (COLUMNS, ROWS, 1)
    assert not mask.any()


def smooth() -> np.ndarray:
    pixels = paint(0, 255)
    pixels[2, 2:4], pixels[6, 2:4] = 90, 140
    return pixels


@pytest.mark.parametrize(
    ("pixels", "colour_type", "message"),
    [
        (smooth(), GREY, r"4 values \(black, grey 90, grey 140, white\), expected two.*--mask-above N"),
        (paint((0, 0, 0), (255, 0, 0)) + np.eye(ROWS, COLUMNS, dtype=int)[..., None] * (0, 9, 0), RGB, "--mask-above"),
        (paint(255, 255), GREY, "every pixel of the mask is white, so it is open"),
        (paint((200, 0, 0), (200, 0, 0)), RGB, r"every pixel of the mask is colour \(200, 0, 0\)"),
        (paint(255, 0), GREY, "in which white is more frequent and white fills the border.*black background"),
        (paint((0, 0, 0, 255), (0, 0, 0, 0)), RGBA, "in which black is more frequent and black fills the border"),
    ],
    ids=["smooth edges", "several colours", "all white", "all red", "black on white", "a hole in black"],
)
def test_anything_else_is_asked_for(tmp_path: Path, pixels: np.ndarray, colour_type: int, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        read_mask_picture(write_png(tmp_path / "mask.png", pixels, colour_type=colour_type))


@pytest.mark.parametrize(("above", "n_pixels"), [(127, 8), (0, 10), (200, 6)])
def test_more_values_are_divided_where_the_user_says(tmp_path: Path, above: int, n_pixels: int) -> None:
    path = write_png(tmp_path / "mask.png", smooth())
    assert read_mask_picture(path, above=above).sum() == n_pixels


def test_a_projection_of_grey_with_alpha(tmp_path: Path) -> None:
    path = write_png(tmp_path / "image.png", paint((255, 255), (55, 51)), colour_type=GREY_ALPHA)
    on_white, _ = read_luminance(path, behind=WHITE)
    assert on_white[2, 3, 0] == pytest.approx(255 - 0.2 * 200)
    on_black, geometry = read_luminance(path, behind=BLACK)
    assert on_black[2, 3, 0] == pytest.approx(0.2 * 55)
    assert geometry.shape == (COLUMNS, ROWS, 1)


@pytest.mark.parametrize(
    ("depth", "n_bytes", "message"),
    [(16, None, "grey with alpha in more than 8 bits per sample"), (8, 60, "mask.png: cannot be read")],
)
def test_grey_with_alpha_that_cannot_be_read(tmp_path: Path, depth: int, n_bytes: int | None, message: str) -> None:
    path = write_png(tmp_path / "mask.png", paint((0, 0), (1, 255)), colour_type=GREY_ALPHA, depth=depth)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CaseError, match=message):
        read_mask_picture(path)


def test_a_mask_is_written_beside_a_picture_of_grey_with_alpha(tmp_path: Path) -> None:
    path = write_png(tmp_path / "image.png", paint((255, 255), (55, 255)), colour_type=GREY_ALPHA)
    label = LESION.T[:, :, None].astype(np.uint8)
    write_mask(tmp_path / "mask.nrrd", label, geometry=read_geometry(path), like=path)
    mask, geometry = read_mask(tmp_path / "mask.nrrd")
    np.testing.assert_array_equal(mask, label)
    assert geometry.matches(read_geometry(path))
