from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from interactivepet.core.artefact import Artefact
from interactivepet.core.dataset import IssueList
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.arrays import write_array, write_channels
from interactivepet.dataset.files.read import read_geometry, read_image, read_mask
from interactivepet.dataset.files.write import (
    atomic_path,
    read_artefact,
    write_artefact,
    write_image,
    write_mask,
    write_text,
)
from interactivepet.errors import ArtefactError, CaseError, MissingArtefactError, StaleArtefactError

SHAPE = (7, 5, 4)
OBLIQUE = from_matvec(
    Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix() * (2.0, -3.1, 1 / 3),
    (-80.0, 12.5, 940.1),
)
GEOMETRY = Geometry(SHAPE, OBLIQUE)
MASK = np.random.default_rng(0).integers(0, 3, SHAPE)


def save_itk(path: Path, *, seed: int = 0, vector: bool = False, dimension: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    shape = (*SHAPE[:dimension][::-1], 2) if vector else SHAPE[:dimension][::-1]
    image = SimpleITK.GetImageFromArray(rng.uniform(size=shape).astype(np.float32), isVector=vector)
    image.SetOrigin((rng.normal(size=dimension) * 100).tolist())
    image.SetSpacing(rng.uniform(0.3, 5, dimension).tolist())
    if dimension == 3:
        image.SetDirection(Rotation.random(random_state=seed).as_matrix().ravel().tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def itk_place(path: Path) -> tuple[tuple[float, ...], ...]:
    image = SimpleITK.ReadImage(str(path))
    return image.GetOrigin(), image.GetSpacing(), image.GetDirection()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(path: Path, interruption: type[BaseException]) -> None:
    with atomic_path(path) as partial:
        partial.write_text("half")
        raise interruption


def test_atomic_path_appears_complete(tmp_path: Path) -> None:
    final = tmp_path / "new folder" / "ü.nii.gz"
    with atomic_path(final) as partial:
        assert partial == final.with_name(".partial-ü.nii.gz")
        partial.write_text("content")
        assert not final.exists()
    assert final.read_text() == "content"
    assert names_in(final.parent) == [final.name]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_when_interrupted(tmp_path: Path, interruption: type[BaseException]) -> None:
    final = tmp_path / "x.txt"
    final.write_text("old")
    with pytest.raises(interruption):
        interrupt(final, interruption)
    assert final.read_text() == "old"
    assert names_in(tmp_path) == ["x.txt"]


def test_atomic_path_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / ".partial-x.txt").write_text("a longer text than the new one")
    with atomic_path(tmp_path / "x.txt") as partial:
        assert not partial.exists()
        partial.write_text("new")
    assert names_in(tmp_path) == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "new"


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "Läsion ≥ 1 ml\n")
    assert (tmp_path / "x.txt").read_bytes() == "Läsion ≥ 1 ml\n".encode()


def test_artefact_round_trip(tmp_path: Path) -> None:
    artefact = IssueList(task="Task001_Ü", n_cases=3, made_from="abc")
    write_artefact(tmp_path / "a.json", artefact)
    text = (tmp_path / "a.json").read_text()
    assert text.startswith('{\n  "')
    assert text.endswith("}\n")
    assert read_artefact(tmp_path / "a.json", IssueList, command="c", made_from="abc") == artefact
    assert read_artefact(tmp_path / "a.json", IssueList, command="c") == artefact


def test_missing_artefact_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match=r"a\.json is not there; run `interactivepet_verify -t T` first"):
        read_artefact(tmp_path / "a.json", IssueList, command="interactivepet_verify -t T")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"task": "T"}', r"a\.json: n_cases: Field required.*run `c` again"),
        ('{"task": "T", "n_cases": 1, "extra": 2}', r"a\.json: extra: "),
        ('{"task": "T", "issues": [{}], "n_cases": 1}', r"issues\.0\.case"),
        ('{"task": "T", "n_ca', "the whole file: Invalid JSON"),
        ("", "the whole file"),
        (
            '{"task": "T", "n_cases": 1, "schema_version": 99}',
            "schema_version 99 of interactivepet .* expected 1",
        ),
    ],
)
def test_artefact_that_does_not_parse_names_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtefactError, match=message) as caught:
        read_artefact(tmp_path / "a.json", IssueList, command="c")
    assert type(caught.value) is ArtefactError


