"""The commands as a user types them, on the tiny task."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from interactivepet.cli import (
    evaluate,
    generate_dataset_json,
    mimic_interactions,
    plan_and_process,
    predict,
    train,
    verify,
)
from interactivepet.cli import test as test_command
from interactivepet.cli.common import report_errors
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.write import write_image
from interactivepet.inference import network
from tests.tiny import TASK, open_tiny, write_tiny_task
from tests.whole_body import make_whole_body

Use = Callable[[Path], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Use:
    """Point the environment to a root folder, and work in an empty folder without `.env`."""
    monkeypatch.chdir(tmp_path)

    def set_root(root: Path) -> None:
        for name in ("raw", "processed", "results"):
            monkeypatch.setenv(f"interactivepet_{name}", str(root / name))
        monkeypatch.setenv("interactivepet_n_proc", "1")
        monkeypatch.delenv("interactivepet_task", raising=False)

    return set_root


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_chose(
    given: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    seen = []

    @report_errors
    def run(_: object) -> int:
        seen.append(os.environ["OMP_WAIT_POLICY"])
        return 0

    run([])
    assert seen == [used]


@pytest.mark.slow
def test_the_first_half_of_the_walk(use: Use, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_task(tmp_path / "raw")
    use(tmp_path)
    assert generate_dataset_json.main(["-m", "PET", "-l", "lesion"]) == 0
    assert "6 training and 1 test cases" in capsys.readouterr().out
    assert verify.main([]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert mimic_interactions.main(["--negative", "2", "--noise-mm", "1", "-s", "3"]) == 0
    assert "6 click files written" in capsys.readouterr().out
    clicks = json.loads((tmp_path / "raw" / TASK / "interactionsTr" / "TINY_000.mrk.json").read_text())
    assert len(clicks["markups"][0]["controlPoints"]) == 8
    assert plan_and_process.main(["-f", "3", "-v"]) == 0
    shown = capsys.readouterr().out
    assert "guidance" in shown
    assert "plans.json" in shown
    workspace = open_tiny(tmp_path)
    assert len(list(workspace.snapshots.glob("*.png"))) == 6


def test_every_problem_is_listed_and_the_status_is_1(
    use: Use, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tiny_task(tmp_path / "raw")
    use(tmp_path)
    generate_dataset_json.main(["-m", "PET", "-l", "lesion"])
    image = nib.load(folder / "imagesTr/TINY_003_0000.nii.gz")
    values = image.get_fdata(dtype=np.float32)
    values[1, 1, 1] = np.nan
    nib.save(nib.Nifti1Image(values, image.affine), folder / "imagesTr/TINY_003_0000.nii.gz")
    (folder / "labelsTr/TINY_004.nii.gz").unlink()
    capsys.readouterr()
    assert verify.main([]) == 1
    shown = capsys.readouterr().out
    for word in ("TINY_003", "nan", "TINY_004", "missing-file"):
        assert word in shown


def test_an_error_is_one_message_without_traceback(
    use: Use, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_task(tmp_path / "raw")
    use(tmp_path)
    assert verify.main(["-t", TASK]) == 1
    message = capsys.readouterr().err
    assert "interactivepet_generate_dataset_json" in message
    assert "Traceback" not in message


def test_a_missing_variable_shows_the_line_to_add(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    assert verify.main([]) == 1
    assert 'export interactivepet_raw="~/InteractivePET/raw"' in capsys.readouterr().err


def test_a_complete_fold_is_left_as_it_is(use: Use, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(copied)
    weights = open_tiny(copied).fold("3d_fullres", 0) / "weights.pt"
    before = weights.stat().st_mtime_ns
    assert train.main(["-f", "0", "-e", "2", "--iterations", "3"]) == 0
    assert weights.stat().st_mtime_ns == before
    assert "out-of-fold" in capsys.readouterr().out


def test_a_fold_that_does_not_exist_is_named(use: Use, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(copied)
    assert train.main(["-f", "7"]) == 1
    assert "folds 0 to 2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["-f", "first"])


def test_predicting_a_folder_in_another_format_keeps_the_grid(
    use: Use, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(copied)
    workspace = open_tiny(copied)
    images, clicks, out = tmp_path / "new images", tmp_path / "clicks", tmp_path / "out"
    images.mkdir()
    clicks.mkdir()
    source = SimpleITK.ReadImage(str(workspace.raw / "imagesTs/TINY_006_0000.nii.gz"))
    SimpleITK.WriteImage(source, str(images / "Ümlaut 1_0000.nrrd"))
    shutil.copy(workspace.raw / "interactionsTs/TINY_006.mrk.json", clicks / "Ümlaut 1.mrk.json")
    command = ["-i", str(images), "-in", str(clicks), "-o", str(out), "--format", ".nrrd", "--no-tta"]
    assert predict.main([*command, "--folds", "0", "2", "--save-probabilities"]) == 0
    mask = SimpleITK.ReadImage(str(out / "Ümlaut 1.nrrd"))
    written = SimpleITK.ReadImage(str(images / "Ümlaut 1_0000.nrrd"))
    assert mask.GetOrigin() == written.GetOrigin()
    assert mask.GetSpacing() == written.GetSpacing()
    assert mask.GetDirection() == written.GetDirection()
    log = json.loads((out / "predictions.json").read_text())
    assert log["n_clicks"] == {"Ümlaut 1": 6}
    assert log["models"].startswith("3d_fullres fold_0 fold_2 (")
    probabilities = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / "probabilities" / "Ümlaut 1.nii.gz")))
    assert 0 <= probabilities.min() <= probabilities.max() <= 1


def test_air_that_was_skipped_is_told(
    use: Use, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(copied)
    monkeypatch.setattr(network, "FEWEST_TILES", 1)
    images, out = tmp_path / "images", tmp_path / "out"
    uptake = make_whole_body().uptake[None, ::2, ::2, ::2]
    grid = Geometry(uptake.shape[1:], np.diag([6.0, 6.0, 7.0, 1.0]))
    write_image(images / "BODY_0000.nii.gz", uptake, geometry=grid)
    command = ["-i", str(images), "-o", str(out), "--folds", "0"]
    assert predict.main(command) == 0
    shown = capsys.readouterr().out
    skipped = json.loads((out / "predictions.json").read_text())["skipped"]["BODY"]
    assert 0 < skipped < 1
    assert f"air was skipped in 1 of them: {100 * skipped:.0f} % of the networks' runs" in shown
    # a log of an earlier version does not have the field
    log = json.loads((out / "predictions.json").read_text())
    del log["skipped"]
    (out / "predictions.json").write_text(json.dumps(log))
    written = (out / "BODY.nii.gz").stat().st_mtime_ns
    assert predict.main(command) == 0
    assert (out / "BODY.nii.gz").stat().st_mtime_ns == written
    assert "air was skipped" not in capsys.readouterr().out


def test_clicks_outside_of_the_image_are_refused(
    use: Use, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(copied)
    path = open_tiny(copied).clicks_folder(test=True) / "TINY_006.mrk.json"
    content = json.loads(path.read_text())
    content["markups"][0]["controlPoints"][0]["position"] = [9999.0, 0.0, 0.0]
    path.write_text(json.dumps(content))
    assert predict.main(["--no-tta"]) == 1
    assert re.search(r"TINY_006: .*click", capsys.readouterr().err)


def test_evaluating_a_folder_and_the_cross_validation(
    use: Use, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(copied)
    workspace = open_tiny(copied)
    assert evaluate.main([]) == 0
    assert "cross-validation with margin points" in capsys.readouterr().out
    labels = workspace.raw / "labelsTr"
    assert evaluate.main(["-p", str(labels), "-o", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["mean_dice"] == 1.0
    assert len(report["cases"]) == 6


def test_testing_again_predicts_nothing_anew(use: Use, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(copied)
    mask = open_tiny(copied).predictions / "TINY_006.nii.gz"
    before = mask.stat().st_mtime_ns
    assert test_command.main(["--no-tta"]) == 0
    assert mask.stat().st_mtime_ns == before
    mask.unlink()
    assert test_command.main(["--no-tta"]) == 0
    assert mask.is_file()


def test_masks_never_replace_images_and_a_missing_clicks_folder_is_named(
    use: Use, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(copied)
    images = tmp_path / "new"
    images.mkdir()
    shutil.copy(open_tiny(copied).raw / "imagesTs/TINY_006_0000.nii.gz", images)
    assert predict.main(["-i", str(images), "-o", str(images)]) == 1
    assert "would replace" in capsys.readouterr().err
    assert predict.main(["-i", str(images), "-in", str(tmp_path / "nothere"), "-o", str(tmp_path / "out")]) == 1
    assert "nothere is not there" in capsys.readouterr().err
    assert [path.name for path in images.iterdir()] == ["TINY_006_0000.nii.gz"]


def test_a_report_on_masks_of_other_folds_is_refused(
    use: Use, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(copied)
    card = open_tiny(copied).card("3d_fullres", 1)
    card.write_text(card.read_text().replace('"tta": false', '"tta": true'))
    assert evaluate.main([]) == 1
    assert "interactivepet_postprocessing" in capsys.readouterr().err
