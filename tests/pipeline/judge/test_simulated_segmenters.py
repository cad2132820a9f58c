"""Classical methods answer a simulated user on a task that nobody planned or trained; other words are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interactivepet.cli import generate_dataset_json
from interactivepet.cli.simulate import main
from interactivepet.core.classical import CLASSICAL_METHODS
from interactivepet.pipeline.judge import simulate as simulate_module
from tests.tiny import TASK, write_tiny_task

SOME = ["--clicks", "2", "--cases", "TINY_000", "TINY_001"]


@pytest.fixture
def results(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of simulations of a task with images, labels and `dataset.json` alone; nothing is tracked."""
    monkeypatch.setattr(simulate_module, "track_simulation", lambda *arguments, **options: None)
    write_tiny_task(raw, n_training=2)
    assert generate_dataset_json.main(["-m", "PET", "-l", "lesion"]) == 0
    return raw.parent / "results" / TASK / "simulation"


@pytest.mark.parametrize("method", [name for name in CLASSICAL_METHODS if name != "percist"])
def test_a_classical_method_needs_no_plan_and_no_fold(results: Path, method: str) -> None:
    assert main(["--segmenter", method, "--start", "extreme", *SOME]) == 0
    found = sorted(results.iterdir())
    assert [path.name for path in found] == [f"{method}-perfect-extreme-2clicks"]
    simulation = json.loads((found[0] / "simulation.json").read_text())
    assert simulation["provenance"].startswith(f"{method} (a rule, no weights). Begun with the interior margin points")
    assert "fitted to no case" in simulation["provenance"]
    assert simulation["n_disobeyed"] == 0
    curves = {curve["metric"]: curve["points"] for curve in simulation["curves"]}
    # the blobs have an uptake of 4.5, part of which lies below 4 for noise
    assert curves["dice"][0]["mean"] > (0.7 if method != "suv4" else 0.6)


def test_masks_of_another_method_are_not_taken_for_these(results: Path) -> None:
    assert main(["--segmenter", "threshold41", "--name", "same", *SOME]) == 0
    before = (results / "same" / "simulation.json").read_text()
    assert main(["--segmenter", "threshold41", "--name", "same", *SOME]) == 0
    assert (results / "same" / "simulation.json").read_text() == before
    assert main(["--segmenter", "ellipsoid", "--name", "same", *SOME]) == 0
    assert (results / "same" / "simulation.json").read_text() != before


@pytest.mark.parametrize("word", ["threshold42", "suv", "SUV2.5", "Nestle", "our", "threshold 41", "watershed {image}"])
def test_another_word_is_refused_with_the_names(results: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main(["--segmenter", word, *SOME]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {word!r} is none of ours, nninteractive, ensemble, threshold41, threshold50,")
    assert all(name in said for name in CLASSICAL_METHODS)
    assert "{mask}" in said
    assert not results.exists()


def test_a_fixed_suv_is_refused_where_the_image_is_no_pet(
    raw: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / TASK / "dataset.json").unlink()
    assert generate_dataset_json.main(["-m", "CT", "-l", "lesion"]) == 0
    assert main(["--segmenter", "suv2.5", "--start", "extreme", *SOME]) == 1
    assert "TINY_000: suv2.5 needs SUV, and the first channel is CT" in capsys.readouterr().err
    assert main(["--segmenter", "nestle", "--start", "extreme", *SOME]) == 0
