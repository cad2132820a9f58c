"""Trained promptable models as folders that nnInteractive loads: to judge them, and for the user."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interactivepet.core.artefact import Artefact
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Fold, FoldList
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import FoldName, PromptableCard, PromptableExport, PromptablePlan
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.json_text import read_json
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_artefact
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import MissingArtefactError, SegmenterError, StaleArtefactError
from interactivepet.evaluation.metrics import dice
from interactivepet.nninteractive.model_folder import EVERY_PROMPT, describe_network, write_model_folder
from interactivepet.nninteractive.segmenter import NnInteractiveSegmenter
from interactivepet.pipeline.decisions import read_folds
from interactivepet.pipeline.stamps import FileStamps
from interactivepet.pipeline.train.promptable_cases import COMMAND
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.checkpoint import load_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "find_own_folds",
    "judge_model",
    "load_promptable_weights",
    "open_unseen",
    "read_promptable",
    "read_seen_cases",
    "run_promptable_export",
    "stamp_unseen",
]

NAME_OF_OTHERS = "Dataset999"
"""nnU-Net wants a number; tasks whose name has none share this one."""


def judge_model(
    workspace: Workspace,
    records: Sequence[CaseRecord],
    *,
    plan: PromptablePlan,
    weights: Path,
    sha256: str,
    device: str,
    n_threads: int,
) -> dict[str, float]:
    """Export a model for the moment, let nnInteractive's own session load it, and click once in each case.

    The click is in the deepest voxel of the case's largest object; what counts is the Dice with that object.

    Args:
        workspace: of the task.
        records: of prepared cases with objects.
        plan: of the model.
        weights: its file.
        sha256: of the file.
        device: `cpu`, `cuda` ...
        n_threads: of torch on a CPU.

    Returns:
        Dice by case.
    """
    if not records:
        return {}
    with tempfile.TemporaryDirectory(prefix="interactivepet_") as place:
        folder = Path(place) / "judged_model"
        _write(folder, plan, weights=weights, sha256=sha256, licence="unfinished", card=None)
        with NnInteractiveSegmenter.from_folder(folder, labels=(1,), device=device, n_threads=n_threads) as segmenter:
            return {record.id: _judge_case(workspace, record, segmenter) for record in records}


@contextmanager
def open_unseen(
    workspace: Workspace, source: PromptableSource, *, fold: int | None, own: Mapping[int, PromptableCard]
) -> Iterator[PromptableSource]:
    """Give a promptable model that never saw a fold's validation cases, as long as the context lasts.

    Args:
        workspace: of the task.
        source: the model that was asked for.
        fold: whose validation cases are to be segmented; None for cases of none.
        own: of `find_own_folds`; where it names the fold, that fold's own model takes the place of `source`.
    """
    if fold is None or fold not in own:
        yield source
        return
    card, weights = own[fold], workspace.promptable_fold(fold) / "weights.pt"
    with tempfile.TemporaryDirectory(prefix="interactivepet_") as place:
        folder = Path(place) / f"{workspace.task}_fold_{fold}"
        _write(folder, card.plan, weights=weights, sha256=card.weights_sha256, licence=card.licence, card=None)
        yield PromptableSource(str(folder))


def stamp_unseen(
    source: PromptableSource, stamps: FileStamps, *, fold: int | None, own: Mapping[int, PromptableCard]
) -> str:
    """Hash the model that `open_unseen` gives."""
    return source.stamp((), stamps) if fold is None or fold not in own else own[fold].content_hash()


def find_own_folds(
    workspace: Workspace, source: str, *, split: FoldList, folds: Sequence[int] = ()
) -> dict[int, PromptableCard]:
    """Find the folds that stand for an exported model of the task's own where it would judge what it has seen.

    Args:
        workspace: of the task.
        source: the model's folder, or a server's URL, behind which no card tells what the model has seen.
        split: of the task's cases.
        folds: whose cases are to be judged; all when empty.

    Returns:
        Fold -> card of a model that saw none of the fold's validation cases; empty for a model that saw none at all.

    Raises:
        SegmenterError: the model saw some of the cases, but as those of another task; or a fold does not exist.
        MissingArtefactError: a fold's model is not trained.
        StaleArtefactError: a fold's model was trained with another plan than the exported one, or on another split.
    """
    path = Path(source) / "card.json"
    if not _is_export(path):
        return {}
    model = read_artefact(path, PromptableExport, command="interactivepet_export_nninteractive").model
    shared = sorted({*model.training, *model.seen} & split.validation_folds.keys())
    if not shared:
        return {}
    if model.task != workspace.task:
        raise SegmenterError(
            f"{source} was trained on {len(shared)} cases of {workspace.task}, such as {shared[0]}, as cases of "
            f"{model.task}; on cases that it has seen it cannot be judged. Leave nnInteractive out, take a model "
            f"without these cases, or train one of the task's own: {COMMAND} -t {workspace.task}"
        )
    if strange := sorted(set(folds) - {fold.index for fold in split.folds}):
        raise SegmenterError(f"fold {strange[0]} does not exist; {workspace.folds} has 0 to {len(split.folds) - 1}")
    asked = [fold for fold in split.folds if not folds or fold.index in folds]
    return {fold.index: _read_unseen(workspace, fold, made_from=model.made_from) for fold in asked}


def read_seen_cases(folder: Path) -> tuple[str, ...]:
    """List the cases that an exported model has seen; none for a folder whose card does not tell."""
    path = folder / "card.json"
    if not _is_export(path):
        return ()
    model = read_artefact(path, PromptableExport, command="interactivepet_export_nninteractive").model
    return tuple(sorted({*model.training, *model.seen}))


def _is_export(path: Path) -> bool:
    """Whether a card was written by `interactivepet_export_nninteractive`; other models bring cards of other kinds."""
    try:
        content = read_json(path) if path.is_file() else {}
    except ValueError:
        return False
    return isinstance(content, dict) and "model" in content


def _read_unseen(workspace: Workspace, fold: Fold, *, made_from: str) -> PromptableCard:
    """Read the card of a fold's own model, which must have seen none of the fold's validation cases."""
    card = _read_card(workspace, fold.index, made_from=made_from)
    if {*card.training, *card.seen} & set(fold.validation):
        raise StaleArtefactError(
            f"{workspace.promptable_fold(fold.index)} has seen cases of this fold, by another split of the cases or by "
            "the model that it was started from; "
            f"run {COMMAND} -t {workspace.task} -f {fold.index} again"
        )
    return card


def _read_card(workspace: Workspace, fold: FoldName, *, made_from: str | None = None) -> PromptableCard:
    path = workspace.promptable_fold(fold) / "card.json"
    return read_artefact(path, PromptableCard, command=f"{COMMAND} -t {workspace.task} -f {fold}", made_from=made_from)


def _judge_case(workspace: Workspace, record: CaseRecord, segmenter: NnInteractiveSegmenter) -> float:
    case = read_case(workspace.raw, read_manifest(workspace.raw).entry(record.id)).permuted(record.trace.axes)
    objects = read_array(workspace.prompt_cases / f"{record.id}.b2nd", command=COMMAND)[-1]
    largest = max(record.foreground, key=lambda number: np.count_nonzero(objects == number))
    x, y, z = (float(mm) for mm in case.geometry.to_mm(record.foreground[largest][0]))
    found = segmenter.segment(case, [Click(position_mm=(x, y, z), label=1)]).probabilities[1] > 0
    return dice(found, objects == largest) or 0.0


def run_promptable_export(workspace: Workspace, folder: Path, *, fold: FoldName | None = None) -> PromptableExport:
    """Write a folder that nnInteractive's session and server load, with licence and card.

    Args:
        workspace: of the task.
        folder: must not exist yet.
        fold: number or `all`; None takes the model of all cases if there is one, else the first fold's.

    Returns:
        The card that was written.

    Raises:
        MissingArtefactError: the model is not trained.
        SegmenterError: the folder exists.
    """
    card = read_promptable(workspace, fold=fold)
    model = card.model
    _write(
        folder,
        model.plan,
        weights=workspace.promptable_fold(model.fold) / "weights.pt",
        sha256=model.weights_sha256,
        licence=model.licence,
        card=card,
    )
    return card


def read_promptable(workspace: Workspace, *, fold: FoldName | None = None) -> PromptableExport:
    """Read what is known of one of the task's own promptable models, and of its folds; as of `run_promptable_export`.

    Raises:
        MissingArtefactError: the model is not trained.
    """
    split = read_folds(workspace)
    names: list[FoldName] = ["all", *(known.index for known in split.folds)]
    complete = [name for name in names if (workspace.promptable_fold(name) / "card.json").is_file()]
    if fold is None and not complete:
        raise MissingArtefactError(f"{workspace.task} has no promptable model; run {COMMAND} -t {workspace.task} first")
    chosen = complete[0] if fold is None else fold
    model = _read_card(workspace, chosen)
    scores = _read_scores(workspace, complete, made_from=model.made_from)
    return PromptableExport(made_from=model.content_hash(), model=model, fold_dice=scores)


def load_promptable_weights(workspace: Workspace, model: PromptableCard) -> dict[str, Tensor]:
    """Read the `state_dict` of a promptable model after checking the file against its card."""
    return load_weights(workspace.promptable_fold(model.fold) / "weights.pt", sha256=model.weights_sha256)


def _read_scores(workspace: Workspace, names: Sequence[FoldName], *, made_from: str) -> dict[str, float]:
    """Give the mean scores of folds that were trained with one plan."""
    scores = {}
    for name in names:
        card = _read_card(workspace, name)
        if card.validation_dice and card.made_from == made_from:
            scores[str(name)] = float(np.mean(list(card.validation_dice.values())))
    return scores


def _write(
    folder: Path, plan: PromptablePlan, *, weights: Path, sha256: str, licence: str, card: Artefact | None
) -> None:
    match = re.fullmatch(r"Task(\d{3})_(\w+)", plan.task)
    write_model_folder(
        folder,
        load_weights(weights, sha256=sha256),
        licence=licence,
        dataset_name=f"Dataset{match[1]}_{match[2]}" if match else f"{NAME_OF_OTHERS}_{plan.task}",
        channel=plan.channel,
        architecture=describe_network(plan.network),
        patch_size=plan.patch_size,
        prompts=plan.prompts,
        offered=EVERY_PROMPT,
        card=card,
    )
