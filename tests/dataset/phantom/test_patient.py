"""Digital patients: their grid, their organs, their lesions, and the task that is written of them."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import distance_transform_edt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import read_geometry
from interactivepet.dataset.phantom.anatomy import ORGANS, SOFT_TISSUE_SUV, paint, sample_anatomy
from interactivepet.dataset.phantom.patient import LARGEST_ML, SPACING_MM, make_patient, write_task
from interactivepet.dataset.phantom.tumour import choose_centre, measure_room, measure_tumour, sample_tumour

Patient = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], Geometry]
N_PATIENTS = 6


@cache
def patient(number: int) -> Patient:
    return make_patient(np.random.default_rng((11, number)))


@pytest.mark.parametrize("number", range(N_PATIENTS))
def test_image_label_and_grid_are_those_of_a_scan(number: int) -> None:
    image, label, geometry = patient(number)
    assert image.dtype == np.float32
    assert label.dtype == np.uint8
    assert image.shape == (1, *label.shape) == (1, *geometry.shape)
    assert all(low <= n <= high for n, low, high in zip(label.shape, (54, 40, 90), (80, 60, 120), strict=True))
    assert geometry.spacing_mm == pytest.approx(SPACING_MM)
    assert geometry.is_orthogonal
    assert np.sign(np.diag(geometry.affine)).tolist() == [-1, -1, 1, 1]
    assert np.abs(geometry.affine[:3, 3]).min() > 1
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert set(np.unique(label)) == {0, 1}


@pytest.mark.parametrize("number", range(N_PATIENTS))
def test_uptake_is_that_of_a_patient(number: int) -> None:
    image, label, _ = patient(number)
    normal = np.where(label == 0, image[0], 0)
    shape = np.array(normal.shape)
    i, j, k = (shape // 2).tolist()
    assert normal[:, :, : int(0.12 * shape[2])].max() > 7, "no bladder at the bottom"
    assert normal[:, :, -3:].max() > 6, "no brain at the top"
    body = normal[normal > 0.4]
    assert 0.5 < np.median(body) < 0.9
    assert image[0][:3].max() < 0.5, "the patient touches the border"
    # The liver lies on the patient's right: at low i, for i runs to the left.
    middle = slice(int(0.45 * shape[2]), int(0.55 * shape[2]))
    assert np.median(normal[8:i, j, middle]) > np.median(normal[i:-8, j, middle])
    assert k > 0


@pytest.mark.parametrize("number", range(N_PATIENTS))
def test_lesions_are_hot_sized_and_apart(number: int) -> None:
    image, label, geometry = patient(number)
    components, n = cc3d.connected_components(label, connectivity=26, return_N=True)
    assert 1 <= n <= 4
    volumes = [float((components == c).sum()) * geometry.voxel_volume_ml for c in range(1, n + 1)]
    assert all(volume < 1.1 * LARGEST_ML for volume in volumes)
    assert max(volumes) > 4.5
    for c in range(1, n + 1):
        inside = components == c
        near = distance_transform_edt(~inside, sampling=geometry.spacing_mm)
        ring = (near > 8) & (near < 13) & (label == 0)
        assert image[0][inside].max() > 1.5 * np.median(image[0][ring])


def test_liver_noise_is_realistic() -> None:
    """About a tenth, and grained: neighbours are correlated, but much less than by a heavy filter."""
    rng = np.random.default_rng(3)
    image, label, geometry = make_patient(rng, lesion_free_share=1.0)
    assert label.max() == 0
    liver = (image[0] > 1.6) & (image[0] < 3.2)
    depth = distance_transform_edt(cc3d.largest_k(liver, k=1) > 0, sampling=geometry.spacing_mm)
    voxels = image[0][depth > 15]
    assert voxels.size > 100
    assert 0.03 < voxels.std() / voxels.mean() < 0.18


def test_a_seed_makes_one_patient() -> None:
    first, second = (make_patient(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[2].matches(second[2], 0.0)
    other = make_patient(np.random.default_rng(6))
    assert other[0].shape != first[0].shape or not np.array_equal(other[0], first[0])


def test_lesion_numbers_and_spacing_are_the_callers() -> None:
    _, label, geometry = make_patient(np.random.default_rng(1), spacing_mm=(8.0, 8.0, 8.0), n_lesions=(2, 2))
    assert geometry.spacing_mm == pytest.approx((8.0, 8.0, 8.0))
    assert cc3d.connected_components(label, return_N=True)[1] == 2
    free = [make_patient(np.random.default_rng(n), lesion_free_share=1.0)[1].max() for n in range(2)]
    assert free == [0, 0]


@pytest.mark.parametrize("volume_ml", [0.5, 5.0, 60.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_tumour_has_its_volume_and_is_in_one_piece(volume_ml: float, seed: int) -> None:
    tumour = sample_tumour(volume_ml, rng=np.random.default_rng(seed))
    step = tumour.reach_mm / 25
    axis = np.arange(-60, 60, dtype=np.float32) * np.float32(step)
    box, share, suv = measure_tumour(tumour, (0.0, 0.0, 0.0), axes_mm=(axis, axis, axis))
    inside = share < 1
    assert float(inside.sum()) * step**3 / 1000 == pytest.approx(volume_ml, rel=0.05)
    assert cc3d.connected_components(inside.astype(np.uint8), connectivity=6, return_N=True)[1] == 1
    assert not any(np.take(inside, edge, axis=a).any() for a in range(3) for edge in (0, -1)), "cut by its box"
    assert math.isclose(float(np.linalg.det(tumour.axes)), 1.0, rel_tol=1e-6)
    rim = suv[inside & (share > 0.7)]
    assert 2.0 < rim.min() <= rim.max() < 20.0
    assert all(part.stop - part.start == n for part, n in zip(box, share.shape, strict=True))


def test_large_tumours_sometimes_have_a_cold_core_and_small_ones_never() -> None:
    cores = [sample_tumour(30.0, rng=np.random.default_rng(seed)).core_share for seed in range(40)]
    assert 5 < sum(core > 0 for core in cores) < 30
    assert all(sample_tumour(5.0, rng=np.random.default_rng(seed)).core_share == 0 for seed in range(40))


def test_a_tumour_keeps_away_from_hot_organs_and_goes_where_there_is_most_room() -> None:
    axes = tuple(np.arange(-200, 200, 10, dtype=np.float32) for _ in range(3))
    activity = np.full((40, 40, 40), 0.7, dtype=np.float32)
    activity[:20] = 9.0
    room = measure_room(activity, (10.0, 10.0, 10.0))
    tumour = sample_tumour(5.0, rng=np.random.default_rng(0))
    for seed in range(10):
        index = choose_centre(room, tumour, axes_mm=axes, rng=np.random.default_rng(seed))
        assert (index[0] - 19) * 10 >= tumour.reach_mm
    small = np.full((40, 40, 40), -5.0, dtype=np.float32)
    small[3, 4, 5] = 1.0
    assert choose_centre(small, tumour, axes_mm=axes, rng=np.random.default_rng(0)) == (3, 4, 5)


def test_every_organ_is_painted() -> None:
    anatomy = sample_anatomy(np.random.default_rng(0))
    assert [organ.name for organ in anatomy.organs] == [organ.name for organ in ORGANS]
    side = np.arange(-200, 200, 5, dtype=np.float32)
    activity = paint(anatomy, side, side, np.arange(-80, 760, 5, dtype=np.float32))
    painted = set(np.unique(activity).tolist())
    for organ in anatomy.organs:
        assert float(np.float32(organ.suv)) in painted, organ.name
    assert float(np.float32(SOFT_TISSUE_SUV)) in painted
    assert activity[0].max() == 0


def test_a_task_is_written_the_same_way_twice(tmp_path: Path) -> None:
    for folder, n_training in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        write_task(folder, n_training=n_training, n_test=1, seed=4)
    names = sorted(path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*.gz"))
    assert names == [
        "imagesTr/PHANTOM_TR_000_0000.nii.gz",
        "imagesTs/PHANTOM_TS_000_0000.nii.gz",
        "labelsTr/PHANTOM_TR_000.nii.gz",
        "labelsTs/PHANTOM_TS_000.nii.gz",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "b" / "imagesTr" / "PHANTOM_TR_001_0000.nii.gz").is_file()
    expected = make_patient(np.random.default_rng((4, 0, 0)))[2]
    for name in (names[0], names[2]):
        assert read_geometry(tmp_path / "a" / name).matches(expected)
