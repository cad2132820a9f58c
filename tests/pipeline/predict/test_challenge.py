"""One case of autoPET V: which files are read, what the numbers of clicks are, and where the mask goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from interactivepet.cli import challenge_case
from interactivepet.core.geometry import Geometry
from interactivepet.core.plan import CropPlan
from interactivepet.dataset.files.read import read_geometry, read_image, read_mask
from interactivepet.dataset.files.write import write_image
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.regrid import resample_onto
from interactivepet.errors import CaseError, InteractionError, ModelError
from interactivepet.model.description import ModelDescription
from interactivepet.model.folder import open_model
from interactivepet.pipeline.predict.challenge import refuse_unfit, run_challenge_case
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request
from tests.model.models import describe_model
from tests.pipeline.predict.challenge_inputs import (
    BACKGROUND,
    CT_NAME,
    MASK,
    PET_NAME,
    TUMOUR,
    make_challenge_plan,
    make_ct,
    write_challenge_model,
    write_inputs,
    write_pet,
    write_points,
)

OPTIONS = PredictionOptions(tta=False, device="cpu")
CLICKS = [(TUMOUR, "tumor"), (BACKGROUND, "background")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: write_challenge_model(folder / f"{name}.zip", channels)
        for name, channels in {"pet": ("PET",), "petct": ("PET", "CT"), "ctpet": ("CT", "FDG-PET")}.items()
    }


def segment(model: Path, inputs: Path, outputs: Path) -> np.ndarray:
    with open_model(model) as opened:
        path = run_challenge_case(opened, inputs, outputs, options=OPTIONS)
    assert path == outputs / MASK
    return read_mask(path)[0]


def test_the_mask_lies_on_the_grid_of_the_pet(models: dict[str, Path], tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "input", points=CLICKS)
    mask = segment(models["petct"], inputs, tmp_path / "new" / "output")
    assert mask[TUMOUR] == 1
    assert mask[BACKGROUND] == 0
    pet = SimpleITK.ReadImage(inputs / "images/pet" / PET_NAME)
    written = SimpleITK.ReadImage(tmp_path / "new" / "output" / MASK)
    assert written.GetPixelID() == SimpleITK.sitkUInt8
    for name in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(written, name)() == getattr(pet, name)()
    assert [path.name for path in (tmp_path / "new" / "output").rglob("*") if path.is_file()] == [PET_NAME]


@pytest.mark.parametrize("points", [None, []])
def test_without_clicks_the_case_is_predicted_automatically(
    points: list[tuple[tuple[int, int, int], str]] | None, models: dict[str, Path], tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "input", points=points)
    with open_model(models["pet"]) as model:
        image = inputs / "images/pet" / PET_NAME
        request = make_folder_request(model, image, clicks_folder=None, out=tmp_path / "mask.nii.gz")
        run_prediction(model, request, options=OPTIONS)
    expected = read_mask(tmp_path / "mask.nii.gz")[0]
    assert np.array_equal(segment(models["pet"], inputs, tmp_path), expected)
    assert 0 < expected.sum() < expected.size


def test_a_model_of_pet_ignores_the_ct(models: dict[str, Path], tmp_path: Path) -> None:
    write_inputs(tmp_path / "both")
    write_pet(tmp_path / "pet")
    masks = [segment(models["pet"], tmp_path / name, tmp_path / f"out-{name}") for name in ("both", "pet")]
    assert np.array_equal(*masks)


@pytest.mark.parametrize(("name", "order"), [("petct", ("pet", "ct")), ("ctpet", ("ct", "pet"))])
def test_a_model_of_pet_and_ct_sees_the_ct_on_the_grid_of_the_pet(
    name: str, order: tuple[str, str], models: dict[str, Path], tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "input")
    pet, geometry = read_image([inputs / "images/pet" / PET_NAME])
    ct, grid = make_ct(geometry)
    channels = {"pet": pet, "ct": resample_onto(ct, grid, target=geometry, outside=-1000.0)}
    joined = tmp_path / "joined.nii.gz"
    write_image(joined, np.concatenate([channels[kind] for kind in order]), geometry=geometry)
    with open_model(models[name]) as model:
        request = make_folder_request(model, joined, clicks_folder=None, out=tmp_path / "mask.nii.gz")
        run_prediction(model, request, options=OPTIONS)
    assert np.array_equal(segment(models[name], inputs, tmp_path), read_mask(tmp_path / "mask.nii.gz")[0])


def remove_pet(inputs: Path) -> None:
    shutil.rmtree(inputs / "images/pet")


def empty_pet(inputs: Path) -> None:
    (inputs / "images/pet" / PET_NAME).rename(inputs / "images/pet" / "pet.nii.gz")


def add_pet(inputs: Path) -> None:
    shutil.copy(inputs / "images/pet" / PET_NAME, inputs / "images/pet" / "other.mha")


def break_pet(inputs: Path) -> None:
    (inputs / "images/pet" / PET_NAME).write_bytes(b"ObjectType = Image\nNDims = 3\n")


def remove_ct(inputs: Path) -> None:
    (inputs / "images/ct" / CT_NAME).unlink()


def move_ct(inputs: Path) -> None:
    image, grid = make_ct(read_geometry(inputs / "images/pet" / PET_NAME))
    affine = grid.affine.copy()
    affine[2, 3] += 1000.0
    write_image(inputs / "images/ct" / CT_NAME, image, geometry=Geometry(grid.shape, affine))


def swap(inputs: Path) -> None:
    (inputs / "images/pet" / PET_NAME).rename(inputs / "x.mha")
    (inputs / "images/ct" / CT_NAME).rename(inputs / "images/pet" / PET_NAME)
    (inputs / "x.mha").rename(inputs / "images/ct" / CT_NAME)


def fill_with_nan(inputs: Path) -> None:
    path = inputs / "images/pet" / PET_NAME
    image, geometry = read_image([path])
    image[0, 3, 3, 3] = np.nan
    write_image(path, image, geometry=geometry)


def click(*points: tuple[tuple[float, ...], str]) -> Callable[[Path], None]:
    return lambda inputs: write_points(inputs / "lesion-clicks.json", points) and None


def write_raw_clicks(text: str) -> Callable[[Path], None]:
    return lambda inputs: (inputs / "lesion-clicks.json").write_text(text) and None


WRONG: list[tuple[str, Callable[[Path], None], type[Exception], str]] = [
    ("no folder of the PET", remove_pet, CaseError, r"images/pet: 0 files, expected the PET of one case as one \.mha"),
    ("PET in another format", empty_pet, CaseError, r"images/pet: 0 files, expected the PET"),
    ("two PETs", add_pet, CaseError, r"images/pet: 2 files \(.*other\.mha\), expected the PET of one case"),
    ("damaged PET", break_pet, CaseError, "cannot be read"),
    ("no CT", remove_ct, CaseError, r"images/ct: 0 files, expected the CT of one case"),
    ("CT of elsewhere", move_ct, CaseError, "CT on the grid of PET: .* covers 0%"),
    ("PET and CT swapped", swap, CaseError, "exchange the channels"),
    ("NaN in the PET", fill_with_nan, CaseError, "NaN"),
    ("click outside", click(((70, 5, 5), "tumor")), InteractionError, "outside"),
    ("negative index", click(((-1, 5, 5), "tumor")), InteractionError, "outside"),
    ("two numbers", click(((1, 5), "tumor")), InteractionError, r"lesion-clicks\.json: points\.0\.point"),
    ("damaged clicks", write_raw_clicks('{"type": "Multiple'), InteractionError, r"lesion-clicks\.json: .*JSON"),
    ("another type", write_raw_clicks('{"type": "Lines", "points": []}'), InteractionError, "Multiple points"),
    ("empty file of clicks", write_raw_clicks(""), InteractionError, r"lesion-clicks\.json"),
]


@pytest.mark.parametrize(("change", "error", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_input_is_named_and_writes_no_mask(
    change: Callable[[Path], None], error: type[Exception], message: str, models: dict[str, Path], tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "input")
    change(inputs)
    with pytest.raises(error, match=message):
        segment(models["petct"], inputs, tmp_path / "output")
    assert not (tmp_path / "output").exists()


UNFIT: list[tuple[str, dict[str, object], str]] = [
    ("no PET", {"channels": ("MR",)}, "channels MR, but autoPET V needs PET, or PET and CT"),
    ("only CT", {"channels": ("CT",)}, "channels CT, but"),
    ("PET and MR", {"channels": ("PET", "MR")}, "channels PET, MR, but"),
    ("two PETs", {"channels": ("PET", "SUV")}, "channels PET, SUV, but"),
    ("three channels", {"channels": ("CT", "PET", "T1")}, "channels CT, PET, T1, but"),
    ("needs clicks", {"crop": CropPlan(region="clicks")}, "networks that need clicks, but autoPET V needs networks"),
]


@pytest.mark.parametrize(("changes", "message"), [row[1:] for row in UNFIT], ids=[row[0] for row in UNFIT])
def test_models_that_cannot_take_part(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        refuse_unfit(describe_model(make_challenge_plan(**changes)), source="m.zip")


def change_inputs(description: ModelDescription, **changes: object) -> ModelDescription:
    return description.model_copy(update={"inputs": description.inputs.model_copy(update=changes)})


def test_other_reasons_why_a_model_cannot_take_part() -> None:
    fit = describe_model(make_challenge_plan())
    refuse_unfit(fit, source="m.zip")
    refuse_unfit(change_inputs(fit, suv=None), source="m.zip")
    several = fit.model_copy(update={"plans": fit.plans.model_copy(update={"labels": {"tumour": 1, "edema": 2}})})
    for description, message in (
        (change_inputs(fit, suv="lbm"), "PET in SUV by lbm, but autoPET V needs SUV by body weight"),
        (change_inputs(fit, is_picture=True), "pictures of one slice, but"),
        (several, "labels tumour, edema, but autoPET V needs one label"),
    ):
        with pytest.raises(ModelError, match=message):
            refuse_unfit(description, source="m.zip")


def test_the_command_of_the_container(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, outputs = write_inputs(tmp_path / "input", points=CLICKS), tmp_path / "output"
    folders = ["--input", str(inputs), "--output", str(outputs), "--device", "cpu", "--no-tta"]
    assert challenge_case.main(["--model", str(models["pet"]), *folders]) == 0
    assert f"mask written: {outputs / MASK}" in capsys.readouterr().out
    (inputs / "images/pet" / PET_NAME).unlink()
    assert challenge_case.main(["--model", str(models["pet"]), *folders]) == 1
    assert "error: " in capsys.readouterr().err


@pytest.mark.real_data
def test_numbers_in_the_files_of_autopet_are_indices_of_voxels(real_data: Path) -> None:
    folder = real_data / "autopetv"
    label, geometry = read_mask(folder / "psma_ffcaa75377465b37_label.nii.gz")
    clicks = read_clicks(folder / "psma_ffcaa75377465b37_clicks.json", geometry=geometry, point_frame="voxel")
    held = [(bool(label[geometry.find_voxel(click.position_mm)]), click.is_positive) for click in clicks]
    assert {is_positive for _, is_positive in held} == {True, False}
    assert all(is_held == is_positive for is_held, is_positive in held)


@pytest.mark.real_data
@pytest.mark.slow
def test_every_file_of_clicks_of_autopet_is_met(models: dict[str, Path], real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "autopetv" / "clicks").glob("*.json"))
    assert len(files) == 20
    for number, file in enumerate(files):
        points = json.loads(file.read_text())["points"]
        # the smallest grid that holds the points, of voxels so fine that the networks see a small one
        shape = tuple(max([8, *(p["point"][axis] + 1 for p in points)]) for axis in range(3))
        rng = np.random.default_rng(number)
        inputs = tmp_path / file.stem
        image = rng.gamma(2.0, 0.5, (1, *shape)).astype(np.float32)
        geometry = Geometry(shape, np.diag([-0.5, -0.5, 0.5, 1.0]))
        write_image(inputs / "images/pet" / PET_NAME, image, geometry=geometry)
        shutil.copy(file, inputs / "lesion-clicks.json")
        mask = segment(models["pet"], inputs, inputs)
        for point in points:
            assert mask[tuple(point["point"])] == (point["name"] == "tumor"), file.name
        shutil.rmtree(inputs)
