"""Digital patients of every kind: drawn from wide ranges, the same for the same seed, with whole lesions."""

import numpy as np
import pytest

from interactivepet.core.components import find_components
from interactivepet.dataset.phantom.backgrounds import TRACERS, paint_limb, paint_organs, paint_trunk
from interactivepet.dataset.phantom.fields import find_distance_mm, make_axes, make_basis, make_field, make_line
from interactivepet.dataset.phantom.random_shapes import KINDS, RandomLesion, draw_level, draw_uptake, find_inside
from interactivepet.dataset.phantom.randomised import make_random_patient

AXES = make_axes((40, 44, 36), (2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def patients() -> list[tuple]:
    return [make_random_patient(np.random.default_rng((5, n))) for n in range(24)]


def test_the_same_state_makes_the_same_patient(patients: list[tuple]) -> None:
    image, label, geometry = make_random_patient(np.random.default_rng((5, 3)))

    np.testing.assert_array_equal(image, patients[3][0])
    np.testing.assert_array_equal(label, patients[3][1])
    assert geometry.shape == patients[3][2].shape


def test_every_image_is_a_scan_and_most_have_lesions(patients: list[tuple]) -> None:
    for image, label, geometry in patients:
        assert image.shape == (1, *geometry.shape) == (1, *label.shape)
        assert image.dtype == np.float32
        assert label.dtype == np.uint8
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert all(1.5 <= mm <= 6.0 for mm in geometry.spacing_mm)
    assert sum(label.any() for _, label, _ in patients) >= 20


def test_ranges_are_wide(patients: list[tuple]) -> None:
    volumes = [label.sum() * geometry.voxel_volume_ml for _, label, geometry in patients if label.any()]
    finest = [min(geometry.spacing_mm) for _, _, geometry in patients]
    hottest = [image[0][label > 0].max() for image, label, _ in patients if label.any()]

    assert max(volumes) > 50 * min(volumes)
    assert max(finest) > 2 * min(finest)
    assert max(hottest) > 5 * min(hottest)


def test_lesions_are_whole(patients: list[tuple]) -> None:
    # one to four were drawn, and touching ones are one; voxels may cut off a corner
    assert all(find_components(label > 0)[1] <= 8 for _, label, _ in patients)


@pytest.mark.parametrize("seed", range(len(KINDS) * 2))
def test_shapes_have_the_volume_that_was_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)

    level = draw_level(AXES, radius_mm=15.0, rng=rng)
    inside = find_inside(level, volume_ml=14.1, voxel_ml=0.008)

    assert find_components(inside)[1] == 1
    assert 0.5 * 14.1 <= inside.sum() * 0.008 <= 14.1 + 0.008


def test_an_impossible_volume_fills_the_grid_and_the_smallest_is_a_voxel() -> None:
    level = draw_level(AXES, radius_mm=15.0, rng=np.random.default_rng(0))

    assert find_inside(level, volume_ml=1e6, voxel_ml=0.008).all()
    assert find_inside(level, volume_ml=1e-6, voxel_ml=0.008).sum() == 1


def test_a_share_of_a_lesion_is_cold() -> None:
    rng = np.random.default_rng(4)
    level = draw_level(AXES, radius_mm=15.0, rng=rng)
    lesion = RandomLesion(volume_ml=14.1, suv=8.0, contrast=0.0, cold_share=0.5, cold_suv=0.5, fade=0.0)

    inside = find_inside(level, volume_ml=14.1, voxel_ml=0.008)
    uptake = draw_uptake(lesion, level, inside, axes_mm=AXES, radius_mm=15.0, rng=rng)[inside]

    assert set(np.unique(uptake)) == {np.float32(0.5), np.float32(8.0)}
    assert (uptake == 0.5).mean() == pytest.approx(0.5, abs=0.01)


def test_a_field_has_zero_mean_and_unit_variance() -> None:
    axes = make_axes((60, 60, 60), (2.0, 2.0, 2.0))

    fields = [make_field(axes, length_mm=8.0, rng=np.random.default_rng(n)) for n in range(4)]

    assert abs(np.mean(fields)) < 0.1
    assert 0.8 < np.std(fields) < 1.2


def test_splines_sum_to_one() -> None:
    np.testing.assert_allclose(make_basis(AXES[0], 7.0).sum(axis=1), 1.0, atol=1e-5)


def test_a_line_passes_through_its_place() -> None:
    line = make_line(np.array([5.0, -3.0, 2.0]), length_mm=80.0, rng=np.random.default_rng(1))

    assert np.linalg.norm(line - (5, -3, 2), axis=1).min() < 1e-4
    distance = find_distance_mm(AXES, line)
    assert distance.shape == (40, 44, 36)
    assert distance.min() < 2.0


@pytest.mark.parametrize("paint", [paint_trunk, paint_limb, paint_organs])
def test_backgrounds_differ_from_patient_to_patient(paint: object) -> None:
    first, second = (paint(AXES, rng=np.random.default_rng(n)) for n in range(2))

    assert first.shape == (40, 44, 36)
    assert np.isfinite(first).all()
    assert first.min() >= 0
    assert not np.array_equal(first, second)


def test_tracers_name_organs_that_are_there() -> None:
    from interactivepet.dataset.phantom.anatomy import ORGANS

    for factors in TRACERS.values():
        for part in factors:
            assert any(organ.name.startswith(part) or organ.name.endswith(part) for organ in ORGANS), part
