"""Choose fusion, threshold and postprocessing on out-of-fold predictions, and write the masks they give."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from interactivepet.core.axes import IDENTITY
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import Choice, ChoiceMode, ClickMode, EnsembleRule
from interactivepet.core.plan import Configuration, Fold, FoldList, Plan, Plans
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import PromptableCard
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.arrays import read_array, write_array
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_present, write_artefact, write_mask
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.choose import ClickStage, OutOfFoldCase, choose_rule, list_pools, make_masks
from interactivepet.ensemble.fuse import average
from interactivepet.errors import ArtefactError
from interactivepet.inference.segmenter import Segmenter
from interactivepet.networks.precision import choose_device
from interactivepet.nninteractive.ordered import OrderedSegmenter
from interactivepet.pipeline.judge.corrections import CORRECTIONS, Corrections, run_corrections
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.train.cascade import read_coarse_masks
from interactivepet.pipeline.train.folds import (
    check_cases,
    find_trained,
    hash_cards,
    list_modes,
    load_fold,
    read_cards,
    read_out_of_fold,
    read_reference,
    to_prediction,
)
from interactivepet.pipeline.train.promptable_folder import find_own_folds, open_unseen
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.workspace import Workspace

__all__ = ["MARGIN", "run_postprocessing"]

logger = logging.getLogger(__name__)

MARGIN = 0.002
"""A more complicated candidate must gain more than this mean Dice: two runs of one setting differ by more."""


def run_postprocessing(
    workspace: Workspace,
    *,
    options: PredictionOptions,
    tracker: TrackerConfig,
    with_corrections: bool = True,
) -> EnsembleRule:
    """Choose, for predictions without clicks, with clicks and with corrections, and write the final out-of-fold masks.

    Every configuration whose folds are all complete takes part.

    Args:
        workspace: with every fold of at least one configuration complete.
        options: device, threads, mirrored inputs, and nnInteractive, which joins the candidates for predictions with
            clicks. For a model of the task's own, the model of each fold predicts the cases that it never saw.
        tracker: told what was chosen.
        with_corrections: let a simulated user correct each case, and choose a rule for corrected masks.

    Raises:
        MissingArtefactError: no configuration has all of its folds, or nnInteractive's own folds are not trained.
        StaleArtefactError: a fold was trained with another plan, split, or on other files.
        SegmenterError: nnInteractive's model was trained on some of the cases under another task's name.
        TrainingError: another process is choosing.
    """
    with lock_folder(workspace.corrections):
        return _choose(workspace, options=options, tracker=tracker, with_corrections=with_corrections)


def _choose(
    workspace: Workspace, *, options: PredictionOptions, tracker: TrackerConfig, with_corrections: bool
) -> EnsembleRule:
    plans, split = read_decisions(workspace)
    trained = find_trained(workspace, plans, split=split)
    if not _is_refined_from_present(workspace, plans, split, names=tuple(trained)):
        trained.pop("3d_cascade")
    if not trained:
        # names the fold that is missing
        read_cards(workspace, plans.plan(plans.default), split=split)
    cases = _Cases(workspace, plans, split, configurations=tuple(trained))
    cases.check(trained)
    made_from = hash_cards([card for cards in trained.values() for card in cards])
    labels, promptable = plans.plan(plans.default).label_values, options.promptable
    own = find_own_folds(workspace, promptable.source, split=split) if promptable else {}
    with open_stamps(workspace) as stamps:
        source = promptable.stamp(labels, stamps) if promptable else ""
        parts = [source, *(card.content_hash() for card in own.values())]
        salt = "|".join([*parts, repr(with_corrections and (CORRECTIONS, options.tta))])
        chosen_on = _hash_clicks(workspace, stamps, salt=salt)
    present = read_present(workspace.ensemble, EnsembleRule, made_from=made_from)
    if present is not None and present.chosen_on == chosen_on:
        return present
    described = ""
    if promptable is not None:
        described = _predict_promptable(workspace, cases, promptable=promptable, own=own, options=options)
    pools = list_pools(tuple(trained))
    rule = EnsembleRule(
        made_from=made_from,
        task=workspace.task,
        folds=tuple(fold.index for fold in split.folds),
        configurations=tuple(trained),
        chosen_on=chosen_on,
        nninteractive=described,
        margin=MARGIN,
        choices={mode: cases.choose(mode, pools=pools) for mode in cases.modes},
    )
    if with_corrections and cases.clicked:
        cases.correct(rule, options=options, own=own)
        corrected = cases.choose("corrected", pools=[rule.choices["extreme"].fusion.configurations])
        choices = {**rule.choices, "corrected": corrected}
        rule = rule.model_copy(update={"choices": choices, "corrections": CORRECTIONS})
    _write(workspace, cases, rule)
    _track(workspace, rule, tracker)
    return rule


def _write(workspace: Workspace, cases: _Cases, rule: EnsembleRule) -> None:
    """Write the masks of every mode, and the rule last."""
    # from here on the masks are no longer those of the rule that may be there
    workspace.ensemble.unlink(missing_ok=True)
    for mode in get_args(ChoiceMode):
        if mode in rule.choices:
            cases.write_masks(mode, rule.choices)
        else:
            shutil.rmtree(workspace.cross_validation(mode), ignore_errors=True)
    write_artefact(workspace.ensemble, rule)


def _is_refined_from_present(
    workspace: Workspace, plans: Plans, split: FoldList, *, names: tuple[Configuration, ...]
) -> bool:
    """Whether the second step of a cascade, if it was trained, refines the first step as it is now; says so if not."""
    if "3d_cascade" not in names:
        return True
    try:
        read_coarse_masks(workspace, plans, split=split)
    except ArtefactError as error:
        logger.warning("3d_cascade takes no part: %s", error)
        return False
    return True


class _Cases:
    """The out-of-fold cases of a task, read from disk when they are needed."""

    def __init__(
        self, workspace: Workspace, plans: Plans, split: FoldList, *, configurations: tuple[Configuration, ...]
    ) -> None:
        self._workspace = workspace
        self._plans: dict[Configuration, Plan] = {name: plans.plan(name) for name in configurations}
        self.labels = self._plans[configurations[0]].label_values
        self._split = split
        self._manifest: DatasetManifest = read_manifest(workspace.raw)
        self._folds = split.validation_folds
        # The grid of the scanner and the clicks are the same in every configuration's records.
        self._records = read_records(workspace, self._plans[configurations[0]], cases=sorted(self._folds))
        self._promptable: dict[str, Path] = {}
        self._corrections = Corrections(workspace.corrections, {}, self.labels)
        self.modes = list_modes(self._plans.values())

    @property
    def clicked(self) -> list[CaseRecord]:
        """The cases with clicks."""
        return [record for record in self._records.values() if record.clicks]

    def check(self, trained: Mapping[Configuration, Sequence[CheckpointCard]]) -> None:
        """Refuse cards of folds whose cases have changed since."""
        for name, cards in trained.items():
            plan = self._plans[name]
            records = read_records(self._workspace, plan, cases=sorted(self._folds))
            for card in cards:
                # perhaps trained on a part of the patients
                fold = Fold(index=card.fold, training=card.training, validation=card.validation)
                check_cases(
                    card,
                    load_fold(self._workspace, plan, fold=fold, records=records),
                    configuration=name,
                )

    def predict_promptable(self, segmenter: Segmenter, *, source: str, fold: int | None = None) -> None:
        """Let nnInteractive segment every case with clicks, or a fold's validation cases, unless it has already."""
        records = [record for record in self.clicked if fold in (None, self._folds[record.id])]
        segmenter = OrderedSegmenter(segmenter, next(iter(self._plans.values())))
        with open_stamps(self._workspace) as stamps:
            paths = [self._promptable_path(record, stamps, source=source) for record in records]
        bar = tqdm(zip(records, paths, strict=True), "nnInteractive", len(records), unit="case", dynamic_ncols=True)
        for record, path in bar:
            if not path.is_file():
                case = read_case(self._workspace.raw, self._manifest.entry(record.id), with_label=False)
                found = segmenter.segment(case, record.clicks)
                write_array(path, found.probabilities[1:].astype(np.float16))
            self._promptable[record.id] = path

    def _promptable_path(self, record: CaseRecord, stamps: FileStamps, *, source: str) -> Path:
        entry = self._manifest.entry(record.id)
        clicks = find_clicks_file(self._workspace.clicks_folder(), record.id)
        files = self._workspace.image_files(entry) + ([clicks] if clicks else [])
        axes = record.trace.axes
        source += "" if axes == IDENTITY else f"|{axes}"
        return self._workspace.promptable / f"{record.id}.{stamps.stamp(files, salt=source)}.b2nd"

    def correct(self, rule: EnsembleRule, *, options: PredictionOptions, own: Mapping[int, PromptableCard]) -> None:
        """Let a simulated user correct every case with clicks."""
        records = {
            fold.index: [record for record in self.clicked if self._folds[record.id] == fold.index]
            for fold in self._split.folds
        }
        self._corrections = run_corrections(self._workspace, records, rule=rule, options=options, own=own)

    def choose(self, mode: ChoiceMode, *, pools: Sequence[tuple[Configuration, ...]]) -> Choice:
        """Choose for one click mode; a case without clicks says nothing about predictions with clicks."""
        cases = [
            OutOfFoldCase(
                id=record.id,
                fold=self._folds[record.id],
                geometry=record.original.geometry(),
                load_label=partial(self._load_label, record),
                stages=tuple(self._list_stages(record, mode)),
            )
            for record in (self._records.values() if mode == "none" else self.clicked)
        ]
        with tqdm(desc=f"choose ({mode})", unit="case", dynamic_ncols=True) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return choose_rule(
                cases,
                labels=self.labels,
                pools=pools,
                with_clicks=mode != "none",
                margin=MARGIN,
                progress=show,
            )

    def _list_stages(self, record: CaseRecord, mode: ChoiceMode) -> list[ClickStage]:
        """List what was predicted of a case in one mode, the last one with all clicks."""
        blends = bool(self._promptable)
        if mode == "corrected":
            return [self._make_corrected(record, n, blends=blends) for n in CORRECTIONS]
        shown = partial(self._load_promptable, record) if blends and mode == "extreme" else None
        clicks = record.clicks if mode == "extreme" else ()
        return [ClickStage(clicks, partial(self._load_folds, record=record, mode=mode), shown)]

    def _make_corrected(self, record: CaseRecord, n: int, *, blends: bool) -> ClickStage:
        found = self._corrections
        return ClickStage(
            found.clicks(record.id, n),
            # its folds' mean was stored for the chosen configurations alone
            lambda _: found.load_folds(record, n),
            partial(found.load_promptable, record, n) if blends else None,
        )

    def _load_label(self, record: CaseRecord) -> npt.NDArray[np.uint8]:
        return read_reference(self._workspace, self._manifest, record=record)

    def _load_folds(self, names: tuple[Configuration, ...], *, record: CaseRecord, mode: ClickMode) -> Prediction:
        fold = self._folds[record.id]
        plans = (self._plans[name] for name in names)
        return average(read_out_of_fold(self._workspace, p, record=record, fold=fold, mode=mode) for p in plans)

    def _load_promptable(self, record: CaseRecord) -> Prediction:
        foreground = read_array(self._promptable[record.id], command="interactivepet_postprocessing")
        return to_prediction(foreground, record, labels=self.labels)

    def write_masks(self, mode: ChoiceMode, choices: Mapping[ChoiceMode, Choice]) -> None:
        """Write the final out-of-fold masks of one mode; a case without clicks follows the rule for none."""
        records = [record for record in self._records.values() if record.clicks or "none" in choices]
        for record in tqdm(records, desc=f"masks ({mode})", unit="case", dynamic_ncols=True):
            # a case without clicks is predicted in every mode, as its folds were
            judged: ChoiceMode = "extreme" if mode == "corrected" and not record.clicks else mode
            choice = choices[mode if record.clicks else "none"]
            stage = self._list_stages(record, judged)[-1]
            (mask,) = make_masks(stage, [(choice.fusion, choice.postprocessing)])
            like = self._workspace.raw / self._manifest.entry(record.id).images[0]
            path = self._workspace.cross_validation(mode) / f"{record.id}.nii.gz"
            write_mask(path, mask, geometry=record.original.geometry(), like=like)
            if mode == "corrected":
                write_clicks(self._workspace.corrected_clicks / f"{record.id}.mrk.json", stage.clicks)


