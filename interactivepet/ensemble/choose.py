"""How folds and promptable model are fused and cleaned: chosen on cases that the folds never saw.

Four choices are made one after the other: configurations, blend, threshold, clean-up steps. An honest estimate of
the result repeats all four without each fold in turn and scores that fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.ensemble import CandidateScore, Choice, FusionRule, PostprocessingRule
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.click_constraints import make_mask
from interactivepet.ensemble.fuse import blend
from interactivepet.errors import FusionError
from interactivepet.evaluation.metrics import mean_case_dice
from interactivepet.postprocessing.choose import choose_simplest, make_candidates

__all__ = ["THRESHOLDS", "WEIGHTS", "ClickStage", "OutOfFoldCase", "choose_rule", "list_pools", "make_masks"]

WEIGHTS = (0.0, 1.0, 0.2, 0.1, 0.3, 0.4)
"""Shares of the promptable model, from simple (one kind of model) to complicated. Its probabilities are 0 or 1, so that
a share moves the folds' threshold inside and outside of its mask; from 0.5 on nothing but that mask would count."""
THRESHOLDS = (0.5, 0.4, 0.6, 0.3, 0.7)
"""From what needs no reason to what lies far from it."""

Scores = npt.NDArray[np.float64]
Stage = Literal["configuration", "blend", "threshold", "postprocessing"]
_STAGES: tuple[Stage, ...] = get_args(Stage)
Rules = tuple[FusionRule, PostprocessingRule]
Pool = tuple[Configuration, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClickStage:
    """What was predicted of a case after some clicks; arrays are loaded when needed.

    Attributes:
        clicks: what the predictions were given; empty without clicks.
        load_folds: loads the mean out-of-fold prediction of some configurations' networks.
        load_promptable: loads the promptable model's; None when there is none.
    """

    clicks: tuple[Click, ...]
    load_folds: Callable[[Pool], Prediction]
    load_promptable: Callable[[], Prediction] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFoldCase:
    """A validation case of one fold.

    Attributes:
        id: the case's identifier.
        fold: index of the fold that did not train on it.
        geometry: the grid of reference and predictions.
        load_label: loads the reference (I, J, K) uint8.
        stages: at least one; the case's score is the mean over them.
    """

    id: str
    fold: int
    geometry: Geometry
    load_label: Callable[[], npt.NDArray[np.uint8]]
    stages: tuple[ClickStage, ...]


def choose_rule(
    cases: Sequence[OutOfFoldCase],
    *,
    labels: Sequence[int],
    pools: Sequence[Pool],
    with_clicks: bool,
    margin: float = 0.002,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """Choose configurations, blend, threshold and postprocessing by mean out-of-fold Dice.

    With the cases of one fold only, each case is left out in turn instead of each fold.

    Args:
        cases: at least two, of one click mode.
        labels: values that are scored.
        pools: configurations to average, such as `list_pools` gives; the first is the simplest.
        with_clicks: whether clicks were given; without them neither the promptable model nor a clean-up
            step that looks at clicks is tried. With them, folds and promptable model alone are equally simple: a blend
            must beat the better of the two.
        margin: a more complicated candidate must beat a simpler one by more than this mean Dice.
        progress: called after every case with the number of cases done and to do; each of the four stages
            goes through all cases once, and so does the score of the folds alone where the promptable model has a
            share.

    Returns:
        The choice, the score of every candidate, and the nested estimate (Cawley and Talbot 2010, JMLR 11:
        a score that was selected for being high is optimistic). Where the promptable model has a share, the last
        candidate is the choice without it.

    Raises:
        FusionError: fewer than two cases, predictions that do not fit each other, or a promptable prediction
            for some cases only.
    """
    weights = _find_weights(cases, with_clicks=with_clicks)
    groups = _find_groups(cases)
    # The first split sees every case and makes the choice; each other one leaves a group out.
    seen = [np.ones(len(cases), dtype=bool), *(groups != group for group in np.unique(groups))]
    volumes = [_measure_objects(case) for case in cases]
    table = _ScoreTable(cases, labels, progress)
    chosen: list[Rules] = [(FusionRule(configurations=pools[0]), PostprocessingRule())] * len(seen)
    candidates: list[CandidateScore] = []
    for stage in _STAGES:
        options = [
            _expand(stage, rules, pools, weights=weights, volumes_ml=_pick(volumes, part), with_clicks=with_clicks)
            for rules, part in zip(chosen, seen, strict=True)
        ]
        table.add(rules for option in options for rules in option)
        if stage == "blend":
            options = [_lead_with_better(option, table, part) for option, part in zip(options, seen, strict=True)]
        chosen = [
            option[choose_simplest(table.rows(option)[:, part], margin=margin)]
            for option, part in zip(options, seen, strict=True)
        ]
        candidates += [
            _to_candidate(stage, rules, table[rules], groups, chosen=rules == chosen[0]) for rules in options[0]
        ]
    candidates += _score_folds_alone(chosen[0], table, groups)
    return _to_choice(chosen, candidates, table, groups)


def _score_folds_alone(rules: Rules, table: _ScoreTable, groups: npt.NDArray[np.int64]) -> list[CandidateScore]:
    """Score the chosen rules without the promptable model, which may be missing where they are used."""
    fusion, cleaning = rules
    if fusion.nninteractive_weight == 0:
        return []
    alone = (fusion.model_copy(update={"nninteractive_weight": 0.0}), cleaning)
    table.add([alone])
    return [_to_candidate("postprocessing", alone, table[alone], groups, chosen=False)]


class _ScoreTable:
    """Dice of every rule on every case, each computed once."""

    def __init__(
        self,
        cases: Sequence[OutOfFoldCase],
        labels: Sequence[int],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._cases = cases
        self._labels = labels
        self._progress = progress
        self._scores: dict[Rules, Scores] = {}

    def __getitem__(self, rules: Rules) -> Scores:
        """Scores (n_cases,) of a rule that was added."""
        return self._scores[rules]

    def rows(self, rules: Sequence[Rules]) -> Scores:
        """Scores (n_rules, n_cases)."""
        return np.stack([self._scores[rule] for rule in rules])

    def add(self, rules: Iterable[Rules]) -> None:
        """Score what was not scored before; one case is in memory at a time."""
        missing = [rule for rule in dict.fromkeys(rules) if rule not in self._scores]
        scores = np.empty((len(missing), len(self._cases)))
        for number, case in enumerate(self._cases):
            scores[:, number] = _score_case(case, missing, self._labels)
            if self._progress is not None:
                self._progress(number + 1, len(self._cases))
        self._scores.update(zip(missing, scores, strict=True))


def _score_case(case: OutOfFoldCase, rules: Sequence[Rules], labels: Sequence[int]) -> list[float]:
    """Give the mean Dice over the labels, and over the case's stages, of each rule on one case."""
    label = case.load_label()
    find_dice = partial(mean_case_dice, reference=label, labels=labels)
    scores = [[find_dice(mask) for mask in make_masks(stage, rules)] for stage in case.stages]
    return [float(score) for score in np.mean(scores, axis=0)]


def make_masks(stage: ClickStage, rules: Sequence[Rules]) -> Iterator[npt.NDArray[np.uint8]]:
    """Give the mask (I, J, K) of each rule, made from a stage's predictions and clicks.

    Rules that share configurations, or all of the fusion, should stand together: one of each is kept at a time.
    """
    needs_promptable = any(fusion.nninteractive_weight > 0 for fusion, _ in rules)
    promptable = stage.load_promptable() if needs_promptable and stage.load_promptable is not None else None
    folds: dict[Pool, Prediction] = {}
    fused: dict[FusionRule, Prediction] = {}
    for fusion, rule in rules:
        if fusion.configurations not in folds:
            folds = {fusion.configurations: stage.load_folds(fusion.configurations)}
        if fusion not in fused:
            mixed = folds[fusion.configurations]
            weight = fusion.nninteractive_weight
            fused = {fusion: mixed if promptable is None else blend(mixed, promptable, stage.clicks, weight=weight)}
        yield make_mask(fused[fusion], stage.clicks, fusion=fusion, postprocessing=rule)[0]


def list_pools(configurations: Sequence[Configuration]) -> list[Pool]:
    """List what may be averaged: each configuration alone, then every two (nnU-Net)."""
    return [(name,) for name in configurations] + list(combinations(configurations, 2))


def _lead_with_better(options: tuple[Rules, ...], table: _ScoreTable, part: npt.NDArray[np.bool_]) -> tuple[Rules, ...]:
    """Put the better of folds alone and promptable model alone first, where both are there."""
    if len(options) < 2 or table[options[1]][part].mean() <= table[options[0]][part].mean():
        return options
    return (options[1], options[0], *options[2:])


def _expand(
    stage: Stage,
    rules: Rules,
    pools: Sequence[Pool],
    *,
    weights: Sequence[float],
    volumes_ml: Sequence[float],
    with_clicks: bool,
) -> tuple[Rules, ...]:
    """List a stage's candidates, simple ones first, on top of what was chosen before."""
    fusion, cleaning = rules
    if stage == "configuration":
        return tuple((fusion.model_copy(update={"configurations": pool}), cleaning) for pool in pools)
    if stage == "blend":
        return tuple((fusion.model_copy(update={"nninteractive_weight": w}), cleaning) for w in weights)
    if stage == "threshold":
        return tuple((fusion.model_copy(update={"threshold": t}), cleaning) for t in THRESHOLDS)
    return tuple((fusion, rule) for rule in make_candidates(volumes_ml, with_clicks=with_clicks))


def _find_weights(cases: Sequence[OutOfFoldCase], *, with_clicks: bool) -> tuple[float, ...]:
    """Give the weights to try, refusing cases that do not form a basis for a choice."""
    if len(cases) < 2:
        raise FusionError(f"{len(cases)} out-of-fold case; a choice needs at least two: train more folds")
    without = [case.id for case in cases if any(stage.load_promptable is None for stage in case.stages)]
    if not with_clicks or len(without) == len(cases):
        return WEIGHTS[:1]
    if without:
        raise FusionError(
            f"{', '.join(without)}: no nnInteractive prediction, but other cases have one; predict them all"
        )
    return WEIGHTS


def _find_groups(cases: Sequence[OutOfFoldCase]) -> npt.NDArray[np.int64]:
    """Give the number of each case's fold, or of the case itself when there is one fold only."""
    folds = np.asarray([case.fold for case in cases], dtype=np.int64)
    return folds if len(np.unique(folds)) > 1 else np.arange(len(cases), dtype=np.int64)


def _measure_objects(case: OutOfFoldCase) -> list[float]:
    """Give the volumes in ml of the reference's objects: connected components, label by label."""
    components, _ = find_components(case.load_label())
    n_voxels = np.bincount(components.ravel())[1:]
    return [float(n) * case.geometry.voxel_volume_ml for n in n_voxels]


def _pick(volumes: Sequence[list[float]], part: npt.NDArray[np.bool_]) -> list[float]:
    """Join the volumes of the cases that are marked in `part`."""
    return [volume for own, is_seen in zip(volumes, part, strict=True) if is_seen for volume in own]


def _to_candidate(
    stage: Stage, rules: Rules, scores: Scores, groups: npt.NDArray[np.int64], *, chosen: bool
) -> CandidateScore:
    """Write down what one candidate scored."""
    return CandidateScore(
        stage=stage,
        fusion=rules[0],
        postprocessing=rules[1],
        dice=float(scores.mean()),
        fold_dice=_group_means(scores, groups),
        chosen=chosen,
    )


def _to_choice(
    chosen: Sequence[Rules],
    candidates: Sequence[CandidateScore],
    table: _ScoreTable,
    groups: npt.NDArray[np.int64],
) -> Choice:
    """Put the choice and its nested estimate together; `chosen` begins with the choice on all cases."""
    nested = np.empty(len(groups))
    for group, rules in zip(np.unique(groups), chosen[1:], strict=True):
        nested[groups == group] = table[rules][groups == group]
    fusion, cleaning = chosen[0]
    return Choice(
        fusion=fusion,
        postprocessing=cleaning,
        dice=float(table[chosen[0]].mean()),
        nested_dice=float(nested.mean()),
        nested_fold_dice=_group_means(nested, groups),
        candidates=tuple(candidates),
    )


def _group_means(scores: Scores, groups: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """Average within each group, in the order of their numbers."""
    return tuple(float(scores[groups == group].mean()) for group in np.unique(groups))
