"""`interactivepet_predict --segmenter`: masks from clicks alone, of a task that nobody planned or trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import generate_dataset_json, predict
from interactivepet.core.classical import CLASSICAL_METHODS
from interactivepet.core.interaction import Click
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image
from interactivepet.dataset.interactions import write_clicks
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from tests.tiny import TASK, make_volume, write_tiny_task


@pytest.fixture
def task(raw: Path) -> Path:
    """The raw folder of a task with `dataset.json`, and beside it images `in` with clicks `clicks`."""
    folder = write_tiny_task(raw, n_training=2)
    assert generate_dataset_json.main(["-m", "PET", "-l", "lesion"]) == 0
    for number in (70, 71):
        image, _, geometry = make_volume(number)
        write_image(raw.parent / "in" / f"NEW_{number}_0000.nii.gz", image, geometry=geometry)
        write_clicks(raw.parent / "clicks" / f"NEW_{number}.mrk.json", make_clicks(number))
    return folder


def make_clicks(number: int) -> tuple[Click, ...]:
    _, label, geometry = make_volume(number)
    return simulate_clicks(label, geometry, options=ClickOptions(), rng=np.random.default_rng(0))


def read_log(folder: Path) -> PredictionLog:
    return PredictionLog.model_validate_json((folder / "predictions.json").read_text())


@pytest.mark.parametrize("method", [name for name in CLASSICAL_METHODS if name != "percist"])
def test_masks_lie_on_the_images_grid_and_the_log_names_the_method(task: Path, method: str) -> None:
    root = task.parent.parent
    assert predict.main(["-i", "in", "-in", "clicks", "-o", "out", "--segmenter", method]) == 0
    for number in (70, 71):
        mask, geometry = read_mask(root / "out" / f"NEW_{number}.nii.gz")
        _, label, expected = make_volume(number)
        assert geometry.matches(expected)
        assert 2 * (mask & label).sum() / (mask.sum() + label.sum()) > 0.6
    log = read_log(root / "out")
    assert log.models == f"{method} (a rule, no weights)"
    assert log.n_clicks == {"NEW_70": 6, "NEW_71": 6}


def test_masks_that_are_up_to_date_stay_and_those_of_another_method_do_not(task: Path) -> None:
    out = task.parent.parent / "out"
    arguments = ["-i", "in", "-in", "clicks", "-o", "out", "--segmenter"]
    assert predict.main([*arguments, "nestle"]) == 0
    before = (out / "NEW_70.nii.gz").stat().st_mtime_ns
    assert predict.main([*arguments, "nestle"]) == 0
    assert (out / "NEW_70.nii.gz").stat().st_mtime_ns == before
    assert predict.main([*arguments, "ellipsoid"]) == 0
    assert (out / "NEW_70.nii.gz").stat().st_mtime_ns != before
    assert read_log(out).models.startswith("ellipsoid")


def test_the_tasks_own_test_cases_take_their_own_clicks(task: Path) -> None:
    write_clicks(task / "interactionsTs" / "TINY_002.mrk.json", make_clicks(2))
    assert predict.main(["--segmenter", "threshold41"]) == 0
    mask, _ = read_mask(task.parent.parent / "results" / TASK / "predictionsTs" / "TINY_002.nii.gz")
    assert mask.any()


def test_one_image_and_one_mask(task: Path) -> None:
    image = "in/NEW_70_0000.nii.gz"
    assert predict.main(["-i", image, "-in", "clicks", "-o", "mask.nrrd", "--segmenter", "watershed"]) == 0
    assert read_mask(task.parent.parent / "mask.nrrd")[0].any()


def test_an_image_without_clicks_is_empty_and_named(
    task: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = task.parent.parent
    (root / "clicks" / "NEW_71.mrk.json").unlink()
    assert predict.main(["-i", "in", "-in", "clicks", "-o", "out", "--segmenter", "nestle"]) == 0
    assert not read_mask(root / "out" / "NEW_71.nii.gz")[0].any()
    assert "NEW_71: no positive click, so the mask of nestle is empty" in caplog.text
    assert "2 masks in out, 1 of them with clicks, made by nestle" in capsys.readouterr().out


def test_an_image_in_another_unit_does_not_stop_the_others(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = task.parent.parent
    image, _, geometry = make_volume(71)
    write_image(root / "in" / "NEW_71_0000.nii.gz", image * 5000, geometry=geometry)
    assert predict.main(["-i", "in", "-in", "clicks", "-o", "out", "--segmenter", "suv2.5"]) == 1
    assert "NEW_71: suv2.5 needs SUV" in capsys.readouterr().err
    assert sorted(path.name for path in (root / "out").glob("*.nii.gz")) == ["NEW_70.nii.gz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--segmenter", "threshold42"], "choose from"),
        (["--segmenter", ""], "choose from"),
        (["-i", "in", "-o", "out", "--segmenter", "nestle"], "name the folder of click files with -in"),
        (["--segmenter", "nestle", "--folds", "0"], "--folds has no effect on --segmenter nestle"),
        (["--segmenter", "nestle", "--save-probabilities"], "--save-probabilities has no effect"),
        (["--segmenter", "nestle", "--nninteractive", "model"], "--nninteractive has no effect"),
        (["-i", "in", "-o", "out", "--segmenter", "nestle", "--interactive"], "--interactive has no effect"),
    ],
)
def test_arguments_that_do_not_belong_together(
    task: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        predict.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (task.parent.parent / "out").exists()


def test_a_task_without_any_clicks_is_refused(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(["--segmenter", "ellipsoid"]) == 1
    said = capsys.readouterr().err
    assert "ellipsoid segments what was clicked on, and none of the 1 images has a click file" in said
    assert "Traceback" not in said


def test_volumes_are_no_pictures(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-i", "in", "-in", "clicks", "-o", "out", "--segmenter", "nestle", "--format", ".png"]
    assert predict.main(arguments) == 1
    assert "is no picture; choose --format .nii.gz" in capsys.readouterr().err
