from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.case import Case, find_body_box
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.planning.fingerprint import (
    SAMPLES_PER_CASE,
    extract_fingerprint,
    measure_case,
)

LABELS = {"tumour": 1, "edema": 2}
VOXEL_ML = 2.0 * 3.0 * 4.0 / 1000


def make_case(image: np.ndarray, label: np.ndarray | None = None, *, name: str = "CASE") -> Case:
    """A mirrored grid with voxels of 2 x 3 x 4 mm."""
    geometry = Geometry(image.shape[1:], np.array([[0, 3.0, 0, 5], [-2.0, 0, 0, 6], [0, 0, 4.0, 7], [0, 0, 0, 1]]))
    return Case(name, image.astype(np.float32), geometry, label)


@pytest.fixture
def lesions() -> Case:
    """Uptake 7 and 9 in a border box of label 1, 3 in two voxels of label 2 that touch by a corner, and one apart."""
    image = np.full((1, 10, 9, 8), 1.0)
    label = np.zeros((10, 9, 8), np.uint8)
    label[0:2, 0:3, 7] = 1
    image[0, 0:2, 0:3, 7] = 7.0
    image[0, 1, 1, 7] = 9.0
    for voxel in ((4, 4, 4), (5, 5, 5), (9, 8, 0)):
        label[voxel] = 2
        image[0][voxel] = 3.0
    image[0, 0, 0, 0] = 0.0
    return make_case(image, label)


def test_objects_are_measured_in_millilitres_and_millimetres(lesions: Case) -> None:
    objects = measure_case(lesions, LABELS).fingerprint.objects

    box, *rest = objects
    assert box.label == 1
    assert box.volume_ml == pytest.approx(6 * VOXEL_ML)
    assert box.extent_mm == pytest.approx((4.0, 9.0, 4.0))
    assert box.uptake_mean == pytest.approx((5 * 7 + 9) / 6)
    assert box.uptake_max == 9.0
    assert sorted(obj.volume_ml for obj in rest) == pytest.approx([VOXEL_ML, 2 * VOXEL_ML])
    corner = max(rest, key=lambda obj: obj.volume_ml)
    assert corner.label == 2
    assert corner.extent_mm == pytest.approx((4.0, 6.0, 8.0))
    assert (corner.uptake_mean, corner.uptake_max) == (3.0, 3.0)


def test_the_foreground_is_what_is_labelled(lesions: Case) -> None:
    fingerprint = measure_case(lesions, LABELS).fingerprint

    values = [7.0] * 5 + [9.0] + [3.0] * 3
    (statistics,) = fingerprint.foreground
    assert statistics.mean == pytest.approx(np.mean(values))
    assert statistics.std == pytest.approx(np.std(values))
    assert statistics.median == 7.0
    assert (statistics.minimum, statistics.maximum) == (3.0, 9.0)
    assert statistics.percentile_99_5 == pytest.approx(np.percentile(values, 99.5), rel=1e-6)
    assert fingerprint.shape == (10, 9, 8)
    assert fingerprint.spacing_mm == pytest.approx((2.0, 3.0, 4.0))


def test_labels_that_are_not_asked_for_are_no_foreground(lesions: Case) -> None:
    fingerprint = measure_case(lesions, {"tumour": 1}).fingerprint
    assert [obj.label for obj in fingerprint.objects] == [1]
    assert fingerprint.foreground[0].minimum == 7.0


@pytest.mark.parametrize("with_label", [True, False])
def test_a_case_without_objects_has_a_body_only(with_label: bool) -> None:
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 7))
    case = make_case(image, np.zeros((5, 6, 7), np.uint8) if with_label else None)

    measured = measure_case(case, LABELS)

    assert measured.fingerprint.objects == ()
    assert measured.fingerprint.foreground == ()
    assert measured.foreground.shape == (2, 0)
    assert measured.body.shape == (2, SAMPLES_PER_CASE)
    assert len(measured.fingerprint.body) == 2


def test_the_box_keeps_what_any_channel_shows() -> None:
    image = np.zeros((2, 12, 11, 10), np.float32)
    image[1] = -1024.0
    image[0, 3:5, 4, 2] = 0.5
    image[1, 4, 8, 6:9] = -1000.0

    assert find_body_box(image) == BoundingBox((3, 4, 2), (5, 9, 9))


def test_a_constant_image_is_kept_whole() -> None:
    image = np.full((1, 4, 5, 1), 3.5, np.float32)
    assert find_body_box(image) == BoundingBox((0, 0, 0), (4, 5, 1))
    (body,) = measure_case(make_case(image), LABELS).fingerprint.body
    assert (body.mean, body.std, body.minimum, body.median, body.maximum) == (3.5, 0.0, 3.5, 3.5, 3.5)


def test_an_image_of_one_voxel_and_a_2d_image_can_be_measured() -> None:
    for shape in ((1, 1, 1), (6, 7, 1)):
        label = np.zeros(shape, np.uint8)
        label[0, 0, 0] = 1
        fingerprint = measure_case(make_case(np.ones((1, *shape)), label), LABELS).fingerprint
        assert fingerprint.crop_shape == shape
        assert fingerprint.objects[0].volume_ml == pytest.approx(VOXEL_ML)


def test_every_case_has_the_same_weight_in_the_task() -> None:
    large = make_case(np.full((1, 20, 20, 20), 10.0), name="B")
    small = make_case(np.full((1, 2, 2, 2), 2.0), np.ones((2, 2, 2), np.uint8), name="A")

    fingerprint = extract_fingerprint(
        (measure_case(case, LABELS) for case in (large, small)),
        "Task001",
        channels=["PET"],
        labels=LABELS,
        made_from="ab",
    )

    assert [case.id for case in fingerprint.cases] == ["A", "B"]
    assert fingerprint.body[0].mean == pytest.approx(6.0)
    assert fingerprint.foreground[0].mean == pytest.approx(2.0)
    assert (fingerprint.task, fingerprint.channels, fingerprint.made_from) == ("Task001", ("PET",), "ab")


def test_a_task_without_any_object_has_no_foreground() -> None:
    fingerprint = extract_fingerprint(
        [measure_case(make_case(np.ones((1, 3, 3, 3))), LABELS)], "Task001", channels=["PET"], labels=LABELS
    )
    assert fingerprint.foreground == ()
    assert fingerprint.body[0].median == 1.0


def test_the_sample_depends_on_the_seed_only_and_represents_the_case() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=(1, 30, 30, 30))
    case = make_case(values)
    first, again, other = (measure_case(case, LABELS, seed=seed).body for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.mean() == pytest.approx(values.mean(), rel=0.05)
