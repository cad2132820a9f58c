"""Trained folds on disk: their cards, their cases and what they predicted out of fold."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from interactivepet.core.artefact import hash_text
from interactivepet.core.cascade import CoarseMasks
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import ClickMode, EnsembleRule
from interactivepet.core.plan import Configuration, Fold, FoldList, Plan, Plans
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import ArtefactError, StaleArtefactError
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.batches import StoredCase, load_cases
from interactivepet.training.inputs import FoldData

__all__ = [
    "CLICK_MODES",
    "check_cases",
    "find_trained",
    "hash_cards",
    "list_modes",
    "load_fold",
    "read_card",
    "read_cards",
    "read_out_of_fold",
    "read_reference",
    "read_rule",
    "to_prediction",
]

logger = logging.getLogger(__name__)

CLICK_MODES: tuple[ClickMode, ...] = get_args(ClickMode)
"""Every fold is judged without clicks and with the interior margin points."""


def list_modes(plans: Iterable[Plan]) -> tuple[ClickMode, ...]:
    """Give the click modes that configurations are judged in: cropped to clicks, none predicts without them."""
    return ("extreme",) if any(plan.crop.region == "clicks" for plan in plans) else CLICK_MODES


def load_fold(workspace: Workspace, plan: Plan, *, fold: Fold, records: Mapping[str, CaseRecord]) -> FoldData:
    """Join a fold with the stored cases and its folder.

    Raises:
        MissingArtefactError: the masks that the second step of a cascade refines are not there.
    """
    coarse: CoarseMasks | None = None
    if plan.configuration == "3d_cascade":
        command = f"interactivepet_train -t {workspace.task} -c 3d_cascade"
        coarse = read_artefact(workspace.coarse_card, CoarseMasks, command=command)

    def load(names: Iterable[str]) -> list[StoredCase]:
        cases = load_cases(workspace.cases(plan.configuration), {name: records[name] for name in names})
        return cases if coarse is None else [_add_coarse(workspace, case, coarse) for case in cases]

    return FoldData(
        fold.index,
        load(fold.training),
        load(fold.validation),
        workspace.fold(plan.configuration, fold.index),
        coarse.made_from if coarse is not None else "",
    )


def _add_coarse(workspace: Workspace, case: StoredCase, coarse: CoarseMasks) -> StoredCase:
    """Join a case with the first step's masks."""
    name = case.record.id
    paths = {mode: workspace.coarse_masks(mode) / f"{name}.b2nd" for mode in CLICK_MODES}
    return replace(case, coarse_paths=paths, guided=coarse.cases[name].box())


def read_reference(workspace: Workspace, manifest: DatasetManifest, *, record: CaseRecord) -> npt.NDArray[np.uint8]:
    """Read a training case's label (I, J, K); empty when it has none."""
    name = manifest.entry(record.id).label
    if name is None:
        return np.zeros(record.original.shape, np.uint8)
    return read_mask(workspace.raw / name)[0]


def read_card(workspace: Workspace, plan: Plan, *, fold: Fold) -> CheckpointCard:
    """Read the card of a complete fold, which may have been trained on a part of the fold's training patients.

    Raises:
        MissingArtefactError: the fold is not complete.
        StaleArtefactError: it was trained with another plan or another split.
    """
    command = f"interactivepet_train -t {workspace.task} -c {plan.configuration} -f {fold.index}"
    path = workspace.card(plan.configuration, fold.index)
    card = read_artefact(path, CheckpointCard, command=command, made_from=plan.content_hash())
    is_part = card.patients is not None and set(card.training) <= set(fold.training)
    if card.validation != fold.validation or not (is_part or card.training == fold.training):
        raise StaleArtefactError(f"{path} was trained on another split of the cases; run {command} again")
    return card


def read_cards(workspace: Workspace, plan: Plan, *, split: FoldList) -> list[CheckpointCard]:
    """Read the cards of all folds of a configuration; raises as `read_card` does."""
    return [read_card(workspace, plan, fold=fold) for fold in split.folds]


def find_trained(workspace: Workspace, plans: Plans, *, split: FoldList) -> dict[Configuration, list[CheckpointCard]]:
    """Give the cards of every configuration whose folds are all complete, in the order of the plans.

    Raises:
        MissingArtefactError: none is; the message names the first fold that is missing of the default one.
        StaleArtefactError: none is, as the default one's folds were trained with another plan or another split.
    """
    trained: dict[Configuration, list[CheckpointCard]] = {}
    for name in plans.configurations:
        if not all(workspace.card(name, fold.index).is_file() for fold in split.folds):
            continue
        try:
            trained[name] = read_cards(workspace, plans.plan(name), split=split)
        except ArtefactError as error:
            logger.warning("%s takes no part: %s", name, error)
    if not trained:
        # names what is missing or stale
        read_cards(workspace, plans.plan(plans.default), split=split)
    return trained


def read_rule(workspace: Workspace, plans: Plans, *, split: FoldList) -> EnsembleRule:
    """Read the choice from cross-validation and check that it was made on the folds as they are now.

    Raises:
        MissingArtefactError: nothing was chosen yet.
        StaleArtefactError: a fold that took part was trained anew since.
    """
    command = f"interactivepet_postprocessing -t {workspace.task}"
    rule = read_artefact(workspace.ensemble, EnsembleRule, command=command)
    unknown = [name for name in rule.configurations if name not in plans.configurations]
    if unknown:
        raise StaleArtefactError(f"{workspace.ensemble} was chosen with {unknown}, no longer planned; run {command}")
    cards = [card for name in rule.configurations for card in read_cards(workspace, plans.plan(name), split=split)]
    return read_artefact(workspace.ensemble, EnsembleRule, command=command, made_from=hash_cards(cards))


def check_cases(card: CheckpointCard, data: FoldData, *, configuration: Configuration) -> None:
    """Refuse out-of-fold predictions of cases that have changed since.

    Raises:
        StaleArtefactError: images, labels, clicks or coarse masks are not those that the fold was trained on.
    """
    if card.cases_hash != data.cases_hash:
        raise StaleArtefactError(
            f"{card.task}: images, labels, clicks or coarse masks have changed since fold {card.fold} was trained; "
            f"run interactivepet_train -t {card.task} -c {configuration} -f {card.fold} again"
        )


def hash_cards(cards: Sequence[CheckpointCard]) -> str:
    """Hash the cards of all folds: what a choice over them is made from."""
    return hash_text(*(card.content_hash() for card in cards))


def read_out_of_fold(workspace: Workspace, plan: Plan, *, record: CaseRecord, fold: int, mode: ClickMode) -> Prediction:
    """Read a case's out-of-fold probabilities on the scanner's grid."""
    path = workspace.out_of_fold(plan.configuration, fold, mode=mode) / f"{record.id}.b2nd"
    foreground = read_array(path, command=f"interactivepet_train -t {workspace.task} -c {plan.configuration} -f {fold}")
    return to_prediction(foreground, record, labels=plan.label_values)


def to_prediction(foreground: npt.NDArray[np.float16], record: CaseRecord, *, labels: tuple[int, ...]) -> Prediction:
    """Complete stored label probabilities (L, I, J, K) with the background's."""
    known = foreground.astype(np.float32)
    background = np.clip(1.0 - known.sum(axis=0, keepdims=True), 0.0, 1.0)
    return Prediction(record.id, np.concatenate((background, known)), record.original.geometry(), labels)
