from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from interactivepet.core.geometry import Spacing
from interactivepet.quantification.peak import PEAK_RADIUS_MM, measure_peaks
from tests.counting import count_calls

Voxel = tuple[int, int, int]
CUBE = (4.0, 4.0, 4.0)
"""A sphere of 1 ml holds the 19 voxels that share a face or an edge with its centre: 5.66 mm is within, 6.93 is not."""


def make_image(values: Mapping[Voxel, float], *, shape: Voxel = (11, 11, 11)) -> np.ndarray:
    image = np.zeros(shape, np.float32)
    for voxel, value in values.items():
        image[voxel] = value
    return image


def test_the_sphere_has_one_millilitre() -> None:
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)


@pytest.mark.parametrize(
    ("values", "mask", "spacing_mm", "local", "best"),
    [
        ({(5, 5, 5): 19.0}, [(5, 5, 5)], CUBE, 1.0, 1.0),
        # voxels outside of the mask count in the sphere
        ({(5, 5, 5): 19.0, (5, 5, 6): 9.5}, [(5, 5, 5)], CUBE, 1.5, 1.5),
        # the best sphere need not be the one at the hottest voxel
        (
            {(5, 5, 5): 19.0, (5, 5, 8): 15.2, (5, 5, 9): 15.2},
            [(5, 5, 5), (5, 5, 8)],
            CUBE,
            1.0,
            1.6,
        ),
        # of two voxels that are as hot, the one with the hotter surroundings
        ({(2, 2, 2): 19.0, (8, 8, 8): 19.0, (8, 8, 7): 19.0}, [(2, 2, 2), (8, 8, 8)], CUBE, 2.0, 2.0),
        # the corner of the grid has seven of the nineteen
        ({(0, 0, 0): 7.0}, [(0, 0, 0)], CUBE, 1.0, 1.0),
        # voxels larger than the sphere: each is alone
        ({(5, 5, 5): 3.0, (5, 5, 6): 2.0}, [(5, 5, 5), (5, 5, 6)], (9.0, 9.0, 9.0), 3.0, 3.0),
        # thick slices: nine voxels of one slice, as 5.66 mm is within
        ({(5, 5, 5): 9.0, (5, 5, 6): 90.0}, [(5, 5, 5)], (4.0, 4.0, 10.0), 1.0, 1.0),
    ],
)
def test_peaks(
    values: Mapping[Voxel, float], mask: list[Voxel], spacing_mm: Spacing, local: float, best: float
) -> None:
    image, inside = make_image(values), make_image(dict.fromkeys(mask, 1)) > 0
    assert measure_peaks(image, inside, spacing_mm=spacing_mm) == pytest.approx((local, best))


@pytest.mark.parametrize("spacing_mm", [(2.0, 3.0, 4.0), (1.0, 1.0, 5.0), (7.0, 2.0, 2.0), CUBE])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_the_global_peak_is_the_best_of_all_spheres(spacing_mm: Spacing, scale: float) -> None:
    rng = np.random.default_rng(0)
    image = (rng.gamma(2.0, scale, (14, 13, 12))).astype(np.float32)
    inside = rng.random(image.shape) < 0.1
    index = np.indices(image.shape).reshape(3, -1).T * spacing_mm
    spheres = [
        image.reshape(-1)[np.linalg.norm(index - centre, axis=1) <= PEAK_RADIUS_MM].mean(dtype=np.float64)
        for centre in index[inside.reshape(-1)]
    ]
    assert measure_peaks(image, inside, spacing_mm=spacing_mm).best == pytest.approx(max(spheres), rel=1e-12)


def test_a_picture_has_a_sphere_in_its_plane() -> None:
    image = make_image({(5, 5, 0): 9.0}, shape=(11, 11, 1))
    assert measure_peaks(image, image > 0, spacing_mm=CUBE) == pytest.approx((1.0, 1.0))


def test_many_voxels_that_are_as_hot_cost_no_more_than_one() -> None:
    image = np.ones((40, 40, 40), np.float32)
    some = np.zeros(image.shape, np.bool_)
    some[20, 20, 20] = True
    measure_peaks(image, some, spacing_mm=CUBE)
    found, n_calls = count_calls(lambda: measure_peaks(image, image > 0, spacing_mm=CUBE))
    assert found == pytest.approx((1.0, 1.0))
    assert n_calls < 2000
