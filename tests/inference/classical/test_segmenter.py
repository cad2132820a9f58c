"""Every classical method on made objects whose mask is known, and what clicks change in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.classical import CLASSICAL_METHODS, ClassicalMethod
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.detection.reference import measure_liver, percist_threshold
from interactivepet.errors import CaseError
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.inference.classical.segmenter import ClassicalSegmenter
from interactivepet.inference.classical.shapes import find_ellipsoid
from interactivepet.inference.classical.thresholds import find_background, find_nestle_threshold, find_share_threshold
from tests.detection.digital import make_digital

GRID = Geometry((48, 44, 40), np.diag([4.0, 4.0, 3.0, 1.0]))
FLAT = Geometry((48, 44, 1), np.diag([4.0, 4.0, 3.0, 1.0]))
CENTRES = ((14, 14, 20), (36, 32, 20))
RADIUS_MM = 24.0
# the ellipsoid fills the box of the points, which is up to a voxel larger than the object
ALONE = tuple(name for name in CLASSICAL_METHODS if name != "percist")
"""Methods that look at the object alone; `percist` needs the liver of a whole body."""
EXPECTED = dict.fromkeys(ALONE, 0.85) | {"ellipsoid": 0.75}
# a walker from a small ball is stopped by little
ONE_CLICK = {"randomwalker": 0.55}


def make_label(geometry: Geometry = GRID, *, n: int = 1) -> np.ndarray:
    voxels = np.moveaxis(np.indices(geometry.shape), 0, -1)
    label = np.zeros(geometry.shape, np.uint8)
    for value, (i, j, k) in enumerate(CENTRES[:n], start=1):
        centre = (i, j, min(k, geometry.shape[2] - 1))
        label[np.linalg.norm((voxels - centre) * np.asarray(geometry.spacing_mm), axis=-1) <= RADIUS_MM] = value
    return label


def make_case(label: np.ndarray, geometry: Geometry = GRID, *, uptake: float = 10.0) -> Case:
    """Blur an object on a background of a tenth of its uptake, as a scanner does."""
    from scipy import ndimage

    sharp = np.where(label > 0, uptake, uptake / 10)
    blurred = ndimage.gaussian_filter(sharp, [0.0 if n == 1 else 0.6 for n in geometry.shape])
    noise = np.random.default_rng(0).normal(scale=uptake / 100, size=geometry.shape)
    return Case("MADE", (blurred + noise)[None].astype(np.float32), geometry)


def place(label: np.ndarray, geometry: Geometry = GRID, **options: object) -> tuple[Click, ...]:
    made = ClickOptions(**options)  # type: ignore[arg-type]
    return simulate_clicks(label, geometry, options=made, rng=np.random.default_rng(0))


def at(*voxel: int, label: int = 1, is_positive: bool = True) -> Click:
    x, y, z = GRID.to_mm(voxel).tolist()
    return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)


def segment(method: ClassicalMethod, case: Case, clicks: tuple[Click, ...], *, n: int = 1) -> np.ndarray:
    labels = tuple(range(1, n + 1))
    prediction = ClassicalSegmenter(method, labels).segment(case, clicks)
    assert prediction.labels == labels
    assert prediction.probabilities.dtype == np.float32
    assert np.array_equal(prediction.probabilities.sum(axis=0), np.ones(case.geometry.shape))
    return np.argmax(prediction.probabilities, axis=0)


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    return float(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("geometry", [GRID, FLAT], ids=["volume", "flat"])
def test_margin_points_give_the_object(method: ClassicalMethod, geometry: Geometry) -> None:
    label = make_label(geometry)
    mask = segment(method, make_case(label, geometry), place(label, geometry))
    assert dice(mask == 1, label == 1) > EXPECTED[method]


@pytest.mark.parametrize("method", sorted(set(ALONE) - {"ellipsoid"}))
def test_one_click_gives_the_object_without_another_one(method: ClassicalMethod) -> None:
    label = make_label(n=2)
    mask = segment(method, make_case(label), (at(*CENTRES[0]),))
    assert dice(mask == 1, label == 1) > ONE_CLICK.get(method, 0.8)
    assert not mask[label == 2].any()


@pytest.mark.parametrize("method", ALONE)
def test_each_label_has_its_own_clicks(method: ClassicalMethod) -> None:
    label = make_label(n=2)
    mask = segment(method, make_case(label), place(label), n=2)
    assert dice(mask == 1, label == 1) > EXPECTED[method]
    assert dice(mask == 2, label == 2) > EXPECTED[method]


@pytest.mark.parametrize("method", ALONE)
def test_objects_of_one_label_are_all_found(method: ClassicalMethod) -> None:
    label = (make_label(n=2) > 0).astype(np.uint8)
    mask = segment(method, make_case(label), place(label))
    assert dice(mask == 1, label == 1) > EXPECTED[method]


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize(
    "clicks", [(), (at(14, 14, 20, is_positive=False),), (at(99, 14, 20),), (at(14, 14, 20, label=7),)]
)
def test_nothing_is_segmented_without_a_positive_click(method: ClassicalMethod, clicks: tuple[Click, ...]) -> None:
    assert not segment(method, make_case(make_label()), clicks).any()


@pytest.mark.parametrize("method", ALONE)
def test_a_negative_click_takes_its_surroundings_away_and_nothing_far(method: ClassicalMethod) -> None:
    label = make_label()
    case, clicks = make_case(label), place(label)
    before = segment(method, case, clicks)
    voxel = (14, 14, 22)
    after = segment(method, case, (*clicks, at(*voxel, is_positive=False)))
    assert before[voxel] == 1
    assert after[voxel] == 0
    assert after.sum() < before.sum()
    for click in clicks:
        assert after[GRID.find_voxel(click.position_mm)] == 1


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("is_positive", [True, False])
def test_the_last_click_in_a_voxel_wins(method: ClassicalMethod, is_positive: bool) -> None:
    label = make_label()
    clicks = (*place(label), at(15, 14, 20, is_positive=not is_positive), at(15, 14, 20, is_positive=is_positive))
    assert segment(method, make_case(label), clicks)[15, 14, 20] == int(is_positive)


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("value", [0.0, 3.0, -1.0])
def test_an_image_without_contrast_is_segmented_all_the_same(method: ClassicalMethod, value: float) -> None:
    label = make_label()
    case = Case("FLAT", np.full((1, *GRID.shape), value, np.float32), GRID)
    mask = segment(method, case, place(label))
    assert all(mask[GRID.find_voxel(click.position_mm)] == 1 for click in place(label))


@pytest.mark.parametrize(
    ("method", "channel", "uptake", "message"),
    [
        ("suv2.5", "PET", 40000.0, "suv2.5 needs SUV, and the voxels above 0 have a mean of"),
        ("suv4", "PET", 40000.0, "choose a method that follows the image, such as threshold41"),
        ("suv4", "CT", 10.0, "suv4 needs SUV, and the first channel is CT"),
        ("suv2.5", "MRI", 10.0, "the first channel is MRI"),
    ],
)
def test_a_fixed_suv_needs_suv(method: ClassicalMethod, channel: str, uptake: float, message: str) -> None:
    label = make_label()
    with pytest.raises(CaseError, match=message.replace(".", r"\.")) as raised:
        ClassicalSegmenter(method, (1,), channel).segment(make_case(label, uptake=uptake), place(label))
    assert str(raised.value).startswith("MADE: ")


@pytest.mark.parametrize("method", ["threshold41", "threshold50", "nestle", "watershed", "randomwalker", "ellipsoid"])
def test_the_unit_does_not_matter_to_the_other_methods(method: ClassicalMethod) -> None:
    label = make_label()
    case = make_case(label)
    other = Case("MADE", case.image * 4096, GRID)
    assert np.array_equal(segment(method, case, place(label)), segment(method, other, place(label)))


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([1.0, 10.0], 0.41, 4.1), ([2.0, 8.0], 0.5, 4.0), ([0.0, 0.0], 0.5, 0.0)]
)
def test_a_share_of_the_maximum(values: list[float], share: float, expected: float) -> None:
    assert find_share_threshold(np.asarray(values, np.float32), share) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "background", "expected"),
    [
        # 10 and 8 are above 70 % of 10
        ([1.0, 6.9, 8.0, 10.0], 1.0, 0.15 * 9.0 + 1.0),
        ([4.0, 4.0], 0.0, 0.6),
        ([-1.0, -2.0], 0.5, 0.35),
    ],
)
def test_the_threshold_of_nestle(values: list[float], background: float, expected: float) -> None:
    assert find_nestle_threshold(np.asarray(values, np.float32), background) == pytest.approx(expected)


def test_the_background_lies_around_the_box() -> None:
    image = np.full(GRID.shape, 2.0, np.float32)
    box = BoundingBox((10, 10, 10), (20, 20, 20))
    image[box.slices] = 50.0
    assert find_background(image, box, geometry=GRID) == 2.0
    everything = BoundingBox((0, 0, 0), GRID.shape)
    assert find_background(image, everything, geometry=GRID) == 2.0


def test_an_ellipsoid_fills_its_box() -> None:
    found = find_ellipsoid(BoundingBox((3, 3, 3), (23, 33, 43)))
    assert found.shape == (20, 30, 40)
    assert found.mean() == pytest.approx(np.pi / 6, abs=0.01)
    assert BoundingBox.of(found) == BoundingBox((0, 0, 0), (20, 30, 40))


def test_percist_follows_the_liver_of_the_image() -> None:
    image, label, geometry = make_digital(40)
    hottest = np.unravel_index(int(np.where(label > 0, image, 0).argmax()), image.shape)
    x, y, z = geometry.to_mm(hottest).tolist()
    click = Click(position_mm=(x, y, z), label=1)
    case = Case("WHOLE", image[None], geometry)
    liver = measure_liver(image, geometry)
    assert liver is not None
    limit = percist_threshold(liver)
    mask = segment("percist", case, (click,)) == 1
    assert mask[hottest]
    assert image[mask].min() >= limit
    assert (label[mask] > 0).mean() > 0.8
    counts = Case("WHOLE", case.image * 4096, geometry)
    assert (segment("percist", counts, (click,)) == 1).sum() == pytest.approx(mask.sum(), rel=0.02)


@pytest.mark.parametrize(
    ("channel", "message"),
    [("PET", "percist needs the liver, and none is seen"), ("CT", "percist needs SUV, and the first channel is CT")],
)
def test_percist_needs_a_liver(channel: str, message: str) -> None:
    label = make_label()
    with pytest.raises(CaseError, match=f"MADE: {message}"):
        ClassicalSegmenter("percist", (1,), channel).segment(make_case(label), place(label))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("method", "expected"), [("threshold41", 0.38), ("suv2.5", 0.57), ("nestle", 0.69), ("ellipsoid", 0.79)]
)
def test_six_points_on_real_tumours(real_data: Path, method: ClassicalMethod, expected: float) -> None:
    task, scores = real_data / "Task501_STSPET", []
    for path in sorted((task / "labelsTr").glob("*.nii.gz")):
        image, geometry = read_image([task / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")])
        label, _ = read_mask(path)
        scores.append(dice(segment(method, Case(path.name, image, geometry), place(label, geometry)) == 1, label == 1))
    assert len(scores) == 36
    assert float(np.mean(scores)) == pytest.approx(expected, abs=0.01)
