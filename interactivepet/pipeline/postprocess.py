"""Choose fusion, threshold and postprocessing on out-of-fold predictions, and write the masks they give."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import Choice, ClickMode, EnsembleRule
from interactivepet.core.plan import Configuration, FoldList, Plan, Plans
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import PromptableCard
from interactivepet.dataset.arrays import read_array, write_array
from interactivepet.dataset.interactions import find_clicks_file
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.read import read_case
from interactivepet.dataset.write import read_artefact, write_artefact, write_mask
from interactivepet.ensemble.choose import OutOfFoldCase, choose_rule
from interactivepet.ensemble.fuse import average, blend
from interactivepet.ensemble.obey import make_mask
from interactivepet.errors import ArtefactError
from interactivepet.inference.segmenter import Segmenter
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.cascade import read_coarse_masks
from interactivepet.pipeline.cases import read_records
from interactivepet.pipeline.folds import (
    check_cases,
    find_trained,
    hash_cards,
    list_modes,
    load_fold,
    read_out_of_fold,
    read_reference,
    to_prediction,
)
from interactivepet.pipeline.models import PredictionOptions, PromptableSource
from interactivepet.pipeline.prepare import read_decisions
from interactivepet.pipeline.promptable_folder import find_own_folds, open_promptable_fold
from interactivepet.pipeline.runs import TrackerSpec, find_parent_run
from interactivepet.pipeline.workspace import Workspace, stamp_files

__all__ = ["MARGIN", "run_postprocessing"]

logger = logging.getLogger(__name__)

MARGIN = 0.002
"""A more complicated candidate must gain more than this mean Dice: two runs of one setting differ by more."""


def run_postprocessing(
    workspace: Workspace,
    *,
    promptable: PromptableSource | None,
    options: PredictionOptions,
    tracker: TrackerSpec,
) -> EnsembleRule:
    """Choose, for predictions with and without clicks, and write the final out-of-fold masks.

    Every configuration whose folds are all complete takes part.

    Args:
        workspace: with every fold of at least one configuration complete.
        promptable: nnInteractive, which joins the candidates for predictions with clicks. For a model of the task's
            own, the model of each fold predicts the cases that it never saw.
        options: device and threads of nnInteractive.
        tracker: told what was chosen.

    Raises:
        MissingArtefactError: no configuration has all of its folds, or nnInteractive's own folds are not trained.
        StaleArtefactError: a fold was trained with another plan, split, or on other files.
        SegmenterError: nnInteractive's model was trained on some of the cases under another task's name.
    """
    plans, split = read_decisions(workspace)
    trained = find_trained(workspace, plans, split=split)
    if not _is_refined_from_present(workspace, plans, split, names=tuple(trained)):
        trained.pop("3d_cascade")
    cases = _Cases(workspace, plans, split, configurations=tuple(trained))
    cases.check(trained)
    made_from = hash_cards([card for cards in trained.values() for card in cards])
    labels = plans.plan(plans.default).label_values
    own = find_own_folds(workspace, promptable.source, split=split) if promptable else {}
    stamps = [promptable.stamp(labels) if promptable else "", *(card.content_hash() for card in own.values())]
    chosen_on = _hash_inputs(workspace, "|".join(stamps))
    present = _read_present(workspace, made_from)
    if present is not None and present.chosen_on == chosen_on:
        return present
    described = ""
    if promptable is not None:
        described = _predict_promptable(workspace, cases, promptable, own, labels=labels, options=options)
    choices = {mode: cases.choose(mode, with_promptable=promptable is not None) for mode in cases.modes}
    # From here on the masks are no longer those of the rule that may be there.
    workspace.ensemble.unlink(missing_ok=True)
    for mode in cases.modes:
        cases.write_masks(mode, choices)
    rule = EnsembleRule(
        made_from=made_from,
        task=workspace.task,
        folds=tuple(fold.index for fold in split.folds),
        configurations=tuple(trained),
        chosen_on=chosen_on,
        nninteractive=described,
        margin=MARGIN,
        choices=choices,
    )
    write_artefact(workspace.ensemble, rule)
    _track(workspace, rule, tracker)
    return rule


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
        self._labels = self._plans[configurations[0]].label_values
        self._split = split
        self._manifest: DatasetManifest = read_manifest(workspace.raw)
        self._folds = {name: fold.index for fold in split.folds for name in fold.validation}
        # The grid of the scanner and the clicks are the same in every configuration's records.
        self._records = read_records(workspace, self._plans[configurations[0]], cases=sorted(self._folds))
        self._promptable: dict[str, Path] = {}
        self.modes = list_modes(self._plans.values())

    def check(self, trained: Mapping[Configuration, Sequence[CheckpointCard]]) -> None:
        """Refuse cards of folds whose cases have changed since."""
        for name, cards in trained.items():
            plan = self._plans[name]
            records = read_records(self._workspace, plan, cases=sorted(self._folds))
            for fold, card in zip(self._split.folds, cards, strict=True):
                check_cases(
                    card,
                    load_fold(self._workspace, plan, fold=fold, records=records),
                    configuration=name,
                )

    def predict_promptable(self, segmenter: Segmenter, *, source: str, fold: int | None = None) -> None:
        """Let nnInteractive segment every case with clicks, or a fold's validation cases, unless it has already."""
        records = [r for r in self._records.values() if r.clicks and fold in (None, self._folds[r.id])]
        for record in tqdm(records, desc="nnInteractive", unit="case", dynamic_ncols=True):
            path = self._promptable_path(record, source)
            if not path.is_file():
                case = read_case(self._workspace.raw, self._manifest.entry(record.id), with_label=False)
                found = segmenter.segment(case, record.clicks)
                write_array(path, found.probabilities[1:].astype(np.float16))
            self._promptable[record.id] = path

    def _promptable_path(self, record: CaseRecord, source: str) -> Path:
        entry = self._manifest.entry(record.id)
        clicks = find_clicks_file(self._workspace.clicks_folder(), record.id)
        files = [self._workspace.raw / name for name in entry.images] + ([clicks] if clicks else [])
        return self._workspace.promptable / f"{record.id}.{stamp_files(files, salt=source)}.b2nd"

    def choose(self, mode: ClickMode, *, with_promptable: bool) -> Choice:
        """Choose for one click mode; a case without clicks says nothing about predictions with clicks."""
        records = [record for record in self._records.values() if mode == "none" or record.clicks]
        cases = [self._make_case(record, mode, with_promptable) for record in records]
        with tqdm(desc=f"choose ({mode})", unit="case", dynamic_ncols=True) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return choose_rule(
                cases,
                labels=self._labels,
                configurations=tuple(self._plans),
                with_clicks=mode == "extreme",
                margin=MARGIN,
                progress=show,
            )

    def _make_case(self, record: CaseRecord, mode: ClickMode, with_promptable: bool) -> OutOfFoldCase:
        blends = with_promptable and mode == "extreme"
        return OutOfFoldCase(
            id=record.id,
            fold=self._folds[record.id],
            geometry=record.original.geometry(),
            clicks=record.clicks if mode == "extreme" else (),
            load_label=partial(self._load_label, record),
            load_folds=partial(self._load_folds, record=record, mode=mode),
            load_promptable=partial(self._load_promptable, record) if blends else None,
        )

    def _load_label(self, record: CaseRecord) -> npt.NDArray[np.uint8]:
        return read_reference(self._workspace, self._manifest, record=record)

    def _load_folds(self, configuration: Configuration, *, record: CaseRecord, mode: ClickMode) -> Prediction:
        plan = self._plans[configuration]
        return read_out_of_fold(self._workspace, plan, record=record, fold=self._folds[record.id], mode=mode)

    def _load_promptable(self, record: CaseRecord) -> Prediction:
        foreground = read_array(self._promptable[record.id], command="interactivepet_postprocessing")
        return to_prediction(foreground, record, labels=self._labels)

    def write_masks(self, mode: ClickMode, choices: Mapping[ClickMode, Choice]) -> None:
        """Write the final out-of-fold masks of one click mode; a case without clicks follows the rule for none."""
        records = [record for record in self._records.values() if record.clicks or "none" in choices]
        for record in tqdm(records, desc=f"masks ({mode})", unit="case", dynamic_ncols=True):
            clicks = record.clicks if mode == "extreme" else ()
            choice = choices["extreme" if clicks else "none"]
            names = choice.fusion.configurations
            prediction = average(self._load_folds(name, record=record, mode=mode) for name in names)
            if choice.fusion.nninteractive_weight > 0:
                weight = choice.fusion.nninteractive_weight
                prediction = blend(prediction, self._load_promptable(record), weight=weight)
            geometry = record.original.geometry()
            mask, _ = make_mask(prediction, clicks, fusion=choice.fusion, postprocessing=choice.postprocessing)
            like = self._workspace.raw / self._manifest.entry(record.id).images[0]
            path = self._workspace.cross_validation(mode) / f"{record.id}.nii.gz"
            write_mask(path, mask, geometry=geometry, like=like)