def _predict_promptable(
    workspace: Workspace,
    cases: _Cases,
    *,
    promptable: PromptableSource,
    own: Mapping[int, PromptableCard],
    options: PredictionOptions,
) -> str:
    """Let nnInteractive predict the cases with clicks, a model of the task's own fold by fold; name and licence."""
    labels = cases.labels
    device = str(choose_device(options.device))
    with open_stamps(workspace) as stamps:
        stamp = promptable.stamp(labels, stamps)
    if not own:
        with promptable.open(labels=labels, device=device, n_threads=options.n_threads) as segmenter:
            logger.info("nnInteractive %s, licence: %s", segmenter.name, segmenter.licence)
            cases.predict_promptable(segmenter, source=stamp)
            return f"{segmenter.name} ({segmenter.licence})"
    for fold, card in own.items():
        logger.info("nnInteractive: fold %d predicts the cases that it never saw", fold)
        with (
            open_unseen(workspace, promptable, fold=fold, own=own) as unseen,
            unseen.open(labels=labels, device=device, n_threads=options.n_threads) as segmenter,
        ):
            cases.predict_promptable(segmenter, source=f"{stamp}|{card.content_hash()}", fold=fold)
            described = f"{Path(promptable.source).name} ({segmenter.licence})"
    return described


def _hash_clicks(workspace: Workspace, stamps: FileStamps, *, salt: str) -> str:
    folder = workspace.clicks_folder()
    clicks = sorted(folder.iterdir()) if folder.is_dir() else []
    return stamps.stamp(clicks, salt=salt)


def _track(workspace: Workspace, rule: EnsembleRule, spec: TrackerConfig) -> None:
    """Show the choice and its estimate on the parent run."""
    parent = find_parent_run(workspace, spec)
    tracker = spec.open()
    tracker.start_run("cross-validation", run_id=parent, tags={"task": workspace.task})
    for mode, choice in rule.choices.items():
        tracker.log_metrics({f"dice_{mode}_chosen": choice.dice, f"dice_{mode}_nested": choice.nested_dice})
        tracker.log_text(f"choice/{mode}.json", choice.model_dump_json(indent=2))
    # the name of nnInteractive's source may be the address of a machine
    shown = rule.model_copy(update={"nninteractive": "used" if rule.nninteractive else ""})
    tracker.log_text(workspace.ensemble.name, shown.model_dump_json(indent=2))
    tracker.end_run()
