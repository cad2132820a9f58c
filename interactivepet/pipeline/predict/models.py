"""Trained folds, nnInteractive and the chosen rules, loaded to predict new cases."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from interactivepet.core.ensemble import Choice, ChoiceMode, EnsembleRule, FusionRule, PostprocessingRule
from interactivepet.core.intensities import IntensityRange
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration, Plan, Plans
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.inference.network import FoldNetwork, open_network
from interactivepet.inference.segmenter import Segmenter
from interactivepet.model.folder import ModelFolder
from interactivepet.model.promptable import open_promptable
from interactivepet.networks.precision import choose_device
from interactivepet.nninteractive.ordered import OrderedSegmenter
from interactivepet.pipeline.predict.trained import FoldWeights, PredictionSource, open_trained
from interactivepet.pipeline.train.promptable_source import PromptableSource

__all__ = ["Models", "PredictionOptions", "find_promptable", "open_models"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """How to predict.

    Attributes:
        folds: which to average; all complete ones when empty.
        tta: average over mirrored inputs.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        n_threads: of torch.
        promptable: nnInteractive; None leaves it out.
        own_promptable: the promptable model that is part of a model takes the place of `promptable`.
        save_probabilities: also write each label's probability, as NIfTI.
        any_intensity: predict an image that seems to be in another unit than the training cases.
    """

    folds: tuple[int, ...] = ()
    tta: bool = True
    device: str = "auto"
    n_threads: int = 1
    promptable: PromptableSource | None = None
    own_promptable: bool = True
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
        made_of: hash of the folds of every configuration.
        intensities: what training saw, per channel; None where that is not known.
    """

    plans: Plans
    folds: Mapping[Configuration, FoldEnsemble]
    promptable: Segmenter | None
    rule: EnsembleRule | None
    made_of: tuple[str, ...]
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


@contextmanager
def open_models(
    source: PredictionSource,
    options: PredictionOptions,
    *,
    rule: EnsembleRule | None = None,
    with_corrections: bool = False,
) -> Iterator[Models]:
    """Load what the choice from cross-validation asks for, or the default configuration's folds without one.

    Args:
        source: a task or a model.
        options: folds, device, threads, mirrored inputs and nnInteractive.
        rule: in place of `ensemble.json`; nnInteractive is then there even if it has no share in it.
        with_corrections: masks will be corrected, so that a share of nnInteractive in the rule for that counts.

    Raises:
        MissingArtefactError: no fold is trained.
        StaleArtefactError: plan, split, folds and choice do not belong together.
        ModelError: the model is damaged, or lacks a fold.
    """
    trained = open_trained(source, options.folds, rule=rule)
    plans = trained.plans
    folds = {name: _open_folds(plans.plan(name), known, options=options) for name, known in trained.folds.items()}
    models = Models(plans, folds, None, trained.rule, trained.made_of, trained.intensities)
    is_wanted = rule is not None or _has_share(trained.rule, with_corrections=with_corrections)
    with find_promptable(source, options) if is_wanted else nullcontext() as used:
        if used is None:
            _tell_absence(trained.rule, is_wanted=is_wanted, options=options, with_corrections=with_corrections)
            yield models
            return
        plan, device = plans.plan(plans.default), str(choose_device(options.device))
        own = [source.promptable_hash] if isinstance(source, ModelFolder) and used is not options.promptable else []
        with used.open(labels=plan.label_values, device=device, n_threads=options.n_threads) as promptable:
            yield replace(models, promptable=OrderedSegmenter(promptable, plan), made_of=(*trained.made_of, *own))


@contextmanager
def find_promptable(source: PredictionSource, options: PredictionOptions) -> Iterator[PromptableSource | None]:
    """Give a model's own promptable model, as long as the block lasts, or that of the options."""
    if isinstance(source, ModelFolder) and source.has_promptable and options.own_promptable:
        with open_promptable(source) as folder:
            yield PromptableSource(str(folder))
    else:
        yield options.promptable


def _open_folds(plan: Plan, folds: Sequence[FoldWeights], *, options: PredictionOptions) -> FoldEnsemble:
    return FoldEnsemble(plan, tuple(_open_fold(plan, fold, options=options) for fold in folds))


def _has_share(rule: EnsembleRule | None, *, with_corrections: bool) -> bool:
    """Whether nnInteractive has a share in the choice."""
    used = [] if rule is None else [c for mode, c in rule.choices.items() if with_corrections or mode != "corrected"]
    return any(choice.fusion.nninteractive_weight > 0 for choice in used)


def _tell_absence(
    rule: EnsembleRule | None, *, is_wanted: bool, options: PredictionOptions, with_corrections: bool
) -> None:
    """Say why nnInteractive takes no part where the user may expect it."""
    if rule is not None and _has_share(rule, with_corrections=with_corrections):
        logger.warning(
            "the ensemble was chosen with nnInteractive (%s), which is off: the folds predict alone; name its model "
            "with --nninteractive MODEL",
            rule.nninteractive or "not part of the model",
        )
    elif not is_wanted and options.promptable is not None:
        logger.info("nnInteractive takes no part: the choice from cross-validation gave it no weight")


def _open_fold(plan: Plan, fold: FoldWeights, *, options: PredictionOptions) -> FoldNetwork:
    return open_network(
        plan,
        fold.load(),
        name=fold.name,
        licence=fold.licence,
        device=choose_device(options.device),
        tta=options.tta,
    )
