from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import BoundingBox, Geometry, SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.reporting.panels import NEGATIVE_COLOUR, POSITIVE_COLOUR
from interactivepet.reporting.pictures import (
    LABEL_COLOURS,
    MASK_COLOUR,
    REFERENCE_COLOUR,
    draw_answer,
    draw_case,
    draw_snapshot,
)

GEOMETRY = Geometry((20, 16, 12), np.diag([-4.0, -4.0, 5.0, 1.0]))


def read_png(data: bytes) -> npt.NDArray[np.float32]:
    from matplotlib.image import imread

    pixels: npt.NDArray[np.float32] = imread(BytesIO(data), format="png")
    return pixels


def count_pixels(data: bytes, colour: str) -> int:
    from matplotlib.colors import to_rgb

    return int(np.all(np.abs(read_png(data)[..., :3] - to_rgb(colour)) < 0.02, axis=-1).sum())


def make_image(shape: tuple[int, int, int] = GEOMETRY.shape) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random((1, *shape), dtype=np.float32)


def make_mask(shape: tuple[int, int, int] = GEOMETRY.shape) -> npt.NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[5:12, 5:12, 4:9] = 1
    return mask


def test_outlines_are_drawn_for_what_is_given() -> None:
    image, mask = make_image(), make_mask()
    nothing = draw_case(image, GEOMETRY)
    only_mask = draw_case(image, GEOMETRY, mask=mask)
    both = draw_case(image, GEOMETRY, mask=mask, reference=np.roll(mask, 2, axis=(0, 1, 2)))
    assert count_pixels(nothing, MASK_COLOUR) == count_pixels(nothing, REFERENCE_COLOUR) == 0
    assert count_pixels(only_mask, MASK_COLOUR) > 500
    assert count_pixels(only_mask, REFERENCE_COLOUR) == 0
    assert count_pixels(both, MASK_COLOUR) > 300
    assert count_pixels(both, REFERENCE_COLOUR) > 300


