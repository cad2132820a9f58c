from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset import regrid
from interactivepet.dataset.files.read import read_image
from interactivepet.dataset.regrid import find_overlap, resample_label_onto, resample_onto
from interactivepet.errors import CaseError


def make_geometry(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], *, origin: float = 0.0, degrees: float = 0.0
) -> Geometry:
    """A grid turned about z, its second axis flipped."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def make_ramp(geometry: Geometry) -> np.ndarray:
    """An image (1, I, J, K) that is linear in mm: linear interpolation must reproduce it."""
    index = np.indices(geometry.shape).reshape(3, -1).T
    return (geometry.to_mm(index) @ [1.0, 2.0, -3.0] + 7).reshape(1, *geometry.shape).astype(np.float32)


def find_inner(geometry: Geometry, target: Geometry) -> np.ndarray:
    """Voxels of the target that lie between voxel centres of the source."""
    index = geometry.to_voxel(target.to_mm(np.indices(target.shape).reshape(3, -1).T))
    inner = ((index >= 0) & (index <= np.asarray(geometry.shape) - 1)).all(axis=1)
    return inner.reshape(target.shape)


@pytest.mark.parametrize("degrees", [0.0, 17.0, -140.0])
def test_a_finer_turned_grid_gets_the_same_ramp(degrees: float) -> None:
    source = make_geometry((20, 22, 18), (4.0, 3.0, 5.0), origin=-30)
    target = make_geometry((30, 25, 20), (1.2, 1.5, 2.0), degrees=degrees)
    middle = source.to_mm((10, 11, 9)) - target.to_mm((15, 12, 10))
    target.affine[:3, 3] += middle
    inner = find_inner(source, target)
    resampled = resample_onto(make_ramp(source), source, target=target, outside=-1.0)
    assert resampled.dtype == np.float32
    assert inner.sum() > 1000
    np.testing.assert_allclose(resampled[0][inner], make_ramp(target)[0][inner], atol=1e-3)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    source, target = make_geometry((40, 36, 44), (1, 1, 1)), make_geometry((12, 13, 14), (2.7, 2.6, 2.5), degrees=20)
    image = rng.normal(size=(2, *source.shape)).astype(np.float32)
    whole = resample_onto(image, source, target=target, outside=5.0)
    monkeypatch.setattr(regrid, "_BLOCK_VOXELS", 12 * 13)
    np.testing.assert_allclose(resample_onto(image, source, target=target, outside=5.0), whole, atol=1e-4)


def test_outside_is_padded_with_what_the_caller_says() -> None:
    source = make_geometry((10, 10, 10), (2, 2, 2))
    moved = Geometry((10, 10, 10), source.affine + np.array([[0, 0, 0, 8.0], [0] * 4, [0] * 4, [0] * 4]))
    resampled = resample_onto(np.ones((1, 10, 10, 10), np.float32), source, target=moved, outside=-1024.0)[0]
    assert find_overlap(source, moved) == pytest.approx(0.6)
    np.testing.assert_array_equal(resampled[:6], 1.0)
    np.testing.assert_array_equal(resampled[6:], -1024.0)


def test_a_coarser_grid_gets_the_mean_and_not_single_voxels() -> None:
    source, target = make_geometry((60, 60, 60), (1, 1, 1)), make_geometry((12, 12, 12), (5, 5, 5), origin=2)
    noise = np.random.default_rng(0).normal(size=(1, *source.shape)).astype(np.float32)
    resampled = resample_onto(noise, source, target=target, outside=0.0)
    # A mean of about (5 / 0.9)^3 voxels, where single voxels would keep nearly all of their deviation.
    assert resampled[:, 2:-2, 2:-2, 2:-2].std() < 0.15


def test_the_same_grid_is_left_alone() -> None:
    geometry = make_geometry((6, 5, 4), (2, 2, 2))
    image = np.random.default_rng(0).normal(size=(1, 6, 5, 4)).astype(np.float32)
    same = resample_onto(image, geometry, target=geometry, outside=0.0)
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)


def test_grids_that_do_not_meet_are_refused_with_both_boxes() -> None:
    source, target = make_geometry((10, 10, 10), (2, 2, 2)), make_geometry((10, 10, 10), (2, 2, 2), origin=300)
    with pytest.raises(CaseError, match=r"box x 0 to 18, y -18 to 0, z 0 to 18 mm covers 0% of the box x 300 to 318"):
        resample_onto(np.ones((1, 10, 10, 10), np.float32), source, target=target, outside=0.0)


def test_labels_keep_their_values_and_volumes_on_a_turned_grid() -> None:
    source = make_geometry((40, 40, 40), (1, 1, 1))
    target = make_geometry((22, 22, 22), (2, 2, 2), origin=-2, degrees=11)
    centres = source.to_mm(np.indices(source.shape).reshape(3, -1).T)
    label = np.zeros(source.shape, np.uint8)
    label[(np.linalg.norm(centres - (20, -12, 20), axis=1) < 8).reshape(label.shape)] = 1
    label[(np.linalg.norm(centres - (20, -26, 20), axis=1) < 5).reshape(label.shape)] = 3
    resampled = resample_label_onto(label, source, target=target)
    assert set(np.unique(resampled)) == {0, 1, 3}
    for value in (1, 3):
        before = (label == value).sum() * source.voxel_volume_ml
        assert (resampled == value).sum() * target.voxel_volume_ml == pytest.approx(before, rel=0.12)


def test_a_label_that_would_vanish_is_refused() -> None:
    source, target = make_geometry((40, 40, 40), (1, 1, 1)), make_geometry((5, 5, 5), (8, 8, 8), origin=3)
    label = np.zeros(source.shape, np.uint8)
    label[20, 20, 20] = 2
    with pytest.raises(CaseError, match=r"nothing is left of label 2 \(1 voxels, 0.001 ml\)"):
        resample_label_onto(label, source, target=target)


@pytest.mark.real_data
def test_a_real_ct_on_the_grid_of_its_pet(real_data: Path) -> None:
    ct, geometry = read_image([real_data / "native_grids" / "STS_001_CT_image.nii.gz"])
    _, target = read_image([real_data / "native_grids" / "STS_001_PET_image.nii.gz"])
    expected, _ = read_image([real_data / "Task502_STSPETCT" / "imagesTr" / "STS_001_0001.nii.gz"])
    resampled = resample_onto(ct, geometry, target=target, outside=-1000.0)
    assert np.abs(resampled - expected).mean() < 3.0
