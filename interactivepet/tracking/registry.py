"""Registered models: versions of one name in MLflow, the alias `champion`, and the way back to a folder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.errors import ModelError
from interactivepet.tracking.flavour import MODEL_PLACE
from interactivepet.tracking.store import (
    SQLITE_PREFIX,
    explain_failure,
    hide_password,
    list_failures,
    open_client,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

__all__ = ["CHAMPION", "RegisteredModel", "fetch_model", "is_registered"]

CHAMPION = "champion"
"""Alias of the version with the best nested estimate."""

_CONTENT = "content"
"""Tag of a version: hash of what it predicts with, by which the same content is found again."""
_LOGGED_NAME = "model"
_LONGEST_DESCRIPTION = 5000
_SCHEME = "models:"
_ADDRESS = re.compile(r"models:/(?P<name>[^/:]+?)(?:/(?P<version>[1-9]\d*)|@(?P<alias>[^/@:]+))")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """All versions of one name.

    Every method raises what MLflow and the libraries below it do: one of `store.list_failures`.

    Attributes:
        client: of the store.
        name: under which the versions are registered.
    """

    client: MlflowClient
    name: str

    def find_version(self, content: str) -> str | None:
        """Find the newest version with this content."""
        found = [version for version in self._list_versions() if version.tags.get(_CONTENT) == content]
        return str(max(int(version.version) for version in found)) if found else None

    def add_version(
        self,
        flavour: Path,
        *,
        content: str,
        experiment_id: str,
        run_id: str,
        scores: Mapping[str, float],
        description: str,
    ) -> str:
        """Upload an MLflow model and register it; the version appears last, when everything is there.

        Args:
            flavour: folder that `write_flavour` wrote.
            content: hash of what it predicts with.
            experiment_id: of the experiment that shows it.
            run_id: of the run that shows it.
            scores: name -> Dice; tags of the version, and metrics of the run and of the model.
            description: Markdown for a reader.

        Returns:
            The number of the version.
        """
        logged = self.client.create_logged_model(experiment_id, _LOGGED_NAME, run_id)
        self.client.log_model_artifacts(logged.model_id, str(flavour))
        self.client.finalize_logged_model(logged.model_id, "READY")
        for name, score in scores.items():
            self.client.log_metric(run_id, name, score, model_id=logged.model_id)
        if not self._is_known():
            self.client.create_registered_model(self.name)
        version = self.client.create_model_version(
            self.name,
            logged.artifact_location,
            run_id,
            tags={_CONTENT: content, **{name: repr(score) for name, score in scores.items()}},
            description=description[:_LONGEST_DESCRIPTION],
            model_id=logged.model_id,
        )
        return str(version.version)

    def move_champion(self, version: str, *, score: str) -> str:
        """Give the alias to a version if it is better than the one that has it; says what was done.

        Args:
            version: number of the version.
            score: name of the Dice that is compared.
        """
        own = self._read_score(version, score)
        known = self.client.get_registered_model(self.name).aliases if self._is_known() else {}
        present = str(known[CHAMPION]) if CHAMPION in known else None
        if present == version:
            return f"version {version} is the champion already ({score} {_show(own)})"
        best = self._read_score(present, score) if present is not None else -math.inf
        if not math.isfinite(own) or math.isnan(best):
            unknown = version if not math.isfinite(own) else present
            return f"the champion stays {_name(present)}: version {unknown} has no {score}, so they cannot be compared"
        if own <= best:
            return f"the champion stays {_name(present)} ({score} {_show(best)}): version {version} has {_show(own)}"
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        before = f"before it was version {present} with {_show(best)}" if present is not None else "the first one"
        return f"the champion is now version {version} ({score} {_show(own)}; {before})"

    def _read_score(self, version: str, score: str) -> float:
        """Read a score from a version's tags; NaN where it has none."""
        text = self.client.get_model_version(self.name, version).tags.get(score, "nan")
        try:
            return float(text)
        except ValueError:
            return math.nan

    def _list_versions(self) -> list[ModelVersion]:
        if not self._is_known():
            return []
        versions: list[ModelVersion] = []
        token: str | None = ""
        while token is not None:
            page = self.client.search_model_versions(_select(self.name), page_token=token or None)
            versions += page
            token = page.token or None
        return versions

    def _is_known(self) -> bool:
        return bool(self.client.search_registered_models(_select(self.name), max_results=1))


def is_registered(text: str) -> bool:
    """Whether a text is an address of MLflow's model registry, such as `models:/lesion/1`, and no path."""
    return text.startswith(_SCHEME)


def fetch_model(address: str, folder: Path, *, uri: str) -> Path:
    """Copy a registered model's own folder out of MLflow.

    Args:
        address: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        folder: where it is put; nothing is there yet.
        uri: of the store.

    Returns:
        The model's folder; its files are compared with the manifest when they are read.

    Raises:
        ModelError: the address is none, the store cannot be reached, or it has no such model.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ModelError(f"{address} is no address of a model; expected models:/NAME/VERSION or models:/NAME@ALIAS")
    _refuse_no_store(address, uri)
    try:
        path = _download(found, folder, uri)
    except list_failures() as error:
        raise ModelError(
            f"{address} cannot be read from MLflow at {hide_password(uri)} ({explain_failure(error)}); look up name "
            "and version on its page Models, and check MLFLOW_TRACKING_URI"
        ) from error
    return path


def _download(found: re.Match[str], folder: Path, uri: str) -> Path:
    client = open_client(uri)
    from mlflow.artifacts import download_artifacts

    name, version = found["name"], found["version"]
    if version is None:
        version = client.get_model_version_by_alias(name, found["alias"]).version
    source = client.get_model_version_download_uri(name, str(version))
    return Path(download_artifacts(f"{source}/{MODEL_PLACE}", dst_path=str(folder), tracking_uri=uri))


def _refuse_no_store(address: str, uri: str) -> None:
    """Refuse an embedded store that is not there, which opening it would create."""
    path = Path(uri.removeprefix(SQLITE_PREFIX).partition("?")[0])
    if uri.startswith(SQLITE_PREFIX) and not path.is_file():
        raise ModelError(
            f"{address}: there is no MLflow store at {path}; set MLFLOW_TRACKING_URI to the one that has the model"
        )


def _select(name: str) -> str:
    # MLflow knows no escape inside of quotes
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def _name(version: str | None) -> str:
    return "unset" if version is None else f"version {version}"


def _show(score: float) -> str:
    return f"{score:.4f}"
