"""Runs in MLflow, on an embedded SQLite store or any server; losing MLflow never costs a training run."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from interactivepet.tracking.store import (
    SQLITE_PREFIX,
    explain_failure,
    find_experiment,
    hide_password,
    list_failures,
    open_client,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["MlflowTracker", "default_artefact_folder", "default_uri", "prepare_store"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MAXIMUM_KEY_LENGTH = 250
"""Longest name of a parameter or metric that MLflow takes."""

MAXIMUM_VALUE_LENGTH = 6000
"""Longest value of a parameter that MLflow takes."""

PARAMETERS_PER_BATCH = 100
"""Most parameters that MLflow takes in one call."""


def default_uri(results: Path) -> str:
    """Give the URI of the embedded store under the results folder."""
    return f"{SQLITE_PREFIX}{(results / 'mlflow' / 'mlflow.db').absolute().as_posix()}"


def default_artefact_folder(results: Path) -> Path:
    """Give the folder for the pictures and files of the embedded store."""
    return (results / "mlflow" / "artefacts").absolute()


def prepare_store(uri: str, *, experiment: str, artefact_folder: Path | None) -> bool:
    """Create the embedded database and the experiment, if they are not there yet.

    Called once before several processes track at the same time, so that they do not all create the
    tables at once.

    Returns:
        Whether the store can be used; if not, a warning was logged, and training goes on all the same.
    """
    return MlflowTracker(uri, experiment=experiment, artefact_folder=artefact_folder).connect()


class MlflowTracker:
    """A `Tracker` that writes to MLflow.

    The first call that MLflow cannot serve is logged as a warning and is the last one tried, so that a
    dead server costs seconds once and not at every epoch. Constructing a tracker touches nothing.
    """

    def __init__(self, uri: str, *, experiment: str, artefact_folder: Path | None) -> None:
        """Remember where to track.

        Args:
            uri: tracking URI, such as `default_uri` gives, or `https://HOST`.
            experiment: name of the experiment: one a task.
            artefact_folder: where a new experiment keeps files; None lets the server decide.
        """
        self._uri = uri
        self._experiment = experiment
        self._artefact_folder = artefact_folder
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._run_id: str | None = None
        self._known: frozenset[str] = frozenset()
        self._is_down = False

    def connect(self) -> bool:
        """Reach the store and find or create the experiment; False when tracking is not possible."""
        if self._client is None:
            self._attempt("connect", self._open)
        return self._client is not None and not self._is_down

    def start_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str | None:
        """Start a run, or take up `run_id`; see `Tracker.start_run`."""
        client = self._client if self.connect() else None
        if client is None:
            return None
        if run_id is None or not self._attempt("resume a run", lambda: self._resume(client, run_id)):
            all_tags = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
            self._attempt("start a run", lambda: self._start(client, name, all_tags))
        return self._run_id

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Log parameters as text; those that a resumed run already has stay as they are."""
        texts = {_make_key(key): _cut(str(value)) for key, value in _flatten(parameters)}
        new = [(key, text) for key, text in texts.items() if key not in self._known]

        def send(client: MlflowClient, run_id: str) -> None:
            from mlflow.entities import Param

            for start in range(0, len(new), PARAMETERS_PER_BATCH):
                batch = [Param(*pair) for pair in new[start : start + PARAMETERS_PER_BATCH]]
                client.log_batch(run_id, params=batch)

        self._log("log parameters", send)
        self._known |= texts.keys()

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log the metrics of one step in one call."""

        def send(client: MlflowClient, run_id: str) -> None:
            from mlflow.entities import Metric

            now_ms = int(time.time() * 1000)
            batch = [Metric(_make_key(key), float(v), now_ms, step or 0) for key, v in metrics.items()]
            client.log_batch(run_id, metrics=batch)

        self._log("log metrics", send)

    def log_picture(self, name: str, png: bytes) -> None:
        """Log an encoded PNG as the file `name`."""

        def send(client: MlflowClient, run_id: str) -> None:
            place = PurePosixPath(name)
            with tempfile.TemporaryDirectory(prefix="interactivepet_") as folder:
                path = Path(folder) / place.name
                path.write_bytes(png)
                client.log_artifact(run_id, str(path), str(place.parent) if place.parent.name else None)

        self._log("log a picture", send)

    def log_file(self, path: Path) -> None:
        """Log a copy of a file."""
        self._log("log a file", lambda client, run_id: client.log_artifact(run_id, str(path)))

    def log_text(self, name: str, text: str) -> None:
        """Log a text as the file `name`."""
        self._log("log a text", lambda client, run_id: client.log_text(run_id, text, name))

    def end_run(self, *, failed: bool = False) -> None:
        """Close the current run."""
        status = "FAILED" if failed else "FINISHED"
        self._log("end a run", lambda client, run_id: client.set_terminated(run_id, status))
        self._run_id = None

    def _open(self) -> None:
        client = open_client(self._uri)
        self._experiment_id = find_experiment(client, self._experiment, self._artefact_folder)
        self._client = client

    def _start(self, client: MlflowClient, name: str, tags: dict[str, str]) -> None:
        run = client.create_run(self._experiment_id, tags=tags, run_name=name)
        self._run_id, self._known = run.info.run_id, frozenset()

    def _resume(self, client: MlflowClient, run_id: str) -> bool:
        """Open a run again; False when the store does not know it, or knows it as deleted."""
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(run_id)
            client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return False
            raise
        self._run_id, self._known = run_id, frozenset(run.data.params)
        return True

    def _log(self, what: str, call: Callable[[MlflowClient, str], object]) -> None:
        client, run_id = self._client, self._run_id
        if client is not None and run_id is not None:
            self._attempt(what, lambda: call(client, run_id))

    def _attempt(self, what: str, call: Callable[[], Result]) -> Result | None:
        """Make a call; the first one that fails is reported, and nothing is tried after it."""
        if self._is_down:
            return None
        try:
            return call()
        except list_failures() as error:
            self._is_down = True
            logger.warning(
                "MLflow at %s could not %s: %s. Work goes on, but nothing more is tracked in this process; "
                "check MLFLOW_TRACKING_URI and that the store can be written.",
                hide_password(self._uri),
                what,
                explain_failure(error),
            )
            return None


def _flatten(parameters: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _make_key(name: str) -> str:
    """Replace what MLflow does not allow in the name of a parameter or metric."""
    return re.sub(r"[^\w\-. /]", "_", name)[:MAXIMUM_KEY_LENGTH]


def _cut(text: str) -> str:
    return text if len(text) <= MAXIMUM_VALUE_LENGTH else text[: MAXIMUM_VALUE_LENGTH - 3] + "..."
