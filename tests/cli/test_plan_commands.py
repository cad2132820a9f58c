from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from interactivepet.cli import compare_plans, plan_and_process
from interactivepet.dataset.files.write import write_artefact
from interactivepet.model.installed import install_model
from interactivepet.planning.plan import make_plans
from tests.model.models import write_model
from tests.planning.factory import make_fingerprint
from tests.planning.test_compare import THEIRS
from tests.planning.test_nnunet import make_content


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def fingerprint(tmp_path: Path) -> Path:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text(json.dumps(make_content()))
    return path


def test_a_fingerprint_is_planned_without_settings(
    fingerprint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "processed", "results"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    arguments = ["--fingerprint", str(fingerprint), "--dry-run", "-m", "CT", "PET", "-l", "lesion", "-a", "residual"]
    assert plan_and_process.main([*arguments, "--set", "training.batch_size=3", "--budget", "8gb"]) == 0
    shown = capsys.readouterr().out
    assert "3d_fullres, budget 8gb, the default" in shown
    assert "normalisation of PET" in shown
    assert "residual" in shown
    assert [path.name for path in fingerprint.parent.iterdir()] == [fingerprint.name]


@pytest.mark.parametrize("arguments", [["--fingerprint", "x.json"], ["-m", "CT"], ["--dry-run", "-l", "tumour"]])
def test_options_that_belong_together_are_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan_and_process.main(arguments)
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["-m", "CT"], ["-l", "lesion"]])
def test_a_fingerprint_of_the_projects_own_keeps_its_names(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fingerprint.json"
    write_artefact(path, make_fingerprint())
    assert plan_and_process.main(["--fingerprint", str(path), "--dry-run", *names]) == 1
    assert "leave out -m and -l" in capsys.readouterr().err
    assert plan_and_process.main(["--fingerprint", str(path), "--dry-run"]) == 0


def test_the_layers_of_a_model_are_planned_by_its_path_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fingerprint.json"
    write_artefact(path, make_fingerprint())
    model, store = write_model(tmp_path / "small.zip"), tmp_path / "models"
    monkeypatch.setenv("interactivepet_models", str(store))
    install_model(model, store, name="starter")
    for name in (str(model), "starter"):
        assert plan_and_process.main(["--fingerprint", str(path), "--dry-run", "-a", name]) == 0
        assert re.search(r"architecture +│? *plain, layers of small", capsys.readouterr().out)
    assert plan_and_process.main(["--fingerprint", str(path), "--dry-run", "-a", "plian"]) == 1
    assert "none of plain, residual, unetr, swinunetr and no model: plian is neither" in capsys.readouterr().err


def test_an_override_that_is_not_understood_ends_with_the_nearest(
    fingerprint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_and_process.main(["--fingerprint", str(fingerprint), "--dry-run", "--set", "patchsize=8,8,8"]) == 1
    assert "did you mean patch_size?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_of_a_task_shows_what_it_will_take(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(copied / name))
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert plan_and_process.main(["--dry-run", "-np", "1", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    for row in ("preprocessed cases", "memory of a preprocessing process", "memory of a training step", "an epoch"):
        assert row in shown
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == before


def test_two_plans_are_shown_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    write_artefact(ours, make_plans(make_fingerprint(shape=(24, 200, 190), spacings=((5.0, 1.0, 1.0),) * 5), "8gb"))
    theirs.write_text(json.dumps(THEIRS))
    assert compare_plans.main([str(ours), str(theirs), "-c", "3d_fullres"]) == 0
    shown = capsys.readouterr().out
    assert "2d" not in shown
    (row,) = [line for line in shown.splitlines() if "spacing in mm" in line]
    assert "*" in row
    assert "1.00 x 4.00 x 3.00" in row
    assert compare_plans.main([str(ours), str(ours), "--differences"]) == 0
    assert "spacing" not in capsys.readouterr().out


def test_a_configuration_that_one_side_lacks_is_a_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    write_artefact(ours, make_plans(make_fingerprint(shape=(400, 400, 300), spacings=((2.0, 2.0, 3.0),) * 5), "8gb"))
    theirs.write_text(json.dumps(THEIRS))
    assert compare_plans.main([str(ours), str(theirs)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"2d: not in {ours}" in shown
    assert f"3d_lowres: not in {theirs}" in shown
    assert sum("spacing in mm" in line for line in shown) == 1
    assert compare_plans.main([str(theirs), str(ours), "-c", "3d_lowres"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"3d_lowres: not in {theirs}"]


def test_plans_that_cannot_be_compared_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(THEIRS))
    assert compare_plans.main([str(path), str(path), "-c", "3d_lowres"]) == 1
    assert "there is 2d, 3d_fullres" in capsys.readouterr().err
    path.write_text("[1]")
    assert compare_plans.main([str(path), str(path)]) == 1
    assert "holds no plan" in capsys.readouterr().err
    path.write_text("{")
    assert compare_plans.main([str(path), str(path)]) == 1
    assert compare_plans.main([str(tmp_path / "none.json"), str(path)]) == 1


@pytest.mark.parametrize("text", ["foo", "0", "1.5", "nan"])
def test_a_share_of_negatives_that_cannot_be_is_explained(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan_and_process.main(["--negatives", text])
    assert f"{text} is neither keep, exclude nor a share between 0 and 1" in capsys.readouterr().err
