"""Trained folds, nnInteractive and the chosen rules, loaded to predict new cases."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import Choice, ChoiceMode, EnsembleRule, FusionRule, PostprocessingRule
from interactivepet.core.intensities import IntensityRange
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration, FoldList, Plan, Plans
from interactivepet.ensemble.folds import FoldEnsemble, add_first_steps
from interactivepet.errors import ArtefactError
from interactivepet.inference.network import FoldNetwork, open_network
from interactivepet.inference.segmenter import Segmenter
from interactivepet.networks.precision import choose_device
from interactivepet.nninteractive.ordered import OrderedSegmenter
from interactivepet.pipeline.decisions import read_fingerprint, read_folds, read_plans
from interactivepet.pipeline.train.folds import read_card, read_rule
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.intensities import find_seen_ranges
from interactivepet.training.checkpoint import load_weights

__all__ = ["Models", "PredictionOptions", "open_models", "warn_of_size"]

logger = logging.getLogger(__name__)

MOST_GROWTH = 3.0
"""How much longer than the training cases an image may be along an axis before the user is warned: people and beds
differ less, a cut-out and a whole body more."""


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """How to predict.

    Attributes:
        folds: which to average; all complete ones when empty.
        tta: average over mirrored inputs.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        n_threads: of torch.
        promptable: nnInteractive; None leaves it out.
        save_probabilities: also write each label's probability, as NIfTI.
        any_intensity: predict an image that seems to be in another unit than the training cases.
    """

    folds: tuple[int, ...] = ()
    tta: bool = True
    device: str = "auto"
    n_threads: int = 1
    promptable: PromptableSource | None = None
    save_probabilities: bool = False
    any_intensity: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Everything that takes part in a prediction.

    Attributes:
        plans: of the folds.
        folds: the trained networks by configuration, the first step of a cascade before the second.
        promptable: nnInteractive, when it takes part.
        rule: the choice from cross-validation; None uses the folds at threshold 0.5.
        cards: of the folds of every configuration.
        intensities: what training saw, per channel; None where that is not known.
    """

    plans: Plans
    folds: Mapping[Configuration, FoldEnsemble]
    promptable: Segmenter | None
    rule: EnsembleRule | None
    cards: Mapping[Configuration, Sequence[CheckpointCard]]
    intensities: tuple[IntensityRange, ...] | None = None

    @property
    def labels(self) -> Mapping[str, int]:
        """Label names and values."""
        return self.plans.labels

    @property
    def description(self) -> str:
        """Names and licences, for the log and the person who uses the masks."""
        names = [f"{model.name} ({model.licence})" for model in self.folds.values()]
        if self.promptable is not None:
            names.append(f"nnInteractive {self.promptable.name} ({self.promptable.licence})")
        return "; ".join(names)

    def choice(self, clicks: Sequence[Click], *, is_corrected: bool = False) -> tuple[FusionRule, PostprocessingRule]:
        """Give the rules for a case with these clicks, of which some may correct a mask that was shown."""
        chosen: Choice | None = None
        if self.rule is not None:
            mode: ChoiceMode = "none" if not clicks else "corrected" if is_corrected else "extreme"
            # a plan that crops to clicks has no rule for a case without any, and refuses the case when it is cropped
            chosen = self.rule.choices.get(mode, self.rule.choices["extreme"])
        if chosen is None:
            return FusionRule(configurations=(self.plans.default,)), PostprocessingRule()
        return chosen.fusion, chosen.postprocessing


def warn_of_size(case: Case, plans: Plans) -> None:
    """Warn of an image that shows far more than those of training did, such as a whole body after cut-outs."""
    plan = plans.plan(plans.default)
    if plan.target_shape is not None or plan.crop.region == "clicks":
        return
    # in the order of their length, since an image may lie otherwise
    found = np.sort(np.asarray(case.geometry.shape) * case.geometry.spacing_mm)
    usual = np.sort(np.asarray(plan.median_shape) * plan.spacing_mm)
    if (found / usual).max() > MOST_GROWTH:
        logger.warning(
            "%s measures %s mm, the training cases %s mm in the median: what lies outside of anything that the "
            "networks have seen they may take for a lesion; cut the image as the training cases were",
            case.id,
            " x ".join(f"{mm:.0f}" for mm in found),
            " x ".join(f"{mm:.0f}" for mm in usual),
        )


