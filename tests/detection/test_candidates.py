"""Which maxima become regions of their own, and where these end."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.detection.candidates import Candidate, find_candidates, smooth
from interactivepet.detection.scan import Scan, make_scan

SHAPE = (48, 40, 40)
SPACING = (4.0, 4.0, 5.0)
BACKGROUND = 0.5


def make_blobs(*blobs: tuple[tuple[int, int, int], float, float], noise: float = 0.0) -> Scan:
    """Make spheres (centre in voxels, radius in mm, uptake) on a background, blurred as a scanner does."""
    from scipy import ndimage

    places = np.moveaxis(np.indices(SHAPE), 0, -1)
    values = np.full(SHAPE, BACKGROUND)
    for centre, radius_mm, uptake in blobs:
        values[np.linalg.norm((places - centre) * SPACING, axis=-1) <= radius_mm] = uptake
    values = ndimage.gaussian_filter(values, 0.6)
    values = values + np.random.default_rng(0).normal(0, noise, SHAPE) * values
    return make_scan(values.astype(np.float32), Geometry(SHAPE, np.diag([*SPACING, 1.0])))


def find(scan: Scan, threshold: float = 1.0) -> tuple[Candidate, ...]:
    return find_candidates(scan, smooth(scan), threshold=threshold, mask=np.ones(SHAPE, np.bool_))


def sphere_ml(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def test_a_sphere_is_one_region_of_its_volume() -> None:
    (found,) = find(make_blobs(((20, 20, 20), 15.0, 8.0)))
    assert found.volume_ml == pytest.approx(sphere_ml(15.0), rel=0.2)
    assert np.abs(np.asarray(found.voxel) - 20).max() <= 2
    assert found.peak == pytest.approx(8.0, rel=0.1)
    assert found.background == pytest.approx(BACKGROUND, rel=0.1)


def test_spheres_that_touch_are_apart() -> None:
    found = find(make_blobs(((16, 20, 20), 12.0, 8.0), ((26, 20, 20), 12.0, 5.0)))
    assert [round(c.peak) for c in found] == [8, 5]
    assert all(c.volume_ml > 4 for c in found)


def test_noise_makes_no_maxima() -> None:
    found = find(make_blobs(((20, 20, 20), 25.0, 6.0), noise=0.15))
    assert len(found) == 1
    assert found[0].volume_ml == pytest.approx(sphere_ml(25.0), rel=0.2)


@pytest.mark.parametrize(("threshold", "expected"), [(1.0, 2), (4.0, 1), (20.0, 0), (0.0, 0), (-1.0, 0)])
def test_a_threshold_says_where_candidates_begin(threshold: float, expected: int) -> None:
    scan = make_blobs(((12, 20, 20), 12.0, 8.0), ((36, 20, 20), 12.0, 3.0))
    assert len(find(scan, threshold)) == expected


def test_candidates_lie_within_the_mask() -> None:
    scan = make_blobs(((12, 20, 20), 12.0, 8.0), ((36, 20, 20), 12.0, 3.0))
    mask = np.zeros(SHAPE, np.bool_)
    mask[24:] = True
    (found,) = find_candidates(scan, smooth(scan), threshold=1.0, mask=mask)
    assert found.voxel[0] >= 24


def test_a_maximum_at_the_border_is_found() -> None:
    (found,) = find(make_blobs(((0, 20, 39), 12.0, 8.0)))
    assert found.box.start[0] == 0
    assert found.box.stop[2] == SHAPE[2]


def test_the_background_leaves_out_what_is_bright_beside_it() -> None:
    found = find(make_blobs(((16, 20, 20), 12.0, 8.0), ((26, 20, 20), 12.0, 5.0)))
    assert found[1].background == pytest.approx(BACKGROUND, rel=0.5)
