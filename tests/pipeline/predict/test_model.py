"""The Python API: a model in a few words, and that commands give the same masks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import interactivepet
from interactivepet.cli import predict
from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Segmentation
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image
from interactivepet.errors import CaseError, InteractionError, InteractivePetError, ManifestError, ModelError
from interactivepet.inference.network import FoldNetwork
from interactivepet.model.installed import install_model
from interactivepet.tracking import registry
from tests.model.models import write_model
from tests.session.test_session import make_case

SHAPE = (30, 26, 12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and an image, where no folder of tasks is set."""
    for name in ("raw", "processed", "results"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.setenv("interactivepet_models", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "small.zip")
    case = make_case(SHAPE)
    write_image(tmp_path / "scan.nii.gz", case.image, geometry=case.geometry)
    return tmp_path


def load() -> interactivepet.Model:
    return interactivepet.load_model("small.zip", device="cpu", tta=False)


def click_at(geometry: Geometry, voxel: tuple[int, int, int], label: int = 1, *, is_positive: bool = True) -> Click:
    x, y, z = geometry.to_mm(voxel).tolist()
    return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)


def test_a_few_words_lead_from_an_image_to_a_mask(folder: Path) -> None:
    model = load()
    assert (model.task, model.channels, model.labels) == ("Task001", ("PET",), {"edema": 3, "tumour": 1})
    image = interactivepet.read_image("scan.nii.gz")
    click = click_at(image.geometry, (5, 6, 7), 3)
    segmentation = model.predict("scan.nii.gz", clicks=[click])
    assert segmentation.mask.shape == SHAPE
    assert segmentation.mask[5, 6, 7] == 3
    assert (segmentation.labels, segmentation.unmet) == ((1, 3), ())
    assert segmentation.source == Path("scan.nii.gz")
    interactivepet.save_mask(segmentation, "mask.nii.gz")
    mask, geometry = read_mask(folder / "mask.nii.gz")
    assert np.array_equal(mask, segmentation.mask)
    assert geometry.matches(image.geometry)


@pytest.mark.parametrize("clicks", [(), ((5, 6, 7),), ((5, 6, 7), (20, 20, 3))], ids=["none", "one", "two"])
def test_path_case_and_session_give_one_mask(folder: Path, clicks: tuple[tuple[int, int, int], ...]) -> None:
    model = load()
    image = interactivepet.read_image(folder / "scan.nii.gz")
    placed = [click_at(image.geometry, voxel) for voxel in clicks]
    expected = model.predict("scan.nii.gz", placed).mask
    assert np.array_equal(model.predict(image, placed).mask, expected)
    with model.open_session(folder / "scan.nii.gz") as session:
        session.add_clicks(placed)
        assert np.array_equal(session.segment().mask, expected)


def test_the_command_gives_the_mask_of_the_api(folder: Path) -> None:
    assert (
        predict.main(["--model", "small.zip", "-i", "scan.nii.gz", "-o", "mask.nii.gz", "--device", "cpu", "--no-tta"])
        == 0
    )
    assert np.array_equal(read_mask(folder / "mask.nii.gz")[0], load().predict("scan.nii.gz").mask)


def test_a_model_stays_when_its_file_is_gone(folder: Path) -> None:
    model = load()
    (folder / "small.zip").unlink()
    assert model.predict("scan.nii.gz").mask.shape == SHAPE


def test_several_images_need_one_model(folder: Path) -> None:
    model = load()
    masks = [model.predict(make_case(shape)).mask.shape for shape in ((20, 18, 9), SHAPE)]
    assert masks == [(20, 18, 9), SHAPE]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none.nii.gz", CaseError, "none.nii.gz is not there"),
        ("small.zip", CaseError, "unknown ending"),
        ("models", CaseError, "models"),
        (".", ManifestError, "2 cases"),
    ],
)
def test_what_is_no_image_is_refused(folder: Path, name: str, error: type[Exception], message: str) -> None:
    (folder / "models").mkdir()
    case = make_case((20, 18, 9))
    write_image(folder / "other.nii.gz", case.image, geometry=case.geometry)
    model = load()
    (folder / "small.zip").rename(folder / "models" / "kept") if name == "." else None
    for read in (model.predict, model.open_session, interactivepet.read_image):
        with pytest.raises(error, match=message):
            read(name)


@pytest.mark.parametrize(
    ("voxel", "label", "message"), [((-3, 0, 0), 1, "outside of the image"), ((5, 5, 5), 2, "label 2")]
)
def test_a_click_that_the_model_cannot_see_is_refused(
    folder: Path, voxel: tuple[int, int, int], label: int, message: str
) -> None:
    model, case = load(), make_case(SHAPE)
    with pytest.raises(InteractionError, match=message):
        model.predict(case, [click_at(case.geometry, voxel, label)])


def test_an_image_of_other_channels_is_refused(folder: Path) -> None:
    case = make_case(SHAPE)
    with pytest.raises(CaseError, match="2 in the image; expected 1"):
        load().predict(Case("A", np.repeat(case.image, 2, axis=0), case.geometry))


@pytest.mark.parametrize("name", ["none.zip", "scan.nii.gz", "none"])
def test_what_is_no_model_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ModelError, match=name):
        interactivepet.load_model(name)


