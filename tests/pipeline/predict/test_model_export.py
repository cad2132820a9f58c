"""A trained task as one file: what travels, and that it predicts elsewhere as the task does here."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import export_model, install_model, models, predict
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image, write_text
from interactivepet.errors import ArtefactError, ModelError
from interactivepet.model.folder import open_model
from interactivepet.pipeline.predict.model_export import run_model_export
from tests.tiny import TASK, make_volume, open_tiny

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
    for told in ("labels: lesion = 1", "channels: PET", "extreme ", "licence: trained on the user's own data"):
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
