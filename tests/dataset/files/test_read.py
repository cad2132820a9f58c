from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import read_case, read_geometry, read_header, read_image, read_mask
from interactivepet.dataset.files.write import write_mask
from interactivepet.errors import CaseError

SHAPE = (7, 5, 4)
OBLIQUE = from_matvec(
    Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix() * (2.0, -3.1, 4.7),
    (-80.0, 12.5, 940.0),
)
"""Anisotropic, turned about all axes, left-handed, far from the origin."""
AFFINES = {
    "identity": np.eye(4),
    "flipped": np.diag([-5.46875, -5.46875, 3.27, 1.0]),
    "oblique": OBLIQUE,
}


def make_array(shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 200, shape).astype(dtype)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def save_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write (I, J, K) through SimpleITK on its own, with the grid given in LPS."""
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array.T)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), True)
    return path


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
def test_nifti_keeps_values_and_nibabels_affine(tmp_path: Path, name: str, dtype: str) -> None:
    array = make_array(dtype=dtype)
    path = save_nifti(tmp_path / "x.nii.gz", array, AFFINES[name])
    image, geometry = read_image([path])
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, array[None].astype(np.float32))
    np.testing.assert_array_equal(geometry.affine, nibabel.load(path).affine)
    assert geometry.shape == SHAPE


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("name", AFFINES)
def test_itk_formats_lie_where_nifti_lies(tmp_path: Path, ending: str, name: str) -> None:
    array = make_array()
    path = save_itk(tmp_path / f"x.{ending}", array, AFFINES[name])
    image, geometry = read_image([path])
    np.testing.assert_array_equal(image[0], array)
    np.testing.assert_allclose(geometry.affine, AFFINES[name], atol=1e-9)


def test_itk_and_nibabel_agree_on_one_nifti_file(tmp_path: Path) -> None:
    array = make_array()
    SimpleITK.WriteImage(
        SimpleITK.ReadImage(str(save_nifti(tmp_path / "x.nii.gz", array, OBLIQUE))), str(tmp_path / "y.mha")
    )
    (first, here), (second, there) = (read_image([tmp_path / name]) for name in ("x.nii.gz", "y.mha"))
    np.testing.assert_array_equal(first, second)
    assert here.matches(there, tolerance_mm=1e-3)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), np.eye(4))
    image.header.set_slope_inter(0.5, -1024)
    nibabel.save(image, tmp_path / "x.nii.gz")
    values, _ = read_image([tmp_path / "x.nii.gz"])
    raw = np.asarray(nibabel.load(tmp_path / "x.nii.gz").dataobj)
    np.testing.assert_array_equal(values[0], raw.astype(np.float32))
    assert values.min() < 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7, 5), (1, 7, 5, 1)),
        ((7, 5, 1), (1, 7, 5, 1)),
        ((7, 5, 4, 1), (1, 7, 5, 4)),
        ((7, 5, 4, 3), (3, 7, 5, 4)),
        ((7, 5, 4, 1, 2), (2, 7, 5, 4)),
    ],
)
def test_axes_of_nifti(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    array = make_array(shape)
    path = save_nifti(tmp_path / "x.nii.gz", array)
    image, geometry = read_image([path])
    assert image.shape == expected
    assert geometry.shape == expected[1:]
    assert read_header(path).n_channels == expected[0]
    np.testing.assert_array_equal(image[-1].squeeze(), array.reshape(*expected[1:], expected[0])[..., -1].squeeze())


def test_vector_and_four_dimensional_itk_files_hold_channels(tmp_path: Path) -> None:
    array = make_array((2, *SHAPE))
    vector = SimpleITK.GetImageFromArray(array.transpose(3, 2, 1, 0), isVector=True)
    stacked = SimpleITK.GetImageFromArray(array.transpose(0, 3, 2, 1), isVector=False)
    for name, itk_image in (("vector.nrrd", vector), ("stacked.mha", stacked)):
        SimpleITK.WriteImage(itk_image, str(tmp_path / name))
        np.testing.assert_array_equal(read_image([tmp_path / name])[0], array)


def test_png_is_a_single_slice_and_its_colours_are_channels(tmp_path: Path) -> None:
    grey, colours = make_array((6, 9), "uint8"), make_array((6, 9, 4), "uint8")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey), str(tmp_path / "grey.png"))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgba.png"))
    image, geometry = read_image([tmp_path / "grey.png"])
    assert geometry.shape == (9, 6, 1)
    np.testing.assert_array_equal(image[0, :, :, 0], grey.T)
    np.testing.assert_array_equal(read_image([tmp_path / "rgba.png"])[0][2, :, :, 0], colours[:, :, 2].T)


def test_channels_are_stacked_in_the_order_given(tmp_path: Path) -> None:
    pet, ct = make_array(), make_array(dtype="int16")
    paths = [save_nifti(tmp_path / "a_0000.nii.gz", pet), save_nifti(tmp_path / "a_0001.nii.gz", ct)]
    image, _ = read_image(paths)
    np.testing.assert_array_equal(image, np.stack([pet, ct.astype(np.float32)]))
    np.testing.assert_array_equal(read_image(paths[::-1])[0], image[::-1])


def test_channels_on_different_grids_are_refused_with_both_grids(tmp_path: Path) -> None:
    pet = save_nifti(tmp_path / "a_0000.nii.gz", make_array())
    ct = save_nifti(tmp_path / "a_0001.nii.gz", make_array((7, 5, 3)))
    with pytest.raises(CaseError, match=r"a_0001.*grid 7x5x3 but a_0000.*grid 7x5x4; resample"):
        read_image([pet, ct])


@pytest.mark.parametrize(("shift", "accepted"), [(0.009, True), (0.011, False)])
def test_grids_may_differ_by_the_tolerance(tmp_path: Path, shift: float, accepted: bool) -> None:
    moved = np.eye(4)
    moved[1, 3] = shift
    paths = [
        save_nifti(tmp_path / "0.nii.gz", make_array()),
        save_nifti(tmp_path / "1.nii.gz", make_array(), moved),
    ]
    if accepted:
        assert read_image(paths)[0].shape == (2, *SHAPE)
    else:
        with pytest.raises(CaseError, match=r"0\.011 mm apart"):
            read_image(paths)


def test_a_file_with_several_channels_among_channel_files_is_refused(tmp_path: Path) -> None:
    paths = [
        save_nifti(tmp_path / "0.nii.gz", make_array()),
        save_nifti(tmp_path / "1.nii.gz", make_array((*SHAPE, 2))),
    ]
    with pytest.raises(CaseError, match="2 channels in one of 2"):
        read_image(paths)


def test_no_path_is_an_error() -> None:
    with pytest.raises(CaseError, match="no image file"):
        read_image([])


def test_sheared_grid_is_refused(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[1, 2] = 0.3
    path = save_nifti(tmp_path / "tilted.nii.gz", make_array(), affine)
    for read in (read_geometry, read_mask, lambda p: read_image([p])):
        with pytest.raises(CaseError, match=r"tilted.*not at right angles"):
            read(path)


def test_singular_transform_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    image = nibabel.Nifti1Image(make_array(), np.eye(4))
    image.header["srow_z"] = 0
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[312:328] = bytes(16)  # srow_z, which nibabel fills from the affine when it saves
    path.write_bytes(raw)
    with pytest.raises(CaseError, match="cannot be inverted"):
        read_geometry(path)


@pytest.mark.parametrize("shape", [(7,), (7, 5, 4, 2, 3)])
def test_files_that_are_no_image_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save_nifti(tmp_path / "x.nii.gz", make_array(shape))
    with pytest.raises(CaseError, match=r"shape .*expected \(i, j\)"):
        read_image([path])


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii", "x.mha", "x.nrrd"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.8])
def test_truncated_files_are_named(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    save = save_nifti if ".nii" in name else save_itk
    save(path, make_array((20, 20, 20)), np.eye(4))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(CaseError, match=rf"{name}: cannot be read .* again"):
        read_image([path])


def test_a_flipped_bit_in_a_gzip_stream_is_found(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "x.nii.gz", make_array((20, 20, 20)))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(CaseError, match="cannot be read"):
        read_image([path])


def test_foreign_content_is_named(tmp_path: Path) -> None:
    text, zipped = tmp_path / "x.nii.gz", tmp_path / "y.nii.gz"
    text.write_text("not an image")
    zipped.write_bytes(gzip.compress(b"not an image" * 100))
    for path in (text, zipped):
        with pytest.raises(CaseError, match=path.name):
            read_image([path])


def test_a_link_stored_as_text_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a_0000.nii.gz"
    path.write_text("../../Task501/imagesTr/a_0000.nii.gz")
    with pytest.raises(CaseError, match=r"a link that was stored as text: put \.\./\.\./Task501/imagesTr/a_0000"):
        read_geometry(path)


def test_colour_voxels_are_refused(tmp_path: Path) -> None:
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save_nifti(tmp_path / "x.nii.gz", colours)
    with pytest.raises(CaseError, match="expected real numbers"):
        read_image([path])


def test_missing_file_and_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no such file"):
        read_image([tmp_path / "x.nii.gz"])
    with pytest.raises(CaseError, match="unknown ending"):
        read_image([tmp_path / "x.dcm"])


def test_paths_with_spaces_and_foreign_letters(tmp_path: Path) -> None:
    folder = tmp_path / "Läsionen im Körper" / "画像"
    array = make_array()
    first = save_nifti(folder / "Größe 1.nii.gz", array)
    second = save_itk(folder / "Größe 1.nrrd", array, np.eye(4))
    for path in (first, second):
        np.testing.assert_array_equal(read_image([path])[0][0], array)
        assert read_geometry(path).shape == SHAPE


def test_values_too_large_for_float32_become_infinite(tmp_path: Path) -> None:
    array = make_array(dtype="float64")
    array[1, 2, 3] = 1e300
    image, _ = read_image([save_nifti(tmp_path / "x.nii.gz", array)])
    assert np.isinf(image).sum() == 1


def test_geometry_is_read_without_voxels(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "x.nii", make_array(), OBLIQUE)
    expected = read_image([path])[1]
    path.write_bytes(path.read_bytes()[:352])
    geometry = read_geometry(path)
    np.testing.assert_array_equal(geometry.affine, expected.affine)
    with pytest.raises(CaseError):
        read_image([path])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", ">i4"])
def test_masks_of_any_number_type(tmp_path: Path, dtype: str) -> None:
    expected = np.random.default_rng(0).integers(0, 4, SHAPE)
    mask, geometry = read_mask(save_nifti(tmp_path / "x.nii.gz", expected.astype(dtype), OBLIQUE))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)
    assert geometry.shape == SHAPE


@pytest.mark.parametrize("n_labels", [1, 2, 7])
def test_scaling_does_not_spoil_labels(tmp_path: Path, n_labels: int) -> None:
    expected = np.random.default_rng(0).integers(0, n_labels + 1, SHAPE)
    slope = n_labels / 254.3
    image = nibabel.Nifti1Image(np.rint(expected / slope).astype(np.uint8), np.eye(4))
    image.header.set_slope_inter(slope, 0)
    nibabel.save(image, tmp_path / "x.nii.gz")
    assert not np.array_equal(np.asarray(nibabel.load(tmp_path / "x.nii.gz").dataobj), expected)
    np.testing.assert_array_equal(read_mask(tmp_path / "x.nii.gz")[0], expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "no integer .such as 0.5"),
        (np.nan, "no integer"),
        (np.inf, "no integer"),
        (-1, "negative"),
        (256, "256"),
    ],
)
def test_masks_with_wrong_values_are_refused(tmp_path: Path, value: float, message: str) -> None:
    array = np.zeros(SHAPE)
    array[1, 1, 1] = value
    with pytest.raises(CaseError, match=message):
        read_mask(save_nifti(tmp_path / "x.nii.gz", array))


def test_a_probability_map_is_not_a_mask(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).uniform(size=SHAPE), np.eye(4))
    image.header.set_data_dtype(np.uint8)
    nibabel.save(image, tmp_path / "x.nii.gz")
    with pytest.raises(CaseError, match="no integer"):
        read_mask(tmp_path / "x.nii.gz")


def test_a_mask_with_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="2 channels, expected 1"):
        read_mask(save_nifti(tmp_path / "x.nii.gz", np.zeros((*SHAPE, 2), np.uint8)))


def test_case_with_and_without_label(tmp_path: Path) -> None:
    save_nifti(tmp_path / "imagesTr/a.nii.gz", make_array(), OBLIQUE)
    save_nifti(tmp_path / "labelsTr/a.nii.gz", np.ones(SHAPE, np.uint8), OBLIQUE)
    entry = CaseEntry(id="a", images=("imagesTr/a.nii.gz",), label="labelsTr/a.nii.gz")
    case = read_case(tmp_path, entry)
    assert (case.id, case.image.shape) == ("a", (1, *SHAPE))
    assert case.label is not None
    assert case.label.sum() == np.prod(SHAPE)
    assert read_case(tmp_path, entry, with_label=False).label is None
    assert read_case(tmp_path, entry.model_copy(update={"label": None})).label is None


def test_label_on_another_grid_is_refused(tmp_path: Path) -> None:
    save_nifti(tmp_path / "i.nii.gz", make_array())
    save_nifti(tmp_path / "shape.nii.gz", np.ones((7, 5, 3), np.uint8))
    save_nifti(tmp_path / "place.nii.gz", np.ones(SHAPE, np.uint8), np.diag([1, 1, 1.1, 1]))
    entry = CaseEntry(id="STS_014", images=("i.nii.gz",), label="shape.nii.gz")
    cropped = r"STS_014: label grid 7x5x3 but image grid 7x5x4.*; place it with interactivepet_import folder"
    with pytest.raises(CaseError, match=cropped):
        read_case(tmp_path, entry)
    with pytest.raises(CaseError, match=r"1 x 1 x 1\.1 mm .* up to 0\.3 mm apart.*; resample the label"):
        read_case(tmp_path, entry.model_copy(update={"label": "place.nii.gz"}))


@pytest.mark.real_data
def test_real_pet_and_mask_share_their_grid(real_data: Path) -> None:
    entry = CaseEntry(id="STS_011", images=("imagesTr/STS_011_0000.nii.gz",), label="labelsTr/STS_011.nii.gz")
    case = read_case(real_data / "Task501_STSPET", entry)
    assert case.geometry.shape == (43, 39, 74)
    np.testing.assert_allclose(case.geometry.spacing_mm, (5.46875, 5.46875, 3.27), rtol=1e-6)
    assert case.label is not None
    assert set(np.unique(case.label)) == {0, 1}
    assert isinstance(case.geometry, Geometry)


@pytest.mark.real_data
def test_real_bytes_are_read_as_float32(real_data: Path) -> None:
    image, geometry = read_image([real_data / "Task004_Hippocampus/imagesTr/hippocampus_173.nii.gz"])
    assert image.dtype == np.float32
    assert geometry.shape == (35, 53, 32)
    assert image.max() > 10


@pytest.mark.parametrize(("unit", "scale"), [("micron", 1000.0), ("meter", 0.001), ("mm", 1.0)])
def test_units_of_the_header_count(unit: str, scale: float, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(make_array(), np.diag([2 * scale, 2 * scale, 3 * scale, 1.0]))
    image.header.set_xyzt_units(xyz=unit)
    path = tmp_path / "x.nii.gz"
    nibabel.save(image, path)
    for geometry in (read_image([path])[1], read_geometry(path)):
        assert geometry.spacing_mm == pytest.approx((2.0, 2.0, 3.0), rel=1e-5)
    mask = tmp_path / "mask.nii.gz"
    write_mask(mask, np.zeros(SHAPE, np.uint8), geometry=geometry, like=path)
    assert read_mask(mask)[1].matches(geometry)


def test_a_plane_keeps_its_thickness(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(make_array((7, 5, 1))[:, :, 0], None)
    image.header.set_qform(np.diag([2.0, 3.0, 4.7, 1.0]), code=1)
    image.header["pixdim"][3] = 4.7
    path = tmp_path / "x.nii.gz"
    nibabel.save(image, path)
    mask = tmp_path / "mask.nii.gz"
    write_mask(mask, np.zeros((7, 5, 1), np.uint8), geometry=read_image([path])[1], like=path)
    assert read_mask(mask)[1].spacing_mm == pytest.approx(read_image([path])[1].spacing_mm)


@pytest.mark.parametrize("code", [0, 4, 66, 255])
def test_units_that_nobody_knows_are_taken_for_mm(code: int, tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "x.nii", make_array(), np.diag([2.0, 2.0, 3.0, 1.0]))
    content = bytearray(path.read_bytes())
    content[123] = code
    path.write_bytes(content)
    expected = (2.0, 2.0, 3.0)
    assert read_geometry(path).spacing_mm == pytest.approx(expected)
    assert read_image([path])[1].spacing_mm == pytest.approx(expected)
