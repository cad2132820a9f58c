"""A fold starts from a model or from other weights: which are taken, and what the card says of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from interactivepet.core.checkpoint import CheckpointCard, Pretraining
from interactivepet.core.plan import Fold, Plan, Plans
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import ModelError, PlanError, StaleArtefactError, TrainingError
from interactivepet.model.archive import write_archive
from interactivepet.model.folder import open_model
from interactivepet.model.installed import find_model, install_model
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.predict.model_export import run_model_export
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_test_request
from interactivepet.pipeline.prepare.architecture import find_architecture
from interactivepet.pipeline.train.fold_job import WEIGHTS_LICENCE
from interactivepet.pipeline.train.pretrained import PretrainedReader, open_first_model
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import _find_licence, run_training
from interactivepet.planning.sizing import ModelLayers
from interactivepet.training.checkpoint import read_tensors
from interactivepet.training.fold import TrainedFold
from interactivepet.training.promptable.start import read_model_folder
from tests.model.models import PROMPTABLE, list_files, make_weights, write_model
from tests.null_tracker import NullTracker
from tests.tiny import TASK, make_options, open_tiny

FULL = "3d_fullres"
FOLD = Fold(index=1, training=("A",), validation=("B",))


def train(root: Path, fold: int = 0, **training: Any) -> CheckpointCard:
    options = make_options(root, **{"epochs": 1, "iterations": 1, "resume": False, **training})
    (card,) = run_training(
        open_tiny(root), [fold], options=options.training, tta=False, tracker=options.tracker, n_proc=1, n_cores=1
    )
    return card


def read_plan(root: Path) -> Plan:
    return read_artefact(open_tiny(root).plans, Plans, command="").plan(FULL)


@pytest.fixture
def small(finished: tuple[Path, object], tmp_path: Path) -> Path:
    """A model for the tiny task with weights of its own, two folds, and the licence MIT."""
    path = tmp_path / "small.zip"
    write_archive(path, list_files(read_plan(finished[0])), name="small")
    return path


def test_the_card_says_what_training_started_from(copied: Path, small: Path) -> None:
    card = train(copied, pretrained=small)
    assert card.pretrained is not None
    assert (card.pretrained.name, card.pretrained.share, card.pretrained.licence) == ("small", 1.0, "MIT")
    assert card.licence == f"{WEIGHTS_LICENCE}; first weights: MIT"
    # a run that goes on keeps it
    open_tiny(copied).card(FULL, 0).unlink()
    assert train(copied, resume=True).pretrained == card.pretrained
    longer = train(copied, resume=True, epochs=2)
    assert (len(longer.epochs), longer.pretrained, longer.licence) == (2, card.pretrained, card.licence)
    # a new one does not
    again = train(copied)
    assert (again.pretrained, again.licence) == (None, WEIGHTS_LICENCE)


def test_the_licence_goes_on_with_the_weights(copied: Path, small: Path, tmp_path: Path) -> None:
    train(copied, pretrained=small)
    weights = open_tiny(copied).fold(FULL, 0) / "weights.pt"
    card = train(copied, pretrained=weights)
    assert card.licence.endswith("; first weights: MIT")
    assert card.pretrained is not None
    assert card.pretrained.name == f"weights.pt of {TASK}, fold 0"
    path = tmp_path / "exported.zip"
    open_tiny(copied).ensemble.unlink()
    assert run_model_export(open_tiny(copied), path, folds=[0]).licence == card.licence


def test_a_fold_begins_as_the_fold_of_the_model_with_its_number(copied: Path, small: Path) -> None:
    plan = read_plan(copied)
    for fold, expected in ((0, 0), (1, 1), (2, 0)):
        given = PretrainedReader("Task002_OTHER", FULL, replace_index(fold), copied)(small)
        for name, tensor in make_weights(plan, seed=expected).items():
            assert torch.equal(given.weights[name], tensor)
        assert given.plan is not None
        assert given.plan.content_hash() == plan.content_hash()


def replace_index(index: int) -> Fold:
    return FOLD.model_copy(update={"index": index})


@pytest.mark.parametrize(("index", "warns"), [(0, False), (1, False), (2, True)])
def test_a_model_of_the_same_task_without_this_fold_is_named(
    copied: Path, small: Path, index: int, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    PretrainedReader(TASK, FULL, replace_index(index), copied)(small)
    assert ("cross-validation is not honest" in caplog.text) is warns


def test_weights_that_saw_the_validation_cases_are_named(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace = open_tiny(copied)
    card = read_artefact(workspace.card(FULL, 1), CheckpointCard, command="")
    reader = PretrainedReader(TASK, FULL, Fold(index=0, training=(), validation=card.training[:1]), copied)
    reader(workspace.fold(FULL, 1) / "weights.pt")
    assert f"was trained on {card.training[0]}, which fold 0 is judged on" in caplog.text


def test_weights_beside_a_card_have_its_licence_and_plan(copied: Path, tmp_path: Path) -> None:
    workspace = open_tiny(copied)
    weights = workspace.fold(FULL, 1) / "weights.pt"
    reader = PretrainedReader("Task002_OTHER", FULL, FOLD, workspace.processed.parent)
    given = reader(weights)
    assert given.licence == WEIGHTS_LICENCE
    assert given.plan == read_plan(copied)
    (workspace.processed / "plans.json").unlink()
    assert reader(weights).plan is None
    bare = tmp_path / "bare.pt"
    bare.write_bytes(weights.read_bytes())
    assert reader(bare).licence.startswith("unknown")
    assert reader(bare).plan is None


NOT_THERE = {
    "nothing": ("gone", "neither a file nor a folder nor an installed model"),
    "a folder of something else": ("folder", "is no model of interactivepet"),
    "a text": ("text.txt", "is no file of weights"),
    "a zip file of something else": ("other.zip", "manifest.json"),
}


@pytest.mark.parametrize(("name", "message"), NOT_THERE.values(), ids=NOT_THERE)
def test_what_is_no_model_is_refused_and_a_complete_fold_stays(
    copied: Path, name: str, message: str, tmp_path: Path
) -> None:
    import zipfile

    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("no weights")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "no model")
    before = open_tiny(copied).card(FULL, 0).read_bytes()
    with pytest.raises((ModelError, TrainingError), match=message):
        train(copied, pretrained=find_model(str(tmp_path / name), tmp_path / "store"))
    assert open_tiny(copied).card(FULL, 0).read_bytes() == before


class Recorded(NullTracker):
    """Keeps the parameters of runs."""

    parameters: dict[str, object]

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        Recorded.parameters = dict(parameters)


def test_the_tracker_is_told(copied: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrackerConfig, "open", lambda spec: Recorded())
    train(copied, pretrained=small, patients=2)
    assert Recorded.parameters["patients"] == 2
    assert Recorded.parameters["pretrained"] == {"name": "small", "share": 1.0}
    train(copied)
    assert Recorded.parameters["patients"] == "all"
    assert "pretrained" not in Recorded.parameters


def test_a_fold_of_fewer_patients_is_judged_on_the_same_cases(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace = open_tiny(copied)
    whole = read_artefact(workspace.card(FULL, 0), CheckpointCard, command="")
    caplog.set_level(logging.INFO)

    cards = [train(copied, patients=n, resume=True) for n in (1, 2)]

    assert [card.patients for card in cards] == [1, 2]
    assert set(cards[0].training) < set(cards[1].training) < set(whole.training)
    assert all(card.validation == whole.validation for card in cards)
    assert [set(card.validation_dice["extreme"]) for card in cards] == [set(whole.validation)] * 2
    assert "it was trained on all of its patients, and is now to be trained on 1 of its patients" in caplog.text
    assert "it was trained on 1 of its patients, and is now to be trained on 2 of its patients" in caplog.text
    assert train(copied, patients=2, resume=True) == cards[1], "it is complete"
    # choice and prediction take it as it is
    options = make_options(copied)
    rule = run_postprocessing(workspace, options=options.prediction, tracker=options.tracker)
    assert rule.made_from
    assert not run_prediction(workspace, make_test_request(workspace), options=options.prediction).failed
    caplog.clear()
    full = train(copied, resume=True)
    assert (full.patients, full.training) == (None, whole.training)
    assert "it was trained on 2 of its patients, and is now to be trained on all of its patients" in caplog.text


def test_all_patients_are_the_whole_fold(copied: Path) -> None:
    path = open_tiny(copied).card(FULL, 0)
    before = path.read_bytes()
    patients = {case: "A" if case in ("TINY_000", "TINY_001") else case for case in json.loads(before)["training"]}
    train(copied, patients=len(set(patients.values())), resume=True)
    assert path.read_bytes() == before


def test_an_interrupted_fold_of_other_patients_is_not_continued(copied: Path) -> None:
    train(copied, patients=1)
    open_tiny(copied).card(FULL, 0).unlink()
    with pytest.raises(StaleArtefactError, match="--patients, or start again with the same command and --no-continue"):
        train(copied, patients=2, resume=True)


@pytest.mark.parametrize("patients", [6, 100])
def test_patients_that_are_not_there_are_counted_before_anything_is_done(copied: Path, patients: int) -> None:
    before = open_tiny(copied).card(FULL, 0).read_bytes()
    with pytest.raises(PlanError, match=rf"--patients {patients}: fold 0 has \d training patients"):
        train(copied, patients=patients)
    assert open_tiny(copied).card(FULL, 0).read_bytes() == before


def test_the_layers_of_a_model_are_found(tmp_path: Path) -> None:
    path, store = write_model(tmp_path / "small.zip"), tmp_path / "store"
    install_model(path, store, name="starter")
    with open_model(path) as model:
        network = model.description.plans.configurations[FULL].network
    for text in (str(path), "starter", str(store / "starter")):
        assert find_architecture(text, store) == ModelLayers("small", network)
    for family in ("plain", "residual", "unetr", "swinunetr", None):
        assert find_architecture(family, store) == family
    with pytest.raises(PlanError, match=r"none of plain, residual, unetr, swinunetr and no model: plian is neither"):
        find_architecture("plian", store)


def test_training_begins_with_the_given_weights(copied: Path, small: Path) -> None:
    slow = {"learning_rate": 1e-12, "weight_decay": 0.0}
    workspace = open_tiny(copied)
    plans = read_artefact(workspace.plans, Plans, command="")
    own = plans.configurations[FULL]
    own = own.model_copy(update={"training": own.training.model_copy(update=slow)})
    workspace.plans.write_text(plans.model_copy(update={"configurations": {FULL: own}}).model_dump_json())
    train(copied, fold=1, pretrained=small)
    found = read_tensors(workspace.fold(FULL, 1) / "weights.pt")
    for name, tensor in make_weights(read_plan(copied), seed=1).items():
        assert torch.allclose(found[name], tensor, atol=1e-6)


def test_a_promptable_model_starts_from_a_folder_or_from_the_part_of_a_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "models"
    path = write_model(tmp_path / "small.zip", promptable=PROMPTABLE)
    install_model(path, store, name="starter")
    with open_model(path) as model:
        task = model.task
    found = []
    for text in (str(path), "starter", str(store / "starter")):
        with open_first_model(text, store, task="Task002_OTHER") as folder:
            assert folder is not None
            found.append(read_model_folder(folder))
            # an official model is such a folder
            with open_first_model(str(folder), store, task="Task002_OTHER") as same:
                assert same == folder
    assert not caplog.records
    assert found[0] == found[1] == found[2], "a run that goes on finds the same checkpoint"
    assert (found[0].network.input_channels, found[0].licence.strip()) == (8, "CC0")
    with open_first_model(None, store, task=task) as folder:
        assert folder is None
    with open_first_model("starter", store, task=task):
        assert "does not tell on which cases" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "gone is neither a file nor a folder nor an installed model"), ("bare.zip", "holds no promptable model")],
)
def test_a_promptable_model_without_a_first_model_is_refused(name: str, message: str, tmp_path: Path) -> None:
    write_model(tmp_path / "bare.zip")
    with (
        pytest.raises(ModelError, match=message),
        open_first_model(str(tmp_path / name), tmp_path / "models", task="T"),
    ):
        pass


def test_the_users_data_decide_on_the_licence_of_what_began_as_an_mit_model() -> None:
    assert find_licence("MIT: trained on digital patients").startswith(WEIGHTS_LICENCE)
    assert find_licence("MIT: trained on digital patients").endswith("first weights: MIT: trained on digital patients")
    assert find_licence("CC BY-NC-SA 4.0") == "CC BY-NC-SA 4.0"
    assert find_licence(None) == WEIGHTS_LICENCE


def find_licence(licence: str | None) -> str:
    given = None if licence is None else Pretraining(name="other", share=1.0, licence=licence)
    return _find_licence(TrainedFold((), "", "cpu", None, given))