def test_stale_artefact_names_the_command(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a.json", Artefact(made_from="old"))
    with pytest.raises(StaleArtefactError, match="made from old, which is now new; run `c` again"):
        read_artefact(tmp_path / "a.json", Artefact, command="c", made_from="new")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_mask_from_geometry_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    write_mask(path, MASK, geometry=GEOMETRY)
    mask, geometry = read_mask(path)
    np.testing.assert_array_equal(mask, MASK)
    assert geometry.matches(GEOMETRY, tolerance_mm=1e-4)
    assert names_in(tmp_path) == [path.name]
    assert SimpleITK.ReadImage(str(path)).GetPixelID() == SimpleITK.sitkUInt8


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (3, 0), (0, 0), (1, 4)])
def test_mask_like_nifti_is_placed_bit_by_bit(tmp_path: Path, ending: str, codes: tuple[int, int]) -> None:
    like = nibabel.Nifti1Image(np.zeros((*SHAPE, 2), np.int16), None)
    like.header.set_qform(OBLIQUE, code=codes[0])
    like.header.set_sform(OBLIQUE, code=codes[1])
    like.header["srow_x"][3] += np.float32(1e-3)  # qform and sform need not say the same
    like.header.set_xyzt_units("mm", "sec")
    like.header.set_slope_inter(2.0, 5.0)
    nibabel.save(like, tmp_path / "like.nii.gz")
    write_mask(
        tmp_path / f"m{ending}",
        MASK,
        geometry=read_geometry(tmp_path / "like.nii.gz"),
        like=tmp_path / "like.nii.gz",
    )
    source, written = nibabel.load(tmp_path / "like.nii.gz"), nibabel.load(tmp_path / f"m{ending}")
    np.testing.assert_array_equal(written.affine, source.affine)
    fields = ("qform_code", "sform_code", "pixdim", "xyzt_units", "srow_x", "srow_y", "srow_z")
    for name in (*fields, "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        np.testing.assert_array_equal(written.header[name], source.header[name], err_msg=name)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), MASK)


def test_mask_like_a_slice_is_a_slice(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((7, 5), np.float32), OBLIQUE), tmp_path / "like.nii")
    save_itk(tmp_path / "like.mha", dimension=2)
    for name, target in (("like.nii", "m.nii.gz"), ("like.mha", "m.mha"), ("like.mha", "m.nrrd")):
        geometry = read_geometry(tmp_path / name)
        write_mask(tmp_path / target, MASK[:, :, :1], geometry=geometry, like=tmp_path / name)
        mask, written = read_mask(tmp_path / target)
        np.testing.assert_array_equal(mask, MASK[:, :, :1])
        np.testing.assert_array_equal(written.affine, geometry.affine)
    assert nibabel.load(tmp_path / "m.nii.gz").shape == (7, 5)
    assert itk_place(tmp_path / "m.mha") == itk_place(tmp_path / "like.mha")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("names", [("like.mha", "m.mha"), ("like.nrrd", "m.nrrd"), ("like.nhdr", "m.nrrd")])
@pytest.mark.parametrize("vector", [False, True])
def test_mask_like_itk_is_placed_bit_by_bit(tmp_path: Path, names: tuple[str, str], seed: int, vector: bool) -> None:
    like = save_itk(tmp_path / names[0], seed=seed, vector=vector)
    write_mask(tmp_path / names[1], MASK, geometry=read_geometry(like), like=like)
    assert itk_place(tmp_path / names[1]) == itk_place(like)
    np.testing.assert_array_equal(read_mask(tmp_path / names[1])[0], MASK)


