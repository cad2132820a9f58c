from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_mask
from interactivepet.guidance.objects import find_objects
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks

Label = npt.NDArray[np.uint8]
EVERYTHING = ClickOptions(centre=True, n_random=3, n_boundary=2, n_negative=4, negative_distance_mm=9.0)


def _make_geometry(
    shape: tuple[int, ...], *, spacing: tuple[float, float, float] = (2.0, 3.0, 5.0), seed: int = 0
) -> Geometry:
    """Make an oblique grid with random flips and origin."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    flips = rng.choice([-1.0, 1.0], size=3)
    affine[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-60, 60, 3), degrees=True).as_matrix()
    affine[:3, :3] *= flips * np.array(spacing)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    return Geometry((shape[0], shape[1], shape[2]), affine)


def _voxels(clicks: tuple[Click, ...], geometry: Geometry) -> npt.NDArray[np.intp]:
    positions = np.array([c.position_mm for c in clicks]).reshape(-1, 3)
    return np.rint(geometry.to_voxel(positions)).astype(np.intp)


def _run(label: Label, geometry: Geometry, options: ClickOptions, seed: int = 0) -> tuple[Click, ...]:
    return simulate_clicks(label, geometry, options=options, rng=np.random.default_rng(seed))


@settings(deadline=None)
@given(
    label=hnp.arrays(np.uint8, st.tuples(*[st.integers(2, 8)] * 3), elements=st.integers(0, 2)),
    seed=st.integers(0, 30),
    noise_mm=st.sampled_from([0.0, 1.0, 20.0]),
    flat=st.booleans(),
)
def test_every_click_says_the_truth(label: Label, seed: int, noise_mm: float, flat: bool) -> None:
    label = label[:, :, :1] if flat else label
    geometry = _make_geometry(label.shape, seed=seed)
    options = EVERYTHING.model_copy(update={"noise_mm": noise_mm})

    clicks = _run(label, geometry, options, seed)

    for click, voxel in zip(clicks, _voxels(clicks, geometry), strict=True):
        assert (voxel >= 0).all()
        assert (voxel < label.shape).all()
        assert bool(label[tuple(voxel)] == click.label) is click.is_positive
    for value in set(np.unique(label)) - {0}:
        said = {tuple(v) for c, v in zip(clicks, _voxels(clicks, geometry), strict=True) if c.is_positive}
        for item in find_objects(label, value=value):
            assert said & {tuple(v) for v in np.argwhere(item.mask) + np.array(item.box.start)}


def test_clicks_of_each_object_stay_in_it_with_noise() -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[2:6, 2:16, 2:16] = label[7:11, 2:16, 2:16] = 1
    geometry = _make_geometry(label.shape)

    clicks = _run(label, geometry, ClickOptions(noise_mm=6.0))

    voxels = _voxels(clicks, geometry)
    assert len(clicks) == 12
    assert (voxels[:6, 0] < 6).all()
    assert (voxels[6:, 0] > 6).all()


def test_noise_moves_clicks_off_the_voxel_centres() -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[3:17, 3:17, 3:17] = 1
    geometry = _make_geometry(label.shape)

    exact = np.array([c.position_mm for c in _run(label, geometry, ClickOptions())])
    noisy = np.array([c.position_mm for c in _run(label, geometry, ClickOptions(noise_mm=2.0))])

    index = geometry.to_voxel(exact)
    assert index == pytest.approx(np.rint(index), abs=1e-9)
    moved = np.linalg.norm(noisy - exact, axis=1)
    assert (moved > 0).all()
    assert moved.max() < 10.0


def test_the_options_count_per_object_and_label() -> None:
    label = np.zeros((30, 30, 30), dtype=np.uint8)
    label[2:9, 2:9, 2:9] = 1
    label[20:27, 20:27, 20:27] = 1
    label[2:9, 20:27, 2:9] = 3
    geometry = _make_geometry(label.shape)

    clicks = _run(label, geometry, ClickOptions(extreme=False, n_random=5, n_negative=2))

    assert [(c.label, c.is_positive) for c in clicks] == (
        ([(1, True)] * 5 + [(1, False)] * 2) * 2 + [(3, True)] * 5 + [(3, False)] * 2
    )


def test_a_thin_object_is_not_clicked_twice_in_one_voxel() -> None:
    label = np.zeros((9, 9, 9), dtype=np.uint8)
    label[4, 4, 4] = 1
    geometry = _make_geometry(label.shape)

    clicks = _run(label, geometry, ClickOptions(centre=True, n_random=5, n_boundary=5))

    assert len(clicks) == 1
    assert clicks[0].position_mm == pytest.approx(geometry.to_mm((4, 4, 4)))


def test_the_centre_is_the_deepest_voxel() -> None:
    label = np.zeros((15, 9, 9), dtype=np.uint8)
    label[1:14, 4, 4] = 1
    label[8:13, 2:7, 2:7] = 1
    geometry = _make_geometry(label.shape, spacing=(2.0, 2.0, 2.0))

    (click,) = _run(label, geometry, ClickOptions(extreme=False, centre=True))

    assert _voxels((click,), geometry).tolist() == [[10, 4, 4]]


def test_boundary_points_touch_the_outside() -> None:
    label = np.zeros((12, 12, 12), dtype=np.uint8)
    label[2:10, 2:10, 2:10] = 1
    geometry = _make_geometry(label.shape)

    voxels = _voxels(_run(label, geometry, ClickOptions(extreme=False, n_boundary=20)), geometry)

    assert len(voxels) == 20
    assert all({2, 9} & set(voxel) for voxel in voxels.tolist())


def test_negative_points_avoid_the_label_of_their_object_only() -> None:
    label = np.full((10, 10, 10), 2, dtype=np.uint8)
    label[3:7, 3:7, 3:7] = 1
    geometry = _make_geometry(label.shape)

    clicks = _run(label, geometry, ClickOptions(extreme=False, n_negative=10))

    negative = tuple(c for c in clicks if c.label == 1)
    assert len(negative) == 10
    assert (label[tuple(_voxels(negative, geometry).T)] == 2).all()


def test_an_empty_label_has_no_clicks() -> None:
    label = np.zeros((5, 5, 5), dtype=np.uint8)

    assert _run(label, _make_geometry(label.shape), EVERYTHING) == ()


def test_the_seed_decides_and_extreme_points_do_not_need_it() -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[3:17, 4:15, 5:13] = 1
    geometry = _make_geometry(label.shape)

    assert _run(label, geometry, EVERYTHING, 1) == _run(label, geometry, EVERYTHING, 1)
    assert _run(label, geometry, EVERYTHING, 1) != _run(label, geometry, EVERYTHING, 2)
    assert _run(label, geometry, ClickOptions(), 1) == _run(label, geometry, ClickOptions(), 2)


def test_another_grid_is_refused() -> None:
    label = np.zeros((5, 5, 5), dtype=np.uint8)

    with pytest.raises(ValueError, match="own grid"):
        _run(label, _make_geometry((5, 5, 6)), ClickOptions())


@pytest.mark.real_data
def test_lesions_of_a_real_patient_get_up_to_six_points_each(real_data: Path) -> None:
    whole, grid = read_mask(real_data / "autopetv" / "psma_ffcaa75377465b37_label.nii.gz")
    box = BoundingBox((100, 60, 0), (200, 180, grid.shape[2]))
    label, geometry = whole[box.slices], grid.cropped(box)

    clicks = _run(label, geometry, ClickOptions(noise_mm=2.0))

    assert 2 <= len(clicks) <= 6 * len(find_objects(label, value=1))
    assert (label[tuple(_voxels(clicks, geometry).T)] == 1).all()
