"""Projections from PNG to PNG: the whole walk in 2D, with healthy controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from interactivepet.core.plan import Plans
from interactivepet.core.report import Report
from interactivepet.dataset.files.write import read_artefact
from interactivepet.dataset.folders.mip import MipOptions, find_mip_source
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.predict.served import ServedModel
from interactivepet.pipeline.prepare.importing import run_import
from interactivepet.pipeline.prepare.planning import PlanningOptions
from interactivepet.pipeline.stages import RunOptions, run_all
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.tracking.mlflow import default_uri
from interactivepet.tracking.registry import fetch_model
from interactivepet.training.inputs import TrainingOptions

pytestmark = pytest.mark.slow

TASK = "Task905_Projections"
ROWS, COLUMNS = 52, 40


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))


def write_source(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(200, 256, (ROWS, COLUMNS, 4)).astype(np.uint8)
        pixels[..., 3] = 255
        if number >= 6:
            save(folder / f"controls/imgs/control_{number:03d}.png", pixels)
            continue
        row, column = rng.integers(8, 24, size=2)
        mask = np.zeros((ROWS, COLUMNS, 3), np.uint8)
        mask[row : row + 9, column : column + 7] = 255
        pixels[mask[..., 0] > 0, :3] = 20
        save(folder / f"patients/imgs/patient_{number:03d}.png", pixels)
        save(folder / f"patients/labels/segmentation_{number:03d}.png", mask)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Workspace, dict[str, Report]]:
    root = tmp_path_factory.mktemp("projections")
    write_source(root / "source")
    source = find_mip_source(root / "source", options=MipOptions())
    run_import(root / "raw", TASK, source=source, executor=InlineExecutor())
    workspace = Workspace.of(TASK, raw=root / "raw", processed=root / "processed", results=root / "results")
    options = RunOptions(
        planning=PlanningOptions(n_folds=2, request=PlanRequest(budget="cpu"), snapshots=True),
        training=TrainingOptions(epochs=2, iterations=4, device="cpu", n_threads=1),
        prediction=PredictionOptions(tta=True, device="cpu"),
        tracker=TrackerConfig.of(TASK, results=root / "results", uri=None),
        n_cores=1,
    )
    return root, workspace, run_all(workspace, options=options, show_issues=lambda issues: None)


def test_the_plan_is_flat_in_every_respect(walked: tuple[Path, Workspace, dict[str, Report]]) -> None:
    plans = read_artefact(walked[1].plans, Plans, command="")
    assert list(plans.configurations) == ["2d"]
    plan = plans.plan("2d")
    assert plan.patch_size[2] == 1
    assert all(kernel[2] == 1 for kernel in plan.network.kernel_sizes)
    assert all(stride[2] == 1 for stride in plan.network.strides)
    assert len(list(walked[1].snapshots.glob("*.png"))) == 8


def test_controls_have_no_dice_but_a_false_positive_volume(walked: tuple[Path, Workspace, dict[str, Report]]) -> None:
    report = walked[2]["none"]
    assert report.lesion_free is not None
    assert report.lesion_free.n == 2
    dice = {case.case: case.labels[0].dice for case in report.cases}
    assert [name for name, value in dice.items() if value is None] == ["control_006", "control_007"]
    assert {case.n_clicks for case in walked[2]["extreme"].cases} == {0, 4}


def test_a_png_becomes_a_png_of_its_shape(walked: tuple[Path, Workspace, dict[str, Report]], tmp_path: Path) -> None:
    root, workspace, _ = walked
    images = root / "source/patients/imgs"
    request = make_folder_request(workspace, images, clicks_folder=None, out=tmp_path, file_ending=".png")
    log = run_prediction(workspace, request, options=PredictionOptions(device="cpu"))
    assert len(log.cases) == 6
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "patient_003.png")))
    assert mask.shape == (ROWS, COLUMNS)
    assert set(np.unique(mask)) <= {0, 255}


def test_a_volume_cannot_be_written_as_a_picture(tmp_path: Path) -> None:
    from interactivepet.dataset.folders.mip import write_projection_mask

    mask = np.zeros((4, 5, 1), np.uint8)
    mask[1, 2] = 1
    write_projection_mask(tmp_path / "flat.png", mask, largest_label=1)
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "flat.png")))[2, 1] == 255
    with pytest.raises(CaseError, match="no picture"):
        write_projection_mask(tmp_path / "deep.png", np.zeros((4, 5, 2), np.uint8), largest_label=1)
    assert not (tmp_path / "deep.png").exists()


def test_one_picture_is_predicted_by_its_file(
    walked: tuple[Path, Workspace, dict[str, Report]], tmp_path: Path
) -> None:
    source, workspace, _ = walked
    picture = sorted((source / "source" / "patients" / "imgs").glob("*.png"))[0]
    request = make_folder_request(workspace, picture, clicks_folder=None, out=tmp_path / "mask.png")
    log = run_prediction(workspace, request, options=PredictionOptions(tta=False, device="cpu"))
    assert (log.failed, list(log.cases)) == ({}, [picture.stem])
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "mask.png")))
    assert mask.shape[:2] == (ROWS, COLUMNS)


def test_the_registered_model_predicts_a_picture(
    walked: tuple[Path, Workspace, dict[str, Report]], tmp_path: Path
) -> None:
    root, workspace, _ = walked
    picture = root / "source/patients/imgs/patient_003.png"
    folder = fetch_model(f"models:/{TASK}/1", tmp_path / "model", uri=default_uri(root / "results"))
    model = ServedModel(folder, device="cpu", tta=True)
    (answer,) = model.predict([{"image": str(picture), "out": str(tmp_path / "served.png")}])
    request = make_folder_request(workspace, picture, clicks_folder=None, out=tmp_path / "mask.png")
    run_prediction(workspace, request, options=PredictionOptions(tta=True, device="cpu"))
    assert (tmp_path / "served.png").read_bytes() == (tmp_path / "mask.png").read_bytes()
    assert set(answer) == {
        "mask",
        *(f"volume_ml_{label}" for label in read_artefact(workspace.plans, Plans, command="").labels),
    }