def test_a_fold_that_the_model_lacks_is_refused(folder: Path) -> None:
    assert interactivepet.load_model("small.zip", folds=[1]).description == "3d_fullres fold_1 (MIT)"
    with pytest.raises(ModelError, match="fold 7"):
        interactivepet.load_model("small.zip", folds=[7])


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("scan.nii.gz", ManifestError, "which the mask would replace"),
        ("mask.txt", CaseError, "expected one of the endings"),
        ("mask.png", CaseError, "is no picture"),
    ],
)
def test_a_mask_that_cannot_be_written_is_refused(
    folder: Path, path: str, error: type[Exception], message: str
) -> None:
    segmentation = load().predict("scan.nii.gz")
    before = (folder / "scan.nii.gz").read_bytes()
    with pytest.raises(error, match=message):
        interactivepet.save_mask(segmentation, path)
    assert (folder / "scan.nii.gz").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["scan.nii.gz", "small.zip"]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_mask_without_a_file_of_its_image_is_written_on_its_grid(tmp_path: Path, ending: str) -> None:
    case = make_case((20, 18, 9))
    mask = (case.image[0] > 2).astype(np.uint8)
    interactivepet.save_mask(Segmentation("A", mask, case.geometry), tmp_path / f"mask{ending}")
    found, geometry = read_mask(tmp_path / f"mask{ending}")
    assert np.array_equal(found, mask)
    assert geometry.matches(case.geometry)


def test_a_mask_takes_over_the_placement_of_its_image_bit_by_bit(folder: Path) -> None:
    import nibabel

    interactivepet.save_mask(load().predict("scan.nii.gz"), "mask.nii.gz")
    image, mask = (nibabel.load(folder / name).header for name in ("scan.nii.gz", "mask.nii.gz"))
    for field in ("srow_x", "srow_y", "srow_z", "qoffset_x", "quatern_b", "pixdim"):
        assert np.array_equal(image[field], mask[field])


def test_public_names_are_few_and_documented() -> None:
    assert interactivepet.__all__ == [
        "Case",
        "Click",
        "Geometry",
        "InteractivePetError",
        "Model",
        "Segmentation",
        "SegmentedImage",
        "SegmentedRegion",
        "Session",
        "__version__",
        "load_model",
        "read_image",
        "save_mask",
        "segment_regions",
    ]
    assert dir(interactivepet) == interactivepet.__all__
    assert interactivepet.InteractivePetError is InteractivePetError
    page = Path(__file__).parents[3] / "documentation" / "reference" / "python.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in interactivepet.__all__ if f"`{name}" not in text] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "pydantic", "SimpleITK", "mlflow")
    code = f"import sys, interactivepet; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_installed_model_is_found_by_its_name(folder: Path) -> None:
    install_model(folder / "small.zip", folder / "models", name="lesion")
    expected = load().predict("scan.nii.gz").mask
    (folder / "small.zip").unlink()
    model = interactivepet.load_model("lesion", device="cpu", tta=False)
    assert np.array_equal(model.predict("scan.nii.gz").mask, expected)


@pytest.mark.real_data
def test_a_first_click_on_a_whole_body_series_predicts_near_it(
    folder: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the whole body is predicted")

    monkeypatch.setattr(FoldNetwork, "predict", fail)
    series = real_data / "dicom" / "STS_001" / "PT"
    image = interactivepet.read_image(series)
    assert image.geometry.shape == (128, 128, 267)
    segmentation = load().predict(series, [click_at(image.geometry, (78, 66, 27))])
    assert segmentation.mask[78, 66, 27] == 1
    assert segmentation.source is None
    interactivepet.save_mask(segmentation, "mask.nii.gz")
    mask, geometry = read_mask(folder / "mask.nii.gz")
    assert np.array_equal(mask, segmentation.mask)
    assert geometry.matches(image.geometry)


@pytest.mark.parametrize(
    ("name", "channels", "n_found"),
    [
        ("two_0000.nii.gz", ("PET", "CT"), 2),
        ("two_0000.nii.gz", ("PET",), 1),
        ("two_0001.nii.gz", ("CT",), 1),
        ("scan.nii.gz", ("MR",), 1),
    ],
)
def test_an_image_is_read_without_a_model(folder: Path, name: str, channels: tuple[str, ...], n_found: int) -> None:
    case = make_case(SHAPE)
    for channel in range(2):
        write_image(folder / f"two_{channel:04d}.nii.gz", case.image + channel, geometry=case.geometry)
    found = interactivepet.read_image(name, channels=channels)
    assert found.image.shape == (n_found, *SHAPE)
    assert found.geometry.matches(case.geometry)
    assert found.source == Path(name)


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("scan.nii.gz", ("PET", "CT"), "expected 2"),
        ("lone_0000.nii.gz", ("PET", "CT"), "lone_0001.nii.gz is not there"),
    ],
)
def test_an_image_with_other_channels_is_not_read(
    folder: Path, name: str, channels: tuple[str, ...], message: str
) -> None:
    case = make_case(SHAPE)
    write_image(folder / "lone_0000.nii.gz", case.image, geometry=case.geometry)
    with pytest.raises(CaseError, match=message):
        interactivepet.read_image(name, channels=channels)


def test_a_registered_model_is_fetched_and_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def fetch(address: str, target: Path, *, uri: str) -> Path:
        seen.append((address, uri))
        return Path(shutil.copy(folder / "small.zip", target))

    monkeypatch.setattr(registry, "fetch_model", fetch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    model = interactivepet.load_model("models:/lesion/1", device="cpu", tta=False)
    assert seen == [("models:/lesion/1", "http://localhost:5000")]
    assert np.array_equal(model.predict("scan.nii.gz").mask, load().predict("scan.nii.gz").mask)