def test_patient_right_is_on_the_left_and_anterior_above() -> None:
    # Hot at the patient's right and front: low i and j, since the grid's diagonal is negative.
    image = np.zeros((1, *GEOMETRY.shape), np.float32)
    image[0, :10, :8, :] = 1.0
    pixels = read_png(draw_case(image, GEOMETRY))[..., 0]
    height, width = pixels.shape
    panel = pixels[int(0.2 * height) : int(0.8 * height), int(0.03 * width) : int(0.3 * width)]
    rows, columns = panel.shape
    quarter = panel[rows // 6 : rows // 3, columns // 6 : columns // 3]
    opposite = panel[2 * rows // 3 : 5 * rows // 6, 2 * columns // 3 : 5 * columns // 6]
    assert np.median(quarter) < 0.1
    assert np.median(opposite) > 0.9


def test_a_2d_image_has_one_panel_and_a_large_volume_four() -> None:
    flat = Geometry((30, 40, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    mask = np.zeros(flat.shape, np.uint8)
    mask[0:5, 0:5] = 1
    one = read_png(draw_case(make_image(flat.shape), flat, mask=mask))
    assert one.shape[0] > one.shape[1]
    large = Geometry((60, 60, 80), np.diag([6.0, 6.0, 6.0, 1.0]))
    four = read_png(draw_case(make_image(large.shape), large, mask=make_mask(large.shape)))
    three = read_png(draw_case(make_image(large.shape), large))
    assert four.shape[1] > three.shape[1]


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_constant_images_masks_full_and_objects_at_the_border_are_drawn(value: float) -> None:
    image = np.full((2, *GEOMETRY.shape), value, np.float32)
    full = np.ones(GEOMETRY.shape, np.uint8)
    voxel = np.zeros(GEOMETRY.shape, np.uint8)
    voxel[0, 0, 0] = 3
    data = draw_case(image, GEOMETRY, mask=full, reference=voxel, title=r"a $x_ \frac{")
    assert count_pixels(data, REFERENCE_COLOUR) > 20


def test_plain_grey_is_the_reverse_of_inverted_grey() -> None:
    image = np.ones((1, *GEOMETRY.shape), np.float32)
    image[..., :2] = 0
    dark = read_png(draw_case(image, GEOMETRY))[..., :3].mean()
    bright = read_png(draw_case(image, GEOMETRY, is_emission=False))[..., :3].mean()
    assert dark < bright - 0.2


def count_orange_above_legend(data: bytes) -> int:
    pixels = read_png(data)
    panels = pixels[: int(0.85 * len(pixels))]
    return int((panels[..., 0] > panels[..., 2] + 0.1).sum())


def test_clicks_are_drawn_on_slices_nearby_only() -> None:
    # The first click is where the slices go through; the second is on each slice, near it, or far away.
    first, on, near, far = (
        tuple(float(v) for v in GEOMETRY.to_mm(voxel)) for voxel in ((8, 8, 6), (8, 8, 6), (10, 10, 8), (19, 15, 11))
    )
    orange = [
        count_orange_above_legend(
            draw_case(
                make_image(),
                GEOMETRY,
                clicks=[Click(position_mm=first), Click(position_mm=second, is_positive=False)],
            )
        )
        for second in (on, near, far)
    ]
    assert orange[0] > 100
    assert orange[1] > 100
    assert orange[2] == 0


def test_legend_counts_clicks_of_either_sign() -> None:
    click = Click(position_mm=(-200.0, -200.0, 200.0), is_positive=False)
    data = draw_case(make_image(), GEOMETRY, clicks=[click])
    assert count_pixels(data, "#ff8c00") > 10
    assert count_pixels(data, "#0a6cff") == 0


def test_same_input_gives_the_same_bytes() -> None:
    assert draw_case(make_image(), GEOMETRY) == draw_case(make_image(), GEOMETRY)


def test_snapshot_shows_label_guidance_and_clicks() -> None:
    box = BoundingBox((2, 2, 0), (18, 14, 12))
    grid = GEOMETRY.cropped(box).resampled((20, 15, 15))
    guidance = np.zeros((2, *grid.shape), np.float32)
    guidance[0, 6:12, 6:9, 4:9] = 1.0
    label = np.zeros(grid.shape, np.uint8)
    label[5:12, 4:9, 4:11] = 1
    raw = Case("A", make_image(), GEOMETRY, make_mask())
    processed = PreprocessedCase("A", make_image(grid.shape), label, SpatialTrace(GEOMETRY, box, grid))
    clicks = [Click(position_mm=(-32.0, -32.0, 30.0))]
    data = draw_snapshot(raw, processed, guidance=guidance, clicks=clicks, title="A")
    empty = draw_snapshot(raw, processed, guidance=guidance * 0, clicks=clicks, title="A")
    assert count_pixels(data, "#0a6cff") > count_pixels(empty, "#0a6cff") + 500
    assert count_pixels(data, REFERENCE_COLOUR) > 300


@pytest.mark.real_data
def test_a_real_case_is_drawn(real_data: Path) -> None:
    import nibabel as nib

    task = real_data / "Task501_STSPET"
    image = nib.load(task / "imagesTr" / "STS_001_0000.nii.gz")
    label = nib.load(task / "labelsTr" / "STS_001.nii.gz")
    geometry = Geometry(image.shape, np.asarray(image.affine, dtype=np.float64))
    mask = (np.asarray(label.dataobj) > 0).astype(np.uint8)
    data = draw_case(np.asarray(image.dataobj, np.float32)[None], geometry, reference=mask, title="STS_001")
    assert count_pixels(data, REFERENCE_COLOUR) > 500


def count_panels(data: bytes) -> int:
    """Count the panels of a row by its black frames."""
    dark = (read_png(data)[..., :3].max(axis=-1) < 0.1).mean(axis=0) > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate(([0], dark.astype(int)))) == 1)
    return len(edges) // 2


@pytest.mark.parametrize("shape", [(20, 16, 12), (80, 70, 90), (20, 16, 1)], ids=["cut-out", "whole body", "flat"])
def test_an_answer_shows_planes_maximum_mask_and_clicks(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[5:12, 5:12, shape[2] // 3 : shape[2] // 3 + 4] = 1
    geometry = Geometry(shape, np.diag([-4.0, -4.0, 5.0, 1.0]))
    clicks = [
        Click(position_mm=tuple(geometry.to_mm((8, 8, shape[2] // 3)).tolist()), is_positive=sign)
        for sign in (True, False)
    ]
    image = np.zeros((1, *shape), np.float32)
    found = draw_answer(image, geometry, mask=mask, labels={"lesion": 1}, clicks=clicks, window=(0.0, 7.0))
    assert count_pixels(found, LABEL_COLOURS[0]) > 200
    assert count_panels(found) == (1 if shape[2] == 1 else 4)
    for colour in (POSITIVE_COLOUR, NEGATIVE_COLOUR):
        assert count_pixels(found, colour) > 20
    without = draw_answer(image, geometry, mask=mask * 0, labels={"lesion": 1})
    # the legend names the label, whose mask is empty
    assert count_pixels(without, LABEL_COLOURS[0]) < 200
    assert count_pixels(without, POSITIVE_COLOUR) == 0


def test_labels_of_an_answer_have_colours_of_their_own() -> None:
    mask = make_mask()
    mask[13:18, 5:12, 4:9] = 3
    found = draw_answer(make_image(), GEOMETRY, mask=mask, labels={"edema": 3, "tumour": 1})
    assert min(count_pixels(found, colour) for colour in LABEL_COLOURS[:2]) > 200
    assert count_pixels(found, LABEL_COLOURS[2]) == 0


def test_a_window_is_the_grey_scale_of_all_panels() -> None:
    image = np.full((1, 80, 70, 90), 3.5, np.float32)
    geometry = Geometry((80, 70, 90), np.diag([-4.0, -4.0, 5.0, 1.0]))
    data = draw_answer(image, geometry, mask=np.zeros((80, 70, 90), np.uint8), labels={"a": 1}, window=(0.0, 7.0))
    assert (np.abs(read_png(data)[..., :3] - 0.5).max(axis=-1) < 0.02).mean() > 0.4
