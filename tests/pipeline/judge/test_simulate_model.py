"""A simulated user corrects a model on folders of cases, with none of a task's three folders set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli.simulate import main
from interactivepet.core.simulation import SimulatedCase, Simulation
from interactivepet.dataset.files.write import read_artefact, write_image, write_mask
from interactivepet.pipeline.predict.model_export import ModelExportOptions, run_model_export
from tests.pipeline.predict.test_model_export import train_promptable
from tests.tiny import TASK, make_volume, open_tiny

FAST = ["--no-tta", "--device", "cpu", "--clicks", "1"]
FOLDERS = ["-i", "images", "-l", "labels", "-o", "out"]


@pytest.fixture(scope="module")
def archive(finished: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.zip"
    run_model_export(open_tiny(finished[0]), path, options=ModelExportOptions(precision="float32"))
    return path


def write_cases(folder: Path, *, n: int = 2) -> None:
    for number in range(n):
        image, label, geometry = make_volume(70 + number)
        write_image(folder / "images" / f"NEW_{number}_0000.nii.gz", image, geometry=geometry)
        write_mask(folder / "labels" / f"NEW_{number}.nii.gz", label, geometry=geometry)


@pytest.fixture
def model(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The option of a model in a folder with two cases, of a user without any task."""
    for name in ("raw", "processed", "results", "task"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path)
    return ["--model", str(archive)]


def read_summary(folder: str = "out") -> Simulation:
    return read_artefact(Path(folder) / "simulation.json", Simulation, command="")


def test_all_folds_answer_and_finished_cases_are_kept(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*model, *FOLDERS, *FAST, "--start", "extreme"]
    assert main(arguments) == 0
    assert f"report: {Path('out') / 'report.html'}" in capsys.readouterr().out
    found = read_summary()
    assert (found.task, found.n_cases, found.n_clicks) == ("tiny", 2, (6.0, 7.0))
    assert (found.system, found.answered_by) == ("ours", "")
    assert "Whether the model was trained on these cases is not known" in found.provenance
    case = read_artefact(Path("out/cases/NEW_0.json"), SimulatedCase, command="")
    assert case.fold is None
    assert "fold_0 fold_1 fold_2" in case.models
    shown = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert shown == {"cases", "curves.png", "report.html", "simulation.json"}
    before = {path.name: path.stat().st_mtime_ns for path in Path("out/cases").iterdir()}
    assert main(arguments) == 0
    assert {path.name: path.stat().st_mtime_ns for path in Path("out/cases").iterdir()} == before
    assert main([*arguments, "--folds", "1"]) == 0
    assert all(path.stat().st_mtime_ns != before[path.name] for path in Path("out/cases").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"images", "labels", "out", ".interactivepet", ".config"}


def test_cases_of_training_are_told(model: list[str], finished: tuple[Path, object]) -> None:
    raw = finished[0] / "raw" / TASK
    folders = ["-i", str(raw / "imagesTr"), "-l", str(raw / "labelsTr"), "-o", "out"]
    assert main([*model, *folders, *FAST, "--cases", "TINY_000"]) == 0
    assert f"trained on {TASK}, and these images lie in a folder of this name" in read_summary().provenance


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--segmenter", "ensemble"], "All folds answered together"),
        (["--segmenter", "nestle", "--start", "extreme"], "nestle (a rule, no weights)"),
    ],
)
def test_other_systems_answer_for_the_same_folders(options: list[str], told: str, model: list[str]) -> None:
    assert main([*model, *FOLDERS, *FAST, *options]) == 0
    assert told in read_summary().provenance


def leave_labels_out(folder: Path) -> None:
    shutil.rmtree(folder / "labels")


