"""Log the chosen model in MLflow and register it under the task's name."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from interactivepet.core.artefact import hash_text
from interactivepet.core.ensemble import ChoiceMode, EnsembleRule
from interactivepet.model.archive import extract_archive
from interactivepet.model.description import strip_plans, strip_rule
from interactivepet.model.manifest import MODEL_CARD, is_name
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.predict.model_export import run_model_export
from interactivepet.pipeline.predict.requests import read_inputs
from interactivepet.pipeline.predict.trained import TaskResults, read_task
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking.flavour import write_flavour
from interactivepet.tracking.registry import RegisteredModel
from interactivepet.tracking.store import (
    explain_failure,
    find_experiment,
    hide_password,
    list_failures,
    open_client,
)

__all__ = ["find_script", "name_score", "run_registration"]

logger = logging.getLogger(__name__)

SCRIPT = "interactivepet.pipeline.predict.mlflow_script"


def run_registration(
    workspace: Workspace, rule: EnsembleRule, *, tracker: TrackerConfig, champion: ChoiceMode | None = None
) -> None:
    """Register the folds and the choice as a new version, unless a version has the same content already.

    A store that cannot be reached, or that fails, costs a warning and nothing else: no step needs what is registered.

    Args:
        workspace: with a choice.
        rule: the choice.
        tracker: where runs are tracked.
        champion: clicks whose nested estimate decides whether the alias `champion` moves to this version; None leaves
            the alias alone.

    Raises:
        ArtefactError: plan, split, folds and choice do not belong together.
    """
    with lock_folder(workspace.corrections, timeout_s=PATIENCE_S):
        try:
            _register(workspace, rule, tracker, champion)
        except list_failures() as error:
            logger.warning(
                "MLflow at %s could not register the model: %s. The choice is complete, and the same command registers "
                "it later; check MLFLOW_TRACKING_URI and that the store can be written.",
                hide_password(tracker.uri),
                explain_failure(error),
            )


def name_score(mode: ChoiceMode) -> str:
    """Name the nested estimate of a click mode, as runs and versions of models have it."""
    return f"dice_{mode}_nested"


def _register(workspace: Workspace, rule: EnsembleRule, tracker: TrackerConfig, champion: ChoiceMode | None) -> None:
    model = RegisteredModel(open_client(tracker.uri), workspace.task)
    content = _hash_content(workspace, read_task(workspace, ()))
    version = model.find_version(content)
    if version is None:
        version = _add_version(workspace, rule, tracker, model=model, content=content)
        logger.info("registered in MLflow as models:/%s/%s", model.name, version)
    if champion is not None:
        logger.info("models:/%s: %s", model.name, model.move_champion(version, score=name_score(champion)))


def _add_version(
    workspace: Workspace, rule: EnsembleRule, tracker: TrackerConfig, *, model: RegisteredModel, content: str
) -> str:
    run_id = find_parent_run(workspace, tracker)
    if run_id is None:
        raise ConnectionError("there is no run to show it under")
    scores = {name_score(mode): choice.nested_dice for mode, choice in rule.choices.items()}
    with TemporaryDirectory(prefix="interactivepet-model-") as temporary:
        folder, flavour = Path(temporary) / "model", Path(temporary) / "flavour"
        archive = Path(temporary) / f"{_name_model(workspace.task)}.zip"
        description = run_model_export(workspace, archive)
        extract_archive(archive, folder)
        archive.unlink()
        write_flavour(flavour, folder, script=find_script(), labels=tuple(description.plans.labels))
        return model.add_version(
            flavour,
            content=content,
            experiment_id=find_experiment(model.client, tracker.experiment, tracker.artefacts),
            run_id=run_id,
            scores=scores,
            description=(folder / MODEL_CARD).read_text(encoding="utf-8"),
        )


def _hash_content(workspace: Workspace, results: TaskResults) -> str:
    """Hash what the model predicts with, whichever version of the package writes it and when."""
    licences_and_weights = [
        text for cards in results.cards.values() for card in cards for text in (card.licence, card.weights_sha256)
    ]
    return hash_text(
        strip_plans(results.plans).content_hash(),
        strip_rule(results.rule).content_hash() if results.rule is not None else "",
        read_inputs(workspace).model_dump_json(),
        *licences_and_weights,
    )


def _name_model(task: str) -> str:
    """Give a name that a model can have."""
    return task if is_name(task) else f"model-{re.sub(r'[^A-Za-z0-9._-]', '-', task)}"[:100]


def find_script() -> Path:
    """Find the file of the package that MLflow runs to load a model."""
    spec = find_spec(SCRIPT)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{SCRIPT} is missing; install interactivepet again", name=SCRIPT)
    return Path(spec.origin)
