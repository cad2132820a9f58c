"""A finished task is a registered model: once per content, with its estimates, and without a word of its cases."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.report import Report
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.judge.registration import run_registration
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking import registry, store
from interactivepet.tracking.mlflow import default_uri
from interactivepet.tracking.registry import CHAMPION, RegisteredModel, fetch_model
from tests.tiny import TASK, open_tiny

Finished = tuple[Path, dict[str, Report]]


def read_rule(workspace: Workspace) -> EnsembleRule:
    return read_artefact(workspace.ensemble, EnsembleRule, command="")


def list_versions(uri: str) -> list[str]:
    found = MlflowClient(tracking_uri=uri).search_model_versions(f"name = '{TASK}'")
    return sorted(str(version.version) for version in found)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def tracker(tmp_path: Path) -> TrackerConfig:
    """An embedded store of its own."""
    return TrackerConfig.of(TASK, results=tmp_path / "store", uri=None)


def test_a_finished_task_is_registered_with_its_estimates_and_its_card(finished: Finished) -> None:
    root, rule = finished[0], read_rule(open_tiny(finished[0]))
    client = MlflowClient(tracking_uri=default_uri(root / "results"))
    version = client.get_model_version(TASK, "1")
    for mode, choice in rule.choices.items():
        assert float(version.tags[f"dice_{mode}_nested"]) == choice.nested_dice
    assert version.description.startswith(f"# {TASK}\n")
    assert version.aliases == []
    assert client.get_run(version.run_id).info.run_name == "cross-validation"


def test_what_is_registered_tells_nothing_of_cases_and_folders(finished: Finished) -> None:
    root = finished[0]
    folder = root / "results" / "mlflow" / "artefacts" / "models"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert [word for word in ("TINY_", str(root), "imagesTr") if word.encode() in content] == [], path.name
    version = MlflowClient(tracking_uri=default_uri(root / "results")).get_model_version(TASK, "1")
    assert "TINY_" not in f"{version.tags} {version.description}"


def test_the_registered_model_gives_the_masks_of_the_task(finished: Finished, tmp_path: Path) -> None:
    workspace = open_tiny(finished[0])
    folder = fetch_model(f"models:/{TASK}/1", tmp_path / "fetched", uri=default_uri(finished[0] / "results"))
    model = open_folder(folder)
    model.verify()
    request = make_folder_request(
        model,
        workspace.raw / "imagesTs",
        clicks_folder=workspace.clicks_folder(test=True),
        out=tmp_path / "masks",
    )
    run_prediction(model, request, options=PredictionOptions(tta=False, device="cpu"))
    masks = [nib.load(path / "TINY_006.nii.gz").get_fdata() for path in (tmp_path / "masks", workspace.predictions)]
    np.testing.assert_array_equal(*masks)


def test_the_same_content_is_one_version_and_another_choice_a_new_one(copied: Path, tracker: TrackerConfig) -> None:
    workspace = open_tiny(copied)
    first = read_rule(workspace)
    run_registration(workspace, first, tracker=tracker)
    run_registration(workspace, first, tracker=tracker)
    assert list_versions(tracker.uri) == ["1"]
    choice = first.choices["none"]
    fusion = choice.fusion.model_copy(update={"threshold": 0.123})
    second = first.model_copy(
        update={"choices": {**first.choices, "none": choice.model_copy(update={"fusion": fusion})}}
    )
    for rule, versions in ((second, ["1", "2"]), (first, ["1", "2"]), (second, ["1", "2"])):
        write_artefact(workspace.ensemble, rule)
        run_registration(workspace, rule, tracker=tracker)
        assert list_versions(tracker.uri) == versions


def test_the_champion_moves_when_it_is_asked_for(
    copied: Path, tracker: TrackerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    workspace = open_tiny(copied)
    rule = read_rule(workspace)
    client = store.open_client(tracker.uri)
    run_registration(workspace, rule, tracker=tracker)
    assert client.get_registered_model(TASK).aliases == {}
    better = rule.choices["none"].model_copy(update={"nested_dice": 0.99})
    for choices, held in ((rule.choices, "1"), ({**rule.choices, "none": better}, "2"), (rule.choices, "2")):
        changed = rule.model_copy(update={"choices": choices})
        write_artefact(workspace.ensemble, changed)
        run_registration(workspace, changed, tracker=tracker, champion="none")
        assert str(client.get_registered_model(TASK).aliases[CHAMPION]) == held
    assert "the champion is now version 1" in caplog.text
    assert "the champion is now version 2 (dice_none_nested 0.9900; before it was version 1" in caplog.text
    assert "the champion stays version 2 (dice_none_nested 0.9900): version 1 has" in caplog.text
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("kind", ["refused", "no database", "upload", "foreign name"])
def test_a_store_that_fails_costs_a_warning_and_no_choice(
    kind: str,
    copied: Path,
    tracker: TrackerConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = open_tiny(copied)
    (tmp_path / "no.db").write_text("this is no database" * 100)
    uris = {"refused": "http://user:secret@127.0.0.1:9", "no database": f"sqlite:///{tmp_path}/no.db"}
    if kind in uris:
        tracker = TrackerConfig(uris[kind], TASK, None)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    if kind == "upload":
        monkeypatch.setattr(MlflowClient, "log_model_artifacts", fail)
    if kind == "foreign name":
        monkeypatch.setattr(RegisteredModel, "find_version", lambda *_: None)
        monkeypatch.setattr(registry, "_select", lambda _: "no filter")
    before = workspace.ensemble.read_bytes()
    run_registration(workspace, read_rule(workspace), tracker=tracker, champion="none")
    (warning,) = [text for text in warnings_of(caplog) if "could not register" in text]
    assert "The choice is complete" in warning
    assert "secret" not in caplog.text
    assert workspace.ensemble.read_bytes() == before
    if kind == "upload":
        assert list_versions(tracker.uri) == []
        monkeypatch.undo()
        run_registration(workspace, read_rule(workspace), tracker=tracker)
        assert list_versions(tracker.uri) == ["1"]


def test_what_is_tracked_of_the_choice_names_no_server(copied: Path, tracker: TrackerConfig) -> None:
    workspace = open_tiny(copied)
    write_artefact(
        workspace.ensemble,
        read_rule(workspace).model_copy(update={"chosen_on": "other", "nninteractive": "http://secret-host:1527"}),
    )
    run_postprocessing(workspace, options=PredictionOptions(tta=False, device="cpu"), tracker=tracker)
    folder = Path(tracker.artefacts or "")
    (logged,) = folder.rglob("ensemble.json")
    assert EnsembleRule.model_validate_json(logged.read_text()).nninteractive == ""