def _predict_promptable(
    workspace: Workspace,
    cases: _Cases,
    promptable: PromptableSource,
    own: Mapping[int, PromptableCard],
    *,
    labels: tuple[int, ...],
    options: PredictionOptions,
) -> str:
    """Let nnInteractive predict the cases with clicks, a model of the task's own fold by fold; name and licence."""
    device, stamp = str(choose_device(options.device)), promptable.stamp(labels)
    if not own:
        with promptable.open(labels=labels, device=device, n_threads=options.n_threads) as segmenter:
            logger.info("nnInteractive %s, licence: %s", segmenter.name, segmenter.licence)
            cases.predict_promptable(segmenter, source=stamp)
            return f"{segmenter.name} ({segmenter.licence})"
    for fold, card in own.items():
        logger.info("nnInteractive: fold %d predicts the cases that it never saw", fold)
        with open_promptable_fold(
            workspace, fold, labels=labels, device=device, n_threads=options.n_threads
        ) as segmenter:
            cases.predict_promptable(segmenter, source=f"{stamp}|{card.content_hash()}", fold=fold)
            described = f"{Path(promptable.source).name} ({segmenter.licence})"
    return described


def _hash_inputs(workspace: Workspace, promptable_stamp: str) -> str:
    folder = workspace.clicks_folder()
    clicks = sorted(folder.iterdir()) if folder.is_dir() else []
    return stamp_files(clicks, salt=promptable_stamp)


def _read_present(workspace: Workspace, made_from: str) -> EnsembleRule | None:
    try:
        return read_artefact(
            workspace.ensemble, EnsembleRule, command="interactivepet_postprocessing", made_from=made_from
        )
    except ArtefactError:
        return None


def _track(workspace: Workspace, rule: EnsembleRule, spec: TrackerSpec) -> None:
    """Show the choice and its estimate on the parent run."""
    parent = find_parent_run(workspace, spec)
    tracker = spec.open()
    tracker.start_run("cross-validation", run_id=parent, tags={"task": workspace.task})
    for mode, choice in rule.choices.items():
        tracker.log_metrics({f"dice_{mode}_chosen": choice.dice, f"dice_{mode}_nested": choice.nested_dice})
        tracker.log_text(f"choice/{mode}.json", choice.model_dump_json(indent=2))
    tracker.log_file(workspace.ensemble)
    tracker.end_run()
