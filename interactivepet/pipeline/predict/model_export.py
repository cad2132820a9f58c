"""Write a task's trained folds and choice as one file that predicts without the task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.promptable import PromptableExport
from interactivepet.core.suv import SuvVariant
from interactivepet.dataset.dicom.images import find_suv_variant
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, ModelError
from interactivepet.model.archive import write_archive
from interactivepet.model.card import make_card
from interactivepet.model.description import (
    PROMPTABLE_WEIGHTS,
    FoldRecord,
    ModelDescription,
    PromptableRecord,
    WeightPrecision,
    name_weights,
    strip_plans,
    strip_rule,
)
from interactivepet.model.manifest import DESCRIPTION, LICENCE, MODEL_CARD, is_name
from interactivepet.pipeline.predict.model_scores import find_curves, find_folds_alone
from interactivepet.pipeline.predict.requests import read_inputs
from interactivepet.pipeline.predict.trained import TaskResults, load_fold_weights, read_task
from interactivepet.pipeline.train.promptable_folder import load_promptable_weights, read_promptable
from interactivepet.pipeline.workspace import Workspace

__all__ = ["ModelExportOptions", "run_model_export"]

logger = logging.getLogger(__name__)

ENDING = ".zip"


@dataclass(frozen=True, slots=True)
class ModelExportOptions:
    """What a file holds besides folds and choice, and how.

    Attributes:
        promptable: the task's own promptable model is in it.
        precision: of the weights; None takes float16 where masks of unseen cases stay the same.
        device: that predicts these masks: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        n_threads: of torch.
        licence: of the weights, in place of what the folds' cards say.
        origin: how the model was made, for its card.
    """

    promptable: bool = False
    precision: WeightPrecision | None = None
    device: str = "auto"
    n_threads: int = 1
    licence: str = ""
    origin: str = ""


def run_model_export(
    workspace: Workspace, path: Path, *, folds: Sequence[int] = (), options: ModelExportOptions = ModelExportOptions()
) -> ModelDescription:
    """Write what inference needs of a task, and nothing else, as a zip file.

    Args:
        workspace: of the task.
        path: of the file, which must not exist yet; its name without the ending is the model's.
        folds: indices; all complete ones when empty.
        options: what else it holds, and how.

    Returns:
        What was written besides the weights.

    Raises:
        ModelError: the path cannot be that of a model, or a weight is too large for float16.
        MissingArtefactError: the task has no promptable model, which was asked for.
        ArtefactError: no fold is trained, or plan, split, folds and choice do not belong together.
    """
    if path.suffix != ENDING or not is_name(path.stem):
        raise ModelError(f"{path}: expected a name such as lesion.zip, of letters, digits, dots, hyphens, underscores")
    if path.exists():
        raise ModelError(f"{path} exists already; delete it, or choose another name")
    results = read_task(workspace, sorted(set(folds)))
    promptable = read_promptable(workspace) if options.promptable else None
    precision = options.precision or _choose_precision(workspace, results, options)
    found = _describe(workspace, results, promptable, precision=precision)
    description = found.model_copy(update={"origin": options.origin, "licence": options.licence or found.licence})
    _warn_of_share(description, results.rule, licence=promptable.model.licence if promptable else "")
    files = _list_files(workspace, results, description, promptable=promptable, name=path.stem)
    write_archive(path, files, name=path.stem)
    return description


def _choose_precision(workspace: Workspace, results: TaskResults, options: ModelExportOptions) -> WeightPrecision:
    import torch

    from interactivepet.pipeline.predict.model_precision import choose_precision

    torch.set_num_threads(options.n_threads)
    return choose_precision(workspace, results, device=options.device)


def _describe(
    workspace: Workspace, results: TaskResults, promptable: PromptableExport | None, *, precision: WeightPrecision
) -> ModelDescription:
    inputs = read_inputs(workspace).model_copy(update={"suv": _find_suv(workspace)})
    licences = dict.fromkeys(card.licence.strip() for cards in results.cards.values() for card in cards)
    if promptable is not None:
        licences[promptable.model.licence.strip()] = None
    has_promptable = promptable is not None
    return ModelDescription(
        plans=strip_plans(results.plans),
        rule=strip_rule(results.rule, has_promptable=has_promptable) if results.rule is not None else None,
        inputs=inputs,
        intensities=results.intensities,
        folds={name: tuple(_record(card) for card in cards) for name, cards in results.cards.items()},
        folds_alone=find_folds_alone(results.rule),
        curves=find_curves(workspace, results),
        precision=precision,
        promptable=_record_promptable(promptable) if promptable is not None else None,
        licence="\n\n".join(licences),
    )


def _warn_of_share(description: ModelDescription, rule: EnsembleRule | None, *, licence: str) -> None:
    """Say where predictions with the file will differ from what cross-validation judged."""
    if description.lacks_promptable:
        logger.warning(
            "nnInteractive has a share in the choice and is not in the file: without --nninteractive MODEL the folds "
            "predict alone; --promptable adds the task's own promptable model"
        )
    if description.promptable is None or rule is None:
        return
    if not any(description.shares.values()):
        logger.warning("the promptable model has no share in the choice, so predictions do not use it")
    elif not rule.nninteractive.endswith(f"({licence.splitlines()[0]})"):
        logger.warning(
            "the choice was made with %s, not with the task's own promptable model; run interactivepet_postprocessing "
            "with the folder of interactivepet_export_nninteractive, so that share and scores are those of this model",
            rule.nninteractive,
        )


def _record_promptable(export: PromptableExport) -> PromptableRecord:
    plan = export.model.plan
    return PromptableRecord(
        network=plan.network,
        patch_size=plan.patch_size,
        prompts=plan.prompts,
        channel=plan.channel,
        licence=export.model.licence,
        n_training=len(export.model.training),
        dice=fmean(export.fold_dice.values()) if export.fold_dice else None,
    )


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
    workspace: Workspace,
    results: TaskResults,
    description: ModelDescription,
    *,
    promptable: PromptableExport | None,
    name: str,
) -> Iterator[tuple[str, bytes]]:
    from interactivepet.model.weights import pack_weights

    yield DESCRIPTION, (description.model_dump_json(indent=2) + "\n").encode()
    yield MODEL_CARD, make_card(description, name=name).encode()
    yield LICENCE, f"{description.licence}\n".encode()
    for configuration, cards in results.cards.items():
        plan = results.plans.plan(configuration)
        for card in cards:
            weights = load_fold_weights(workspace, configuration, card=card)
            packed = pack_weights(plan, weights, precision=description.precision)
            yield name_weights(configuration, card.fold), packed
    if promptable is not None and description.promptable is not None:
        weights = load_promptable_weights(workspace, promptable.model)
        # its masks were not compared
        yield PROMPTABLE_WEIGHTS, pack_weights(description.promptable, weights, precision="float32")
