"""The starter model is made by one command, which resumes, and says in its card how it was made."""

from pathlib import Path

import pytest

from interactivepet.model.archive import extract_archive
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.starter import OVERRIDES, StarterSize, run_train_starter

SIZE = StarterSize(n_patients=20, epochs=1, iterations=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starter")
    return run_train_starter(folder, SIZE, seed=3, n_cores=1)


def test_the_model_says_how_it_was_made(made: Path, tmp_path: Path) -> None:
    extract_archive(made, tmp_path / "model")
    model = open_folder(tmp_path / "model")
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()

    assert model.manifest.name == "starter"
    assert model.description.licence.startswith("MIT")
    assert "--n-patients 20 -e 1 --iterations 2 --seed 3" in card
    assert "digital patients alone" in card
    assert str(made.parent) not in card


def test_the_plan_is_the_starters(made: Path, tmp_path: Path) -> None:
    extract_archive(made, tmp_path / "model")
    plans = open_folder(tmp_path / "model").description.plans
    plan = plans.plan(plans.default)

    assert plan.guidance.encoding == "ellipsoid"
    assert plan.spacing_mm == (4.0, 4.0, 4.0)
    assert [rule.scheme for rule in plan.normalisation] == ["zscore"]
    assert plan.channels == ("PET",)
    assert f"patch_size={','.join(map(str, plan.patch_size))}" in OVERRIDES


def test_the_same_call_again_changes_nothing(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.parent.rglob("*") if path.is_file()}

    again = run_train_starter(made.parent, SIZE, seed=3, n_cores=1)

    assert again == made
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert not {"starter.zip", "weights.pt", "card.json", "dataset.json"} & changed
