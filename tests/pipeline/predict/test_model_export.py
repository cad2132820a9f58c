"""A trained task as one file: what travels, and that it predicts elsewhere as the task does here."""

from __future__ import annotations

import getpass
import json
import logging
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.cli import export_model, install_model, models, predict
from interactivepet.core.ensemble import CandidateScore, EnsembleRule
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image, write_text
from interactivepet.errors import ArtefactError, MissingArtefactError, ModelError
from interactivepet.model.folder import open_model
from interactivepet.networks.build import build_network
from interactivepet.pipeline.judge.simulate import SimulationOptions, run_simulation
from interactivepet.pipeline.predict import model_precision
from interactivepet.pipeline.predict.model_export import ModelExportOptions, run_model_export
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.train.promptable_folder import run_promptable_export
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.checkpoint import save_weights
from tests.pipeline.train.test_promptable_folder import make_card
from tests.tiny import TASK, make_options, make_volume, open_tiny
from tests.training.promptable.conftest import make_promptable_plan

FAST = ["--no-tta", "--device", "cpu"]
FOLDERS = ("raw", "processed", "results")


def enter_task(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOLDERS:
        monkeypatch.setenv(f"interactivepet_{name}", str(root / name))
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.delenv("interactivepet_task", raising=False)


def leave_task(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to another home and working directory, without any folder of tasks."""
    (home / "work").mkdir(parents=True)
    for name in FOLDERS:
        monkeypatch.delenv(f"interactivepet_{name}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")


@pytest.fixture
def archive(finished: tuple[Path, object], tmp_path: Path) -> Path:
    run_model_export(open_tiny(finished[0]), tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


def write_new(folder: Path) -> Path:
    image, _, geometry = make_volume(70)
    write_image(folder / "new.nii.gz", image, geometry=geometry)
    return folder / "new.nii.gz"


def test_nothing_of_the_task_but_its_name_travels(finished: tuple[Path, object], archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    cases = {path.name.removesuffix("_0000.nii.gz") for path in (finished[0] / "raw" / TASK).rglob("*_0000.nii.gz")}
    assert len(cases) == 7
    for word in (*cases, "TINY_", str(finished[0]), str(tmp_path), str(Path.home())):
        assert word.encode() not in content, word
    with zipfile.ZipFile(archive) as opened:
        # names of machines and users may be as short as any two bytes of a number
        texts = [opened.read(name).partition(b"\0\0\0\0")[0] for name in opened.namelist()]
        texts += [opened.read(name)[8:2000] for name in opened.namelist() if name.endswith(".safetensors")]
        for word in (socket.gethostname(), getpass.getuser()):
            assert not [text for text in texts if re.search(rf"\b{re.escape(word)}\b".encode(), text)], word
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        description = json.loads(opened.read("model.json"))
        assert "candidates" not in {key for c in description["rule"]["choices"].values() for key in c if c[key]}
        card = opened.read("MODEL_CARD.md").decode()
    for told in ("| lesion | 1 |", "| PET |", "SUV", "nested estimate", "voxels of", "## Licence of the weights"):
        assert told in card


def test_the_same_task_gives_the_same_file(finished: tuple[Path, object], archive: Path, tmp_path: Path) -> None:
    run_model_export(open_tiny(finished[0]), tmp_path / "deep" / "tiny.zip")
    assert (tmp_path / "deep" / "tiny.zip").read_bytes() == archive.read_bytes()


def test_it_predicts_elsewhere_what_the_task_predicts(
    finished: tuple[Path, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = write_new(tmp_path / "in")
    x, y, z = make_volume(70)[2].to_mm(np.array([[10.0, 10.0, 10.0]]))[0].tolist()
    write_text(tmp_path / "clicks" / "new.csv", f"x,y,z,label\n{x},{y},{z},1\n")
    clicked = ["-in", str(tmp_path / "clicks"), "--frame", "ras", "--save-probabilities"]
    enter_task(finished[0], monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert predict.main(["-i", str(image), "-o", str(tmp_path / "here.nii.gz"), *FAST]) == 0
    assert predict.main(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "task"), *clicked, *FAST]) == 0
    assert export_model.main(["-o", str(tmp_path / "tiny.zip")]) == 0
    leave_task(tmp_path / "home", monkeypatch)
    assert install_model.main([str(tmp_path / "tiny.zip")]) == 0
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    for told in (
        "labels: lesion = 1",
        "channels: PET",
        "6 margin points: 0.",
        "licence: trained on the user's own data",
    ):
        assert told in shown
    with zipfile.ZipFile(tmp_path / "tiny.zip") as opened:
        opened.extractall(tmp_path / "folder")
    here = read_mask(tmp_path / "here.nii.gz")[0]
    assert here.any()
    for number, model in enumerate((str(tmp_path / "tiny.zip"), str(tmp_path / "folder"), "tiny")):
        out = Path(f"out{number}")
        assert predict.main(["--model", model, "-i", str(image), "-o", f"{out}.nii.gz", *FAST]) == 0
        assert np.array_equal(read_mask(Path(f"{out}.nii.gz"))[0], here)
        assert predict.main(["--model", model, "-i", str(image.parent), "-o", str(out), *clicked, *FAST]) == 0
        for name in ("new.nii.gz", "probabilities/new.nii.gz"):
            assert (out / name).read_bytes() == (tmp_path / "task" / name).read_bytes()


def test_a_model_answers_click_by_click(archive: Path, tmp_path: Path) -> None:
    image = write_new(tmp_path / "in")
    code = "import sys; from interactivepet.cli.predict import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["--model", str(archive), "-i", str(image), "-o", "mask.nii.gz", "--interactive", "--frame", "voxel"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *FAST],
        cwd=tmp_path,
        input="+ 10 10 10\nquit\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ready: new" in done.stdout
    assert "1 clicks, unmet: none" in done.stdout
    assert read_mask(tmp_path / "mask.nii.gz")[0][10, 10, 10] == 1


def test_masks_of_the_same_model_are_not_made_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_new(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", str(archive), "-i", "in", "-o", "out", *FAST]
    assert predict.main(arguments) == 0
    first = (tmp_path / "out" / "new.nii.gz").stat().st_mtime_ns
    assert predict.main(arguments) == 0
    assert (tmp_path / "out" / "new.nii.gz").stat().st_mtime_ns == first
    assert predict.main([*arguments, "--folds", "1"]) == 0
    assert (tmp_path / "out" / "new.nii.gz").stat().st_mtime_ns != first


def test_only_the_chosen_folds_travel(finished: tuple[Path, object], tmp_path: Path) -> None:
    run_model_export(open_tiny(finished[0]), tmp_path / "two.zip", folds=[2, 0, 2])
    with open_model(tmp_path / "two.zip") as model:
        model.verify()
        assert [record.fold for record in model.description.folds[model.description.needed[0]]] == [0, 2]
        assert model.description.intensities is not None


@pytest.mark.parametrize("folds", [["7"], ["0", "-1"]])
def test_folds_that_are_not_there(
    folds: list[str], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_new(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", str(archive), "-i", str(image), "-o", "m.nii.gz", "--folds", *folds]
    assert predict.main(arguments) == 1
    assert f"fold {folds[-1]} of 3d_fullres is not in the model; it has 0, 1, 2" in capsys.readouterr().err
    assert not (tmp_path / "m.nii.gz").exists()


@pytest.mark.parametrize("name", ["model", "model.tar", ".zip", "a b.zip", "é.zip"])
def test_a_path_that_is_no_model(name: str, finished: tuple[Path, object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a name such as lesion\.zip"):
        run_model_export(open_tiny(finished[0]), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept(finished: tuple[Path, object], archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(ModelError, match=r"tiny\.zip exists already"):
        run_model_export(open_tiny(finished[0]), archive)
    assert archive.read_bytes() == before


def test_a_fold_that_does_not_exist_leaves_no_file(finished: tuple[Path, object], tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="fold 9 does not exist"):
        run_model_export(open_tiny(finished[0]), tmp_path / "m.zip", folds=[9])
    assert list(tmp_path.iterdir()) == []


def test_the_address_of_a_server_does_not_travel(copied: Path, tmp_path: Path) -> None:
    workspace = open_tiny(copied)
    rule = read_artefact(workspace.ensemble, EnsembleRule, command="")
    write_artefact(workspace.ensemble, rule.model_copy(update={"nninteractive": "http://secret-host:1527"}))
    run_model_export(workspace, tmp_path / "m.zip")
    assert b"secret-host" not in (tmp_path / "m.zip").read_bytes()


def give_share(workspace: Workspace, *, nninteractive: str, share: float = 0.45) -> EnsembleRule:
    """Let nnInteractive have a share in masks with clicks, as if it had been better; the folds alone have 0.4."""
    rule = read_artefact(workspace.ensemble, EnsembleRule, command="")
    choices = dict(rule.choices)
    for mode in ("extreme", "corrected"):
        choice = choices[mode]
        alone = CandidateScore(
            stage="postprocessing",
            fusion=choice.fusion,
            postprocessing=choice.postprocessing,
            dice=0.4,
            fold_dice=(0.4,),
            chosen=False,
        )
        fusion = choice.fusion.model_copy(update={"nninteractive_weight": share})
        choices[mode] = choice.model_copy(update={"fusion": fusion, "candidates": (alone,)})
    rule = rule.model_copy(update={"choices": choices, "nninteractive": nninteractive})
    write_artefact(workspace.ensemble, rule)
    return rule


def train_promptable(workspace: Workspace, *, licence: str = "CC0") -> None:
    """Write a promptable model that marks all that it sees, where a trained one would be.

    nnInteractive's answers of a network with random weights differ from one call to the next.
    """
    plan = make_promptable_plan((64, 64, 64), batch_size=1)
    folder = workspace.promptable_fold("all")
    network = build_network(plan.network, deep_supervision=False)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.zero_()
            if "seg_layers" in name and name.endswith("bias"):
                tensor.copy_(torch.tensor([-5.0, 5.0]))
    sha256 = save_weights(folder / "weights.pt", network)
    card = make_card("all", ["TINY_000", "TINY_001"]).model_copy(
        update={"plan": plan, "weights_sha256": sha256, "licence": licence, "pretrained": "secret-folder"}
    )
    write_artefact(folder / "card.json", card)


def test_a_share_that_does_not_travel_is_told(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = open_tiny(copied)
    give_share(workspace, nninteractive="model (CC0)")
    with caplog.at_level(logging.WARNING):
        description = run_model_export(workspace, tmp_path / "m.zip")
    assert "is not in the file: without --nninteractive MODEL the folds predict alone; --promptable adds" in caplog.text
    assert description.folds_alone == {"extreme": 0.4, "corrected": 0.4}
    assert description.lacks_promptable
    with zipfile.ZipFile(tmp_path / "m.zip") as opened:
        assert "| 0.400 |" in opened.read("MODEL_CARD.md").decode()
    caplog.clear()
    monkeypatch.chdir(tmp_path)
    image = write_new(tmp_path / "in")
    with caplog.at_level(logging.WARNING):
        assert predict.main(["--model", "m.zip", "-i", str(image), "-o", "mask.nii.gz", *FAST]) == 0
    assert "chosen with nnInteractive (not part of the model), which is off" in caplog.text
    assert "name its model with --nninteractive MODEL" in caplog.text


def test_the_promptable_model_travels_and_takes_part(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_tiny(copied)
    train_promptable(workspace)
    give_share(workspace, nninteractive="own (CC0)")
    run_promptable_export(workspace, tmp_path / "own")
    image = write_new(tmp_path / "in")
    x, y, z = make_volume(70)[2].to_mm(np.array([[10.0, 10.0, 10.0]]))[0].tolist()
    write_text(tmp_path / "clicks" / "new.csv", f"x,y,z,label\n{x},{y},{z},1\n")
    clicked = ["-in", str(tmp_path / "clicks"), "--frame", "ras", "--save-probabilities"]
    enter_task(copied, monkeypatch)
    own = ["--nninteractive", str(tmp_path / "own")]
    assert predict.main(["-i", str(image.parent), "-o", str(tmp_path / "task"), *clicked, *own, *FAST]) == 0
    assert export_model.main(["-o", str(tmp_path / "m.zip"), "--promptable", "--weights", "float32"]) == 0
    assert "the task's own promptable model, trained on 2 cases" in capsys.readouterr().out
    assert b"secret-folder" not in (tmp_path / "m.zip").read_bytes()
    assert b"TINY_" not in (tmp_path / "m.zip").read_bytes()
    leave_task(tmp_path / "home", monkeypatch)
    arguments = ["--model", str(tmp_path / "m.zip"), "-i", str(image.parent), *clicked, *FAST]
    assert predict.main([*arguments, "-o", "with"]) == 0
    assert "nnInteractive m_promptable (CC0)" in capsys.readouterr().out
    assert read_probabilities("with") == read_probabilities(tmp_path / "task")
    # the same folder of masks does not vouch for a prediction without it
    assert predict.main([*arguments, "-o", "with", "--nninteractive", "off"]) == 0
    assert "nnInteractive" not in capsys.readouterr().out
    assert read_probabilities("with") != read_probabilities(tmp_path / "task")


def read_probabilities(folder: str | Path) -> bytes:
    return (Path(folder) / "probabilities" / "new.nii.gz").read_bytes()


PROMPTABLE_EXPORTS = {
    "a choice with another model": ("official (CC BY-NC-SA 4.0)", 0.3, "not with the task's own promptable model; run"),
    "a choice without a share": ("own (CC0)", 0.0, "has no share in the choice, so predictions do not use it"),
    "a choice with the same licence": ("own (CC0)", 0.3, ""),
}


@pytest.mark.parametrize("name", PROMPTABLE_EXPORTS)
def test_a_promptable_model_that_was_not_judged_is_told(
    name: str, copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nninteractive, share, message = PROMPTABLE_EXPORTS[name]
    workspace = open_tiny(copied)
    train_promptable(workspace)
    give_share(workspace, nninteractive=nninteractive, share=share)
    with caplog.at_level(logging.WARNING):
        options = ModelExportOptions(promptable=True, precision="float32")
        description = run_model_export(workspace, tmp_path / "m.zip", options=options)
    assert message in caplog.text if message else caplog.text == ""
    assert description.licence.splitlines()[-1] == "CC0"
    with open_model(tmp_path / "m.zip") as model:
        model.verify()


def test_a_promptable_model_that_is_not_trained_is_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="has no promptable model; run interactivepet_train_nninteractive"):
        run_model_export(open_tiny(copied), tmp_path / "m.zip", options=ModelExportOptions(promptable=True))
    assert list(tmp_path.glob("*.zip")) == []


def test_weights_are_halved_only_where_masks_stay_the_same(
    finished: tuple[Path, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, sizes = open_tiny(finished[0]), {}
    masks = {
        "float16": lambda *_: iter([np.zeros((2, 2, 2), np.uint8)]),
        "float32": lambda *_: iter([np.full((2, 2, 2), next(values), np.uint8)]),
    }
    values = iter(range(100))
    for expected, make in masks.items():
        monkeypatch.setattr(model_precision, "_make_masks", make)
        found = run_model_export(workspace, tmp_path / f"{expected}.zip")
        assert found.precision == expected
        sizes[expected] = (tmp_path / f"{expected}.zip").stat().st_size
    assert sizes["float16"] < 0.6 * sizes["float32"]


def test_forced_half_weights_predict_what_rounded_weights_do(
    finished: tuple[Path, object], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_tiny(finished[0])
    options = ModelExportOptions(precision="float16")
    assert run_model_export(workspace, tmp_path / "half.zip", options=options).precision == "float16"
    with open_model(tmp_path / "half.zip") as half, open_model(archive) as whole:
        half.verify()
        (name,) = half.description.needed
        found, expected = half.load_weights(name, 0), whole.load_weights(name, 0)
        assert all(torch.equal(found[key], tensor.half().float()) for key, tensor in expected.items())
    image = write_new(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert predict.main(["--model", "half.zip", "-i", str(image), "-o", "m.nii.gz", *FAST]) == 0


def test_masks_that_cannot_be_compared_keep_float32(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(copied / "raw" / TASK / "imagesTr")
    with caplog.at_level(logging.WARNING):
        assert run_model_export(open_tiny(copied), tmp_path / "m.zip").precision == "float32"
    assert "weights stay float32, as masks cannot be compared" in caplog.text


def test_curves_of_simulated_users_travel(copied: Path, tmp_path: Path) -> None:
    workspace = open_tiny(copied)
    base = SimulationOptions(kind="ours", prediction=PredictionOptions(device="cpu"), n_corrections=1)
    whole = replace(base, start="extreme", name="whole")
    others = [replace(base, cases=("TINY_000",), name="one"), replace(base, fast=True, name="fast")]
    for options in (whole, *others):
        run_simulation(workspace, options=options, tracker=make_options(copied).tracker, n_proc=1)
    description = run_model_export(workspace, tmp_path / "m.zip")
    (curve,) = description.curves
    assert (curve.system, curve.user, curve.start, curve.n_cases) == ("ours", "perfect", "extreme", 6)
    assert curve.n_clicks == (6.0, 7.0)
    assert len(curve.dice) == 2
    # of another choice they say nothing
    give_share(workspace, nninteractive="own (CC0)")
    assert run_model_export(workspace, tmp_path / "other.zip").curves == ()


def test_without_a_choice_the_default_configuration_travels(copied: Path, tmp_path: Path) -> None:
    workspace = open_tiny(copied)
    workspace.ensemble.unlink()
    description = run_model_export(workspace, tmp_path / "m.zip")
    assert description.rule is None
    assert list(description.folds) == [description.plans.default]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "m", "-t", "T", "-i", "a", "-o", "b"], "not allowed with argument"),
        (["--model", "m"], "--model needs -i and -o"),
        (["--model", "m", "--interactive"], "--interactive needs -i IMAGE and -o MASK"),
    ],
)
def test_options_that_exclude_each_other(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
