"""Write a task's trained folds and choice as one file that predicts without the task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.suv import SuvVariant
from interactivepet.dataset.dicom.images import find_suv_variant
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, ModelError
from interactivepet.model.archive import write_archive
from interactivepet.model.card import make_card
from interactivepet.model.description import FoldRecord, ModelDescription, name_weights, strip_plans, strip_rule
from interactivepet.model.manifest import DESCRIPTION, LICENCE, MODEL_CARD, is_name
from interactivepet.pipeline.predict.requests import read_inputs
from interactivepet.pipeline.predict.trained import TaskResults, load_fold_weights, read_task
from interactivepet.pipeline.workspace import Workspace

__all__ = ["run_model_export"]

logger = logging.getLogger(__name__)

ENDING = ".zip"


def run_model_export(
    workspace: Workspace, path: Path, *, folds: Sequence[int] = (), licence: str = "", origin: str = ""
) -> ModelDescription:
    """Write what inference needs of a task, and nothing else, as a zip file.

    Args:
        workspace: of the task.
        path: of the file, which must not exist yet; its name without the ending is the model's.
        folds: indices; all complete ones when empty.
        licence: of the weights, in place of what the folds' cards say.
        origin: how the model was made, for its card.

    Returns:
        What was written besides the weights.

    Raises:
        ModelError: the path cannot be that of a model.
        ArtefactError: no fold is trained, or plan, split, folds and choice do not belong together.
    """
    if path.suffix != ENDING or not is_name(path.stem):
        raise ModelError(f"{path}: expected a name such as lesion.zip, of letters, digits, dots, hyphens, underscores")
    if path.exists():
        raise ModelError(f"{path} exists already; delete it, or choose another name")
    results = read_task(workspace, sorted(set(folds)))
    found = _describe(workspace, results)
    description = found.model_copy(update={"origin": origin, "licence": licence or found.licence})
    write_archive(path, _list_files(workspace, results, description, name=path.stem), name=path.stem)
    return description


def _describe(workspace: Workspace, results: TaskResults) -> ModelDescription:
    inputs = read_inputs(workspace).model_copy(update={"suv": _find_suv(workspace)})
    licences = dict.fromkeys(card.licence.strip() for cards in results.cards.values() for card in cards)
    return ModelDescription(
        plans=strip_plans(results.plans),
        rule=_strip(results.rule),
        inputs=inputs,
        intensities=results.intensities,
        folds={name: tuple(_record(card) for card in cards) for name, cards in results.cards.items()},
        licence="\n\n".join(licences),
    )


def _strip(rule: EnsembleRule | None) -> EnsembleRule | None:
    if rule is None:
        return None
    if any(choice.fusion.nninteractive_weight > 0 for choice in rule.choices.values()):
        logger.warning("nnInteractive has a share in the choice and is not part of the file; name it when you predict")
    return strip_rule(rule)


def _record(card: CheckpointCard) -> FoldRecord:
    dice = {mode: fmean(scores.values()) for mode, scores in card.validation_dice.items() if scores}
    return FoldRecord.model_validate({"fold": card.fold, "n_training": len(card.training), "dice": dice})


def _find_suv(workspace: Workspace) -> SuvVariant | None:
    try:
        return find_suv_variant(workspace.raw, read_manifest(workspace.raw).training)
    except CaseError as error:
        logger.warning("the model will not read DICOM: %s", error)
        return None


def _list_files(
    workspace: Workspace, results: TaskResults, description: ModelDescription, *, name: str
) -> Iterator[tuple[str, bytes]]:
    from interactivepet.model.weights import pack_weights

    yield DESCRIPTION, (description.model_dump_json(indent=2) + "\n").encode()
    yield MODEL_CARD, make_card(description, name=name).encode()
    yield LICENCE, f"{description.licence}\n".encode()
    for configuration, cards in results.cards.items():
        plan = results.plans.plan(configuration)
        for card in cards:
            weights = load_fold_weights(workspace, configuration, card=card)
            yield name_weights(configuration, card.fold), pack_weights(plan, weights)
