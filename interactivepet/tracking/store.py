"""Reaching an MLflow store quickly, or failing quickly."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["SQLITE_PREFIX", "explain_failure", "find_experiment", "hide_password", "list_failures", "open_client"]

Result = TypeVar("Result")

CONNECT_SECONDS = 8.0
"""A server that has not answered by then is taken for unreachable, whatever its client still tries."""

LOCK_SECONDS = 20.0
"""How long to wait for another process that is writing to an SQLite store; MLflow waits as long."""

SQLITE_PREFIX = "sqlite:///"

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Set unless the user has set them: give up soon, send no usage data away, draw no bars, do not look for git."""


EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow's pages open on runs and curves; without it they expect the traces of language models."""


def list_failures() -> tuple[type[Exception], ...]:
    """List what MLflow and the libraries below it raise when a store is missing, broken, full or slow."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # OSError covers requests' exceptions, time-outs and everything the file system refuses.
    return (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError)


def hide_password(uri: str) -> str:
    """Leave out the user and the password of the addresses in a text."""
    return re.sub(r"//[^/@\s]*@", "//", uri)


def explain_failure(error: Exception) -> str:
    """Give the reason of a failure in one line, without passwords."""
    return hide_password(" ".join(str(error).split())[:300])


def open_client(uri: str) -> MlflowClient:
    """Connect to a store; an SQLite store is created when it is not there yet.

    Raises:
        Exception: one of `list_failures`, within `CONNECT_SECONDS` for a server and within
            `LOCK_SECONDS` for an SQLite file.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow.tracking

    # These report each failure and each retry, with tracebacks; the tracker says it once instead.
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri.startswith(SQLITE_PREFIX):
        _check_sqlite(Path(uri.removeprefix(SQLITE_PREFIX).partition("?")[0]))
        return mlflow.tracking.MlflowClient(tracking_uri=uri)
    return _within(CONNECT_SECONDS, lambda: _reach(uri))


def find_experiment(client: MlflowClient, name: str, artefact_folder: Path | None) -> str:
    """Give the identifier of the experiment `name`, creating it on its first use."""
    from mlflow.exceptions import MlflowException

    location = artefact_folder.absolute().as_uri() if artefact_folder else None
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, location, tags=EXPERIMENT_TAGS)
        except MlflowException:
            # Another process was faster; if that is not the reason, there still is no such experiment.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _reach(uri: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _check_sqlite(path: Path) -> None:
    """Fail at once if the file cannot be written: MLflow would try again for a minute and a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Wait for a call in a thread of its own, and leave it behind when it takes too long."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=work, name="interactivepet-mlflow", daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
