from __future__ import annotations

import json
from pathlib import Path

import pytest

from interactivepet.cli import simulate
from interactivepet.core.operators import OperatorStudy
from interactivepet.core.simulation import SimulatedCase
from interactivepet.pipeline.judge import operators
from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
from tests.tiny import TASK, open_tiny, write_tiny_task

pytestmark = pytest.mark.slow

ARGUMENTS = ["-t", TASK, "--segmenter", "threshold41", "--clicks", "1", "--start", "extreme"]


@pytest.fixture
def root(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cases of a task that was neither planned nor trained, which methods without training need not."""
    monkeypatch.setattr(operators, "CLASSICAL_METHODS", ("threshold41", "suv4", "ellipsoid"))
    write_tiny_task(raw, n_training=2, n_test=0)
    run_generate_dataset_json(open_tiny(raw.parent), channels=["PET"], labels=["lesion"])
    return raw.parent


def test_operators_are_compared_with_methods_without_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main([*ARGUMENTS, "--user", "noisy", "--repeats", "2"]) == 0
    assert "CV of volume" in capsys.readouterr().out
    folder = root / "results" / TASK / "simulation"
    name = "threshold41-noisy-extreme-1clicks"
    study = OperatorStudy.model_validate_json((folder / name / "operators.json").read_text(encoding="utf-8"))
    assert study.seeds == (0, 1)
    assert [spread.system for spread in study.spreads] == [name, "suv4", "ellipsoid"]
    assert all((spread.n_cases, len(spread.points)) == (2, 2) for spread in study.spreads)
    # an ellipsoid follows the clicks, a threshold hardly
    last = {spread.system: spread.points[-1] for spread in study.spreads}
    assert (last["ellipsoid"].volume_cv_percent or 0) > (last[name].volume_cv_percent or 0)
    first, second = (
        SimulatedCase.model_validate_json((folder / one / "cases" / "TINY_000.json").read_text(encoding="utf-8"))
        for one in (name, f"{name}-operator2")
    )
    assert first.steps[0].added != second.steps[0].added
    assert first.steps[0].volume_ml
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("cases/*.json")}
    assert simulate.main([*ARGUMENTS, "--user", "noisy", "--repeats", "2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("cases/*.json")} == before


def test_methods_that_the_images_do_not_allow_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = root / "raw" / TASK / "dataset.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"PET"', '"CT"'), encoding="utf-8")
    assert simulate.main([*ARGUMENTS, "--user", "hurried", "--repeats", "2", "--cases", "TINY_001"]) == 0
    (path,) = (root / "results" / TASK / "simulation").glob("*/operators.json")
    systems = {spread["system"] for spread in json.loads(path.read_text(encoding="utf-8"))["spreads"]}
    assert "suv4" not in systems
    assert "ellipsoid" in systems
    assert "without suv4" in caplog.text


@pytest.mark.parametrize("user", [["--user", "perfect"], [], ["--fixed", "folder"]])
def test_users_that_never_differ_are_refused(user: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        simulate.main(["-t", TASK, *user, "--repeats", "2"])
    assert stopped.value.code == 2
    assert "--repeats needs a --user whose clicks differ" in capsys.readouterr().err
