"""What was trained, in a task's folders or in a model that was made of them: plans, choice, and the folds to load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from interactivepet.core.artefact import hash_text
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import EnsembleRule, add_first_steps
from interactivepet.core.intensities import IntensityRange
from interactivepet.core.plan import Configuration, FoldList, Plan, Plans
from interactivepet.errors import ArtefactError, ModelError
from interactivepet.model.description import FoldRecord, name_weights
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.decisions import read_fingerprint, read_folds, read_plans
from interactivepet.pipeline.train.folds import hash_cards, read_card, read_rule
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.intensities import find_seen_ranges
from interactivepet.training.checkpoint import load_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FoldWeights",
    "PredictionSource",
    "TaskResults",
    "Trained",
    "hash_results",
    "load_fold_weights",
    "open_trained",
    "read_task",
]

logger = logging.getLogger(__name__)

PredictionSource = Workspace | ModelFolder
"""Where trained folds are: a task, or a model."""


@dataclass(frozen=True, slots=True)
class FoldWeights:
    """One fold that can be loaded.

    Attributes:
        name: for messages, such as `fold_0`.
        licence: of the weights.
        load: reads its `state_dict`.
    """

    name: str
    licence: str
    load: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything that prediction needs, with weights that are not loaded yet.

    Attributes:
        plans: of the folds.
        rule: the choice from cross-validation; None without one.
        folds: by configuration, the first step of a cascade before the second.
        made_of: hash of each configuration's folds.
        intensities: what training saw, per channel; None where that is not known.
    """

    plans: Plans
    rule: EnsembleRule | None
    folds: Mapping[Configuration, tuple[FoldWeights, ...]]
    made_of: tuple[str, ...]
    intensities: tuple[IntensityRange, ...] | None


@dataclass(frozen=True, slots=True)
class TaskResults:
    """What a task's files say of its folds; attributes as of `Trained`, with the cards of the folds."""

    plans: Plans
    rule: EnsembleRule | None
    cards: Mapping[Configuration, tuple[CheckpointCard, ...]]
    intensities: tuple[IntensityRange, ...] | None


def open_trained(source: PredictionSource, folds: Sequence[int], *, rule: EnsembleRule | None = None) -> Trained:
    """Find what the choice asks for, or the default configuration's folds without one.

    Args:
        source: a task or a model.
        folds: indices; all that are there when empty.
        rule: in place of the choice from cross-validation.

    Raises:
        ArtefactError: a fold is not there, or plan, split, folds and choice do not belong together.
        ModelError: a fold is not in the model.
    """
    if isinstance(source, ModelFolder):
        return _open_model(source, folds, rule)
    results = read_task(source, folds, rule=rule)
    known = {
        name: tuple(
            FoldWeights(f"fold_{card.fold}", card.licence, partial(load_fold_weights, source, name, card=card))
            for card in cards
        )
        for name, cards in results.cards.items()
    }
    made_of = tuple(hash_cards(cards) for cards in results.cards.values())
    return Trained(results.plans, results.rule, known, made_of, results.intensities)


def read_task(workspace: Workspace, folds: Sequence[int], *, rule: EnsembleRule | None = None) -> TaskResults:
    """Read plans, choice and cards of a task; arguments and errors as of `open_trained`."""
    plans = read_plans(workspace)
    split = read_folds(workspace)
    rule = rule or _read_rule(workspace, plans, split)
    wanted = [name for c in rule.choices.values() for name in c.fusion.configurations] if rule else [plans.default]
    cards = {name: _read_cards(workspace, plans.plan(name), split, folds) for name in add_first_steps(wanted)}
    return TaskResults(plans, rule, cards, _find_intensities(workspace, plans, cards))


def hash_results(results: TaskResults) -> str:
    """Hash plans, choice and folds, to tell whether figures are of those that are there now."""
    rule = results.rule.content_hash() if results.rule is not None else ""
    return hash_text(results.plans.content_hash(), rule, *map(hash_cards, results.cards.values()))


def load_fold_weights(workspace: Workspace, configuration: Configuration, *, card: CheckpointCard) -> dict[str, Tensor]:
    """Read a fold's `state_dict` after checking the file against its card."""
    return load_weights(workspace.fold(configuration, card.fold) / "weights.pt", sha256=card.weights_sha256)


def _open_model(model: ModelFolder, folds: Sequence[int], rule: EnsembleRule | None) -> Trained:
    description = model.description
    known: dict[Configuration, tuple[FoldWeights, ...]] = {}
    made_of = []
    for name in description.needed:
        records = _choose_folds(model, name, folds)
        known[name] = tuple(
            FoldWeights(f"fold_{r.fold}", description.licence, partial(model.load_weights, name, r.fold))
            for r in records
        )
        made_of.append(hash_text(*(model.manifest.files[name_weights(name, r.fold)].sha256 for r in records)))
    return Trained(description.plans, rule or description.rule, known, tuple(made_of), description.intensities)


def _choose_folds(model: ModelFolder, configuration: Configuration, folds: Sequence[int]) -> tuple[FoldRecord, ...]:
    records = {record.fold: record for record in model.description.folds[configuration]}
    for index in folds:
        if index not in records:
            held = ", ".join(map(str, records))
            raise ModelError(f"{model.source}: fold {index} of {configuration} is not in the model; it has {held}")
    return tuple(records[index] for index in folds or records)


def _find_intensities(
    workspace: Workspace, plans: Plans, cards: Mapping[Configuration, Sequence[CheckpointCard]]
) -> tuple[IntensityRange, ...] | None:
    """Find what training saw: on a card or, for folds from before cards told it, in the fingerprint."""
    told = [card.intensities for known in cards.values() for card in known if card.intensities is not None]
    if told:
        return told[0]
    if not workspace.fingerprint.is_file():
        return None
    fingerprint = read_fingerprint(workspace)
    return find_seen_ranges(fingerprint) if fingerprint.content_hash() == plans.made_from else None


def _read_cards(workspace: Workspace, plan: Plan, split: FoldList, folds: Sequence[int]) -> tuple[CheckpointCard, ...]:
    """Read the cards of the folds that were asked for, or of all that are complete."""
    complete = [fold.index for fold in split.folds if workspace.card(plan.configuration, fold.index).is_file()]
    indices = tuple(folds) or tuple(complete) or (0,)
    for index in indices:
        if not 0 <= index < len(split.folds):
            raise ArtefactError(f"fold {index} does not exist; folds.json has {len(split.folds)}")
    return tuple(read_card(workspace, plan, fold=split.folds[index]) for index in indices)


def _read_rule(workspace: Workspace, plans: Plans, split: FoldList) -> EnsembleRule | None:
    """Read the choice and check that it was made on the folds as they are now."""
    if not workspace.ensemble.is_file():
        logger.warning("no ensemble.json: run interactivepet_postprocessing to choose threshold and postprocessing")
        return None
    return read_rule(workspace, plans, split=split)
