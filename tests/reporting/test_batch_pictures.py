from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from interactivepet.core.geometry import Shape
from interactivepet.core.sample import Sample
from interactivepet.reporting.batch_pictures import LABEL_COLOUR, PREVIOUS_COLOUR, draw_batch
from interactivepet.reporting.panels import NEGATIVE_COLOUR, POSITIVE_COLOUR

SPACING_MM = (4.0, 4.0, 5.0)
COLOURS = (LABEL_COLOUR, PREVIOUS_COLOUR, POSITIVE_COLOUR, NEGATIVE_COLOUR)


def make_sample(shape: Shape = (16, 14, 12), *, holds: str = "") -> Sample:
    """Make a sample whose named maps hold a box at the lowest slices."""
    box = tuple(slice(n // 4, n // 2 + 1) for n in shape)
    maps = {name: np.zeros(shape, np.float32) for name in ("positive", "negative", "previous", "label")}
    for name in holds.split():
        maps[name][box] = 1
    return Sample(
        image=np.full(shape, 0.5, np.float32),
        positive=maps["positive"],
        negative=maps["negative"],
        previous=maps["previous"].astype(np.uint8),
        label=maps["label"].astype(np.uint8),
    )


def count(*samples: Sample) -> dict[str, int]:
    png = draw_batch(samples, spacing_mm=SPACING_MM, title="Task_1 $", is_emission=True)
    pixels = imread(BytesIO(png), format="png")[..., :3]
    return {colour: int(np.all(np.abs(pixels - to_rgb(colour)) < 0.02, axis=-1).sum()) for colour in COLOURS}


@pytest.mark.parametrize(
    ("holds", "colour"), list(zip(("label", "previous", "positive", "negative"), COLOURS, strict=True))
)
def test_every_map_is_drawn_in_its_colour(holds: str, colour: str) -> None:
    nothing, something = count(make_sample(holds="")), count(make_sample(holds=f"label {holds}"))
    assert something[colour] > nothing[colour] + 200
    absent = [other for other in COLOURS[1:] if other != colour]
    assert all(something[other] == nothing[other] for other in absent)


def test_without_a_label_the_slice_of_the_clicks_is_shown() -> None:
    assert count(make_sample(holds="negative"))[NEGATIVE_COLOUR] > 1000


def test_every_sample_has_a_row() -> None:
    one, three = (draw_batch([make_sample()] * n, spacing_mm=SPACING_MM, title="", is_emission=False) for n in (1, 3))
    assert len(imread(BytesIO(three), format="png")) > 2 * len(imread(BytesIO(one), format="png"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_single_number_is_drawn_too(value: float) -> None:
    sample = make_sample(holds="label")
    sample.image[:] = value
    assert count(sample)[LABEL_COLOUR] > 200


@pytest.mark.parametrize("shape", [(1, 14, 12), (16, 1, 12), (16, 14, 1)])
def test_flat_patches_are_shown_in_their_own_plane(shape: Shape) -> None:
    found = count(make_sample(shape, holds="label positive"))
    assert found[LABEL_COLOUR] > 200
    assert found[POSITIVE_COLOUR] > 1000