@contextmanager
def open_models(
    workspace: Workspace,
    options: PredictionOptions,
    *,
    rule: EnsembleRule | None = None,
    with_corrections: bool = False,
) -> Iterator[Models]:
    """Load what the choice from cross-validation asks for, or the default configuration's folds without one.

    Args:
        workspace: of the task.
        options: folds, device, threads, mirrored inputs and nnInteractive.
        rule: in place of `ensemble.json`; nnInteractive is then there even if it has no share in it.
        with_corrections: masks will be corrected, so that a share of nnInteractive in the rule for that counts.

    Raises:
        MissingArtefactError: no fold is trained.
        StaleArtefactError: plan, split, folds and choice do not belong together.
    """
    plans = read_plans(workspace)
    split = read_folds(workspace)
    given, rule = rule, rule or _read_rule(workspace, plans, split)
    wanted = [name for c in rule.choices.values() for name in c.fusion.configurations] if rule else [plans.default]
    cards = {name: _read_cards(workspace, plans.plan(name), split, options) for name in add_first_steps(wanted)}
    folds = {name: _open_folds(workspace, plans.plan(name), known, options=options) for name, known in cards.items()}
    source = options.promptable if given is not None or _has_share(rule, options, with_corrections) else None
    seen = _find_intensities(workspace, plans, cards)
    if source is None:
        yield Models(plans, folds, None, rule, cards, seen)
        return
    labels, device = plans.plan(plans.default).label_values, str(choose_device(options.device))
    with source.open(labels=labels, device=device, n_threads=options.n_threads) as promptable:
        yield Models(plans, folds, OrderedSegmenter(promptable, plans.plan(plans.default)), rule, cards, seen)


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


def _read_cards(
    workspace: Workspace, plan: Plan, split: FoldList, options: PredictionOptions
) -> tuple[CheckpointCard, ...]:
    """Read the cards of the folds that were asked for, or of all that are complete."""
    complete = [fold.index for fold in split.folds if workspace.card(plan.configuration, fold.index).is_file()]
    indices = options.folds or tuple(complete) or (0,)
    for index in indices:
        if not 0 <= index < len(split.folds):
            raise ArtefactError(f"fold {index} does not exist; folds.json has {len(split.folds)}")
    return tuple(read_card(workspace, plan, fold=split.folds[index]) for index in indices)


def _open_folds(
    workspace: Workspace, plan: Plan, cards: Sequence[CheckpointCard], *, options: PredictionOptions
) -> FoldEnsemble:
    return FoldEnsemble(plan, tuple(_open_fold(workspace, plan, card, options=options) for card in cards))


def _has_share(rule: EnsembleRule | None, options: PredictionOptions, with_corrections: bool) -> bool:
    """Whether nnInteractive is there and has a share in the choice; says so when the two disagree."""
    used = [] if rule is None else [c for mode, c in rule.choices.items() if with_corrections or mode != "corrected"]
    weight = max((choice.fusion.nninteractive_weight for choice in used), default=0.0)
    if weight == 0 and options.promptable is not None:
        logger.info("nnInteractive takes no part: the choice from cross-validation gave it no weight")
    if weight > 0 and options.promptable is None:
        name = rule.nninteractive if rule is not None else ""
        logger.warning("the ensemble was chosen with nnInteractive (%s), which is off: folds only", name)
    return weight > 0 and options.promptable is not None


def _read_rule(workspace: Workspace, plans: Plans, split: FoldList) -> EnsembleRule | None:
    """Read the choice and check that it was made on the folds as they are now."""
    if not workspace.ensemble.is_file():
        logger.warning("no ensemble.json: run interactivepet_postprocessing to choose threshold and postprocessing")
        return None
    return read_rule(workspace, plans, split=split)


def _open_fold(workspace: Workspace, plan: Plan, card: CheckpointCard, *, options: PredictionOptions) -> FoldNetwork:
    weights = load_weights(workspace.fold(plan.configuration, card.fold) / "weights.pt", sha256=card.weights_sha256)
    return open_network(
        plan,
        weights,
        name=f"fold_{card.fold}",
        licence=card.licence,
        device=choose_device(options.device),
        tta=options.tta,
    )