def test_mask_like_channels_stacked_on_a_fourth_axis(tmp_path: Path) -> None:
    stacked = SimpleITK.GetImageFromArray(np.zeros((2, *SHAPE[::-1]), np.float32), isVector=False)
    stacked.SetSpacing((2.0, 3.0, 4.0, 1.0))
    SimpleITK.WriteImage(stacked, str(tmp_path / "like.nrrd"))
    geometry = read_geometry(tmp_path / "like.nrrd")
    write_mask(tmp_path / "m.nrrd", MASK, geometry=geometry, like=tmp_path / "like.nrrd")
    mask, written = read_mask(tmp_path / "m.nrrd")
    np.testing.assert_array_equal(mask, MASK)
    assert written.matches(geometry)


def test_mask_like_nrrd_in_another_frame(tmp_path: Path) -> None:
    like = save_itk(tmp_path / "like.nrrd", seed=1)
    header = like.read_bytes().replace(b"left-posterior-superior", b"right-anterior-superior")
    like.write_bytes(header)
    write_mask(tmp_path / "m.nrrd", MASK, geometry=read_geometry(like), like=like)
    assert itk_place(tmp_path / "m.nrrd") == itk_place(like)


@pytest.mark.parametrize(
    ("source", "target"), [("like.mha", "m.nii.gz"), ("like.nii.gz", "m.nrrd"), ("like.mha", "m.nrrd")]
)
def test_mask_in_another_format_lies_at_the_same_place(tmp_path: Path, source: str, target: str) -> None:
    like = tmp_path / source
    if source.endswith("mha"):
        save_itk(like)
    else:
        nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE), OBLIQUE), like)
    geometry = read_geometry(like)
    write_mask(tmp_path / target, MASK, geometry=geometry, like=like)
    mask, written = read_mask(tmp_path / target)
    np.testing.assert_array_equal(mask, MASK)
    assert written.matches(geometry, tolerance_mm=1e-4)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("m.nii.gz", "m.nrrd", "m.mha"):
        write_mask(tmp_path / name, MASK, geometry=GEOMETRY)
        first = (tmp_path / name).read_bytes()
        write_mask(tmp_path / name, MASK, geometry=GEOMETRY)
        assert (tmp_path / name).read_bytes() == first


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE), np.eye(4)), tmp_path / "like.nii.gz")
    path = tmp_path / "m.nii.gz"
    with pytest.raises(CaseError, match="own grid"):
        write_mask(path, MASK[:-1], geometry=GEOMETRY)
    for wrong in (MASK.astype(float), MASK - 1, MASK + 255):
        with pytest.raises(CaseError, match="integers from 0 to 255"):
            write_mask(path, wrong, geometry=GEOMETRY)
    with pytest.raises(CaseError, match="bring the mask back"):
        write_mask(path, MASK, geometry=GEOMETRY, like=tmp_path / "like.nii.gz")
    with pytest.raises(CaseError, match="one of the endings"):
        write_mask(tmp_path / "m.png", MASK, geometry=GEOMETRY)
    assert names_in(tmp_path) == ["like.nii.gz"]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_image_round_trip(tmp_path: Path, ending: str, n_channels: int) -> None:
    image = np.random.default_rng(1).normal(size=(n_channels, *SHAPE)).astype(np.float32)
    write_image(tmp_path / f"x{ending}", image, geometry=GEOMETRY)
    found, geometry = read_image([tmp_path / f"x{ending}"])
    np.testing.assert_array_equal(found, image)
    assert geometry.matches(GEOMETRY, tolerance_mm=1e-4)