def rename_labels(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        path.rename(path.with_name(f"mask_{path.name}"))


def add_label_value(folder: Path) -> None:
    _, label, geometry = make_volume(70)
    label[0, 0, 0] = 7
    write_mask(folder / "labels" / "NEW_0.nii.gz", label, geometry=geometry)


def move_label(folder: Path) -> None:
    _, label, geometry = make_volume(71)
    write_mask(folder / "labels" / "NEW_0.nii.gz", label, geometry=geometry)


def leave_images_out(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()


WRONG: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no folder of labels": (leave_labels_out, [], "labels is no folder; name the folders of images and of their"),
    "labels of other names": (rename_labels, [], "labels: no label for any of the 2 images of images, such as NEW_0"),
    "a label that the model does not know": (
        add_label_value,
        [],
        "NEW_0: the label has the value 7, expected 0, 1 (le",
    ),
    "a label on another grid": (move_label, [], "NEW_0: label"),
    "no image": (leave_images_out, [], "images: no images, expected CASE.nii.gz"),
    "an unknown case": (
        lambda _: None,
        ["--cases", "NEW_9"],
        "NEW_9: no image in images with a label of the same name",
    ),
    "a fold that is not there": (lambda _: None, ["--folds", "7"], "fold 7 of 3d_fullres is not in the model"),
    "nnInteractive that is not there": (lambda _: None, ["--segmenter", "nninteractive"], "no nnInteractive to ask"),
    "fixed clicks that are not there": (
        lambda folder: (folder / "clicks").mkdir(),
        ["--fixed", "clicks"],
        "NEW_0: no click file in clicks",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_error(
    name: str, model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, options, message = WRONG[name]
    change(tmp_path)
    assert main([*model, *FOLDERS, *FAST, *options]) == 1
    assert message in capsys.readouterr().err
    assert not Path("out/simulation.json").exists()


USAGE = {
    "a model without folders": (["--model", "m"], "--model needs -i FOLDER and -l FOLDER for the cases, and -o FOLDER"),
    "a model without labels": (["--model", "m", "-i", "a", "-o", "b"], "--model needs -i FOLDER and -l FOLDER"),
    "a model and a task": (["--model", "m", "-t", "T", *FOLDERS], "not allowed with argument"),
    "folders and a task": (["-t", "T", "-i", "images"], "-i, -l and -o go with --model"),
    "an output and no model": (["-o", "out"], "-i, -l and -o go with --model"),
    "test cases of a model": (["--model", "m", *FOLDERS, "--test"], "--test and --name go with a task"),
    "a name of a model's results": (["--model", "m", *FOLDERS, "--name", "x"], "--test and --name go with a task"),
}


@pytest.mark.parametrize("name", USAGE)
def test_options_that_exclude_each_other(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = USAGE[name]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_model_without_a_choice_has_no_ensemble(copied: Path, model: list[str], tmp_path: Path) -> None:
    workspace = open_tiny(copied)
    workspace.ensemble.unlink()
    run_model_export(workspace, tmp_path / "plain.zip", options=ModelExportOptions(precision="float32"))
    arguments = ["--model", str(tmp_path / "plain.zip"), *FOLDERS, *FAST]
    assert main([*arguments, "--segmenter", "ensemble"]) == 1
    assert main([*arguments, "--cases", "NEW_1"]) == 0
    assert json.loads(Path("out/simulation.json").read_text())["n_cases"] == 1


def test_cases_in_place_are_those_of_the_files(model: list[str]) -> None:
    """A label that changes is simulated again, and only that."""
    assert main([*model, *FOLDERS, *FAST]) == 0
    before = {path.name: path.stat().st_mtime_ns for path in Path("out/cases").iterdir()}
    _, label, geometry = make_volume(71)
    write_mask(Path("labels/NEW_1.nii.gz"), np.zeros_like(label), geometry=geometry)
    assert main([*model, *FOLDERS, *FAST]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in Path("out/cases").iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["NEW_1.json"]
    assert read_summary().n_lesion_free == 1


def test_the_promptable_model_in_the_file_answers(
    copied: Path, model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_tiny(copied)
    train_promptable(workspace)
    options = ModelExportOptions(promptable=True, precision="float32")
    run_model_export(workspace, tmp_path / "both.zip", options=options)
    arguments = ["--model", "both.zip", *FOLDERS, *FAST, "--segmenter", "nninteractive", "--cases", "NEW_0"]
    assert main([*arguments, "--nninteractive", "off"]) == 1
    assert "no nnInteractive to ask" in capsys.readouterr().err
    assert main(arguments) == 0
    assert read_summary().provenance.startswith("nnInteractive both_promptable (CC0)")
    assert read_summary().n_cases == 1
