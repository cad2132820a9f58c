"""Runs in a real embedded store, and stores that are not there, not writable, hanging or deleted."""

from __future__ import annotations

import logging
import math
import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from interactivepet.tracking import mlflow, store
from interactivepet.tracking.mlflow import (
    MAXIMUM_VALUE_LENGTH,
    MlflowTracker,
    default_artefact_folder,
    default_uri,
    prepare_store,
)

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert prepare_store(default_uri(folder), experiment="Task001", artefact_folder=default_artefact_folder(folder))
    return folder


def make_tracker(results: Path) -> MlflowTracker:
    return MlflowTracker(default_uri(results), experiment="Task001", artefact_folder=default_artefact_folder(results))


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_run_is_logged_in_full(results: Path) -> None:
    tracker = make_tracker(results)
    parent = tracker.start_run("cross-validation", tags={})
    tracker.end_run()
    run_id = tracker.start_run("fold 0", parent=parent, tags={"fold": "0"})
    assert parent is not None
    assert run_id is not None
    many = {f"p{number}": number for number in range(150)}
    tracker.log_parameters({"training": {"epochs": 3, "clicks": {"none": 0.25}}, "long": "x" * 9000, **many})
    for epoch in range(3):
        tracker.log_metrics({"loss": 1.0 / (epoch + 1), "dice/tumour (left)": 0.5}, step=epoch)
    tracker.log_metrics({"undefined": math.nan}, step=3)
    tracker.log_picture("validation/CASE_1.png", PNG)
    tracker.log_text("plan.json", "{}")
    tracker.end_run()

    client = MlflowClient(tracking_uri=default_uri(results))
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["fold"] == "0"
    assert run.data.params["training.clicks.none"] == "0.25"
    assert len(run.data.params["long"]) == MAXIMUM_VALUE_LENGTH
    assert len(run.data.params) == 153
    assert [metric.value for metric in client.get_metric_history(run_id, "loss")] == [1.0, 0.5, 1 / 3]
    assert "dice/tumour _left_" in run.data.metrics
    folder = default_artefact_folder(results) / run_id / "artifacts"
    assert (folder / "validation" / "CASE_1.png").read_bytes() == PNG
    assert (folder / "plan.json").read_text() == "{}"


def test_a_killed_run_is_resumed_under_its_identifier(results: Path, tmp_path: Path) -> None:
    killed = make_tracker(results)
    run_id = killed.start_run("fold 1")
    killed.log_parameters({"epochs": 3})
    killed.log_metrics({"loss": 1.0}, step=0)

    resumed = make_tracker(results)
    assert resumed.start_run("fold 1", run_id=run_id) == run_id
    resumed.log_parameters({"epochs": 5, "device": "cpu"})
    resumed.log_metrics({"loss": 0.5}, step=1)
    note = tmp_path / "note.txt"
    note.write_text("kept")
    resumed.log_file(note)
    resumed.end_run(failed=True)

    assert run_id is not None
    client = MlflowClient(tracking_uri=default_uri(results))
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.params == {"epochs": "3", "device": "cpu"}
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [0, 1]
    assert (default_artefact_folder(results) / run_id / "artifacts" / "note.txt").read_text() == "kept"


def test_a_forgotten_run_is_started_anew(results: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = MlflowClient(tracking_uri=default_uri(results))
    deleted = make_tracker(results).start_run("fold 2")
    assert deleted is not None
    client.delete_run(deleted)
    for forgotten in ("0" * 32, deleted):
        new = make_tracker(results).start_run("fold 2", run_id=forgotten)
        assert new is not None
        assert new != forgotten
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("kind", ["refused", "folder", "no database", "scheme", "hanging"])
def test_an_unusable_store_is_tried_once_and_costs_one_warning(
    kind: str, tmp_path: Path, silent_server: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr(mlflow, "open_client", lambda uri: (tried.append(uri), store.open_client(uri))[1])
    monkeypatch.setattr(store, "CONNECT_SECONDS", 2.0)
    (tmp_path / "no.db").write_text("this is no database" * 100)
    uri = {
        "refused": "http://user:secret@127.0.0.1:9",
        "folder": f"sqlite:///{tmp_path}",
        "no database": f"sqlite:///{tmp_path}/no.db",
        "scheme": "nonsense://here",
        "hanging": silent_server,
    }[kind]
    tracker = MlflowTracker(uri, experiment="Task", artefact_folder=tmp_path)
    for fold in range(3):
        assert tracker.start_run(f"fold {fold}", tags={"fold": str(fold)}) is None
        tracker.log_parameters({"epochs": 1})
        tracker.log_metrics({"loss": 1.0}, step=0)
        tracker.end_run()
    assert tried == [uri]
    assert len(warnings_of(caplog)) == 1
    assert kind != "hanging" or "no answer within 2 s" in warnings_of(caplog)[0]
    assert "Work goes on" in warnings_of(caplog)[0]
    assert "secret" not in caplog.text


def test_a_store_deleted_in_mid_run_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = make_tracker(tmp_path)
    assert tracker.start_run("fold 0") is not None
    for path in (tmp_path / "mlflow").glob("mlflow.db*"):
        path.unlink()
    for epoch in range(3):
        tracker.log_metrics({"loss": 1.0}, step=epoch)
    tracker.log_picture("a.png", PNG)
    tracker.log_text("a.txt", "text")
    tracker.end_run()
    assert len(warnings_of(caplog)) == 1


def log_many(uri: str, name: str, n: int) -> None:
    tracker = MlflowTracker(uri, experiment="Task001", artefact_folder=None)
    tracker.start_run(name, tags={"parallel": "yes"})
    tracker.log_parameters({"name": name})
    for step in range(n):
        tracker.log_metrics({"loss": float(step), "dice": 0.0}, step=step)
    tracker.end_run()


@pytest.mark.slow
def test_two_processes_log_into_one_store(results: Path) -> None:
    context = multiprocessing.get_context("spawn")
    uri = default_uri(results)
    workers = [context.Process(target=log_many, args=(uri, f"fold {k}", 40)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("Task001")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.parallel = 'yes'")
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]
    for run in runs:
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 40