def test_image_of_one_channel_is_three_dimensional(tmp_path: Path) -> None:
    write_image(tmp_path / "x.nii.gz", np.zeros((1, *SHAPE), np.float32), geometry=GEOMETRY)
    assert nibabel.load(tmp_path / "x.nii.gz").shape == SHAPE
    with pytest.raises(CaseError, match=r"expected \(C, I, J, K\)"):
        write_image(tmp_path / "x.nii.gz", np.zeros(SHAPE, np.float32), geometry=GEOMETRY)


@pytest.mark.real_data
def test_mask_on_a_real_grid_is_bit_exact(tmp_path: Path, real_data: Path) -> None:
    for name in (
        "Task501_STSPET/imagesTr/STS_011_0000.nii.gz",
        "Task004_Hippocampus/imagesTr/hippocampus_173.nii.gz",
    ):
        like = real_data / name
        geometry = read_geometry(like)
        write_mask(tmp_path / "m.nii.gz", np.ones(geometry.shape, bool), geometry=geometry, like=like)
        assert itk_place(tmp_path / "m.nii.gz") == itk_place(like)
        np.testing.assert_array_equal(nibabel.load(tmp_path / "m.nii.gz").affine, nibabel.load(like).affine)


LARGE = np.random.default_rng(0).random((1, 64, 64, 64)).astype(np.float32)
LARGE_GRID = Geometry((64, 64, 64), np.eye(4))


def write_torch(path: Path) -> None:
    with atomic_path(path) as partial:
        torch.save({"a": torch.from_numpy(LARGE)}, partial)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.nii.gz": lambda path: write_image(path, LARGE, geometry=LARGE_GRID),
    "a.nii": lambda path: write_image(path, LARGE, geometry=LARGE_GRID),
    "a.nrrd": lambda path: write_image(path, LARGE, geometry=LARGE_GRID),
    "a.mha": lambda path: write_image(path, LARGE, geometry=LARGE_GRID),
    "a.json": lambda path: write_artefact(path, IssueList(task="T" * 10**6, n_cases=0)),
    "a.txt": lambda path: write_text(path, "x" * 10**6),
    "a.b2nd": lambda path: write_array(path, LARGE),
    "channels.b2nd": lambda path: write_channels(path, (LARGE, LARGE)),
    "a.pt": write_torch,
}


@pytest.fixture
def limit() -> Iterator[None]:
    """Let no file grow beyond 64 kB, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# nibabel leaves a file that it could not write to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(name: str, limit: None, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"\[Errno {errno.EFBIG}\] .*: '{tmp_path / name}'"):
        WRITERS[name](tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_what_was_there_stays_when_a_disk_is_full(name: str, limit: None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(OSError, match=name):
        WRITERS[name](tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"before"


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "a") as partial:
            partial.write_text("x")
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".MHA", ".Mha", ".NRRD", ".Nrrd", ".NII", ".NII.GZ"])
@pytest.mark.parametrize("like_ending", [None, ".mha", ".NRRD", ".nii"])
def test_endings_in_capitals_are_the_same_formats(tmp_path: Path, ending: str, like_ending: str | None) -> None:
    like = None
    if like_ending is not None:
        like = tmp_path / f"image{like_ending}"
        write_image(like, np.ones((1, *SHAPE), np.float32), geometry=GEOMETRY)
    path = tmp_path / "masks" / f"mask{ending}"
    write_mask(path, MASK, geometry=GEOMETRY, like=like)
    mask, geometry = read_mask(path)
    np.testing.assert_array_equal(mask, MASK)
    assert geometry.matches(GEOMETRY)
    assert names_in(path.parent) == [path.name]


@pytest.mark.parametrize("ending", [".mhd", ".nhdr", ".tif", ".png", ".mha", ".nrrd"])
def test_files_with_endings_in_capitals_are_read(tmp_path: Path, ending: str) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)
    path = tmp_path / f"image{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values if ending != ".png" else values[0]), str(path))
    expected, _ = read_image([path])
    capitals = path.rename(tmp_path / f"IMAGE{ending.upper()}")
    np.testing.assert_array_equal(read_image([capitals])[0], expected)
