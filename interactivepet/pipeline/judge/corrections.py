"""A simulated user corrects masks of cases that no model saw: what the rule for corrected masks is chosen on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import CorrectedCase, EnsembleRule
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import PromptableCard
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.arrays import read_array, write_array
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_present, write_artefact
from interactivepet.dataset.manifest import read_manifest
from interactivepet.pipeline.judge.simulated_session import SimulatedUser
from interactivepet.pipeline.predict.models import Models, PredictionOptions, open_models
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.train.folds import to_prediction
from interactivepet.pipeline.train.promptable_folder import open_unseen, stamp_unseen
from interactivepet.pipeline.workspace import Workspace
from interactivepet.session.session import Session

__all__ = ["CORRECTIONS", "Corrections", "run_corrections"]

CORRECTIONS = (1, 5, 10)
"""After so many corrections masks are judged: the first one, and what most users would not exceed."""

COMMAND = "interactivepet_postprocessing"


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrected cases on disk.

    Attributes:
        folder: where they lie.
        cases: by identifier.
        labels: values, in rising order.
    """

    folder: Path
    cases: Mapping[str, CorrectedCase]
    labels: tuple[int, ...]

    def clicks(self, case: str, n_corrections: int) -> tuple[Click, ...]:
        """Give what was clicked by then."""
        found = self.cases[case]
        return found.clicks[: found.n_clicks[n_corrections]]

    def load_folds(self, record: CaseRecord, n_corrections: int) -> Prediction:
        """Load what the folds made of these clicks."""
        return self._load(record, f"{n_corrections}.folds")

    def load_promptable(self, record: CaseRecord, n_corrections: int) -> Prediction:
        """Load what nnInteractive made of these clicks."""
        return self._load(record, f"{n_corrections}.nninteractive")

    def _load(self, record: CaseRecord, part: str) -> Prediction:
        foreground = read_array(_array_path(self.folder, record.id, part), command=COMMAND)
        return to_prediction(foreground, record, labels=self.labels)


@dataclass(frozen=True, slots=True)
class _Job:
    """A case to correct, the fold that never saw it, and the hash of what its corrections depend on."""

    record: CaseRecord
    fold: int
    stamp: str


def run_corrections(
    workspace: Workspace,
    records: Mapping[int, Sequence[CaseRecord]],
    *,
    rule: EnsembleRule,
    options: PredictionOptions,
    own: Mapping[int, PromptableCard],
) -> Corrections:
    """Let the perfect user correct every case with clicks; those that are up to date are kept.

    The user begins with the margin points and sees masks made by the rule for them. Each case is answered by the fold
    that never saw it, and by nnInteractive likewise.

    Args:
        workspace: of the task.
        records: fold -> its validation cases with clicks.
        rule: a choice for margin points.
        options: device, threads, mirrored inputs and nnInteractive.
        own: models of the task's own that stand for nnInteractive's, as of `find_own_folds`.
    """
    import torch

    torch.set_num_threads(options.n_threads)
    manifest = read_manifest(workspace.raw)
    parts = ("folds",) if options.promptable is None else ("folds", "nninteractive")
    cases: dict[str, CorrectedCase] = {}
    with tqdm(total=sum(map(len, records.values())), desc="corrections", unit="case", dynamic_ncols=True) as bar:
        for fold, members in records.items():
            # a stamp of the promptable model looks at all of its files: once a fold, not once a case
            with open_stamps(workspace) as stamps:
                salt = _hash_models(fold, stamps, rule=rule, options=options, own=own)
                jobs = [_make_job(workspace, manifest, record, stamps, fold=fold, salt=salt) for record in members]
            found = {job.record.id: _read_finished(workspace, job, parts=parts) for job in jobs}
            cases |= {name: case for name, case in found.items() if case is not None}
            waiting = [job for job in jobs if found[job.record.id] is None]
            bar.update(len(jobs) - len(waiting))
            if not waiting:
                continue
            with _open(workspace, fold, rule=rule, options=options, own=own) as models:
                for job in waiting:
                    cases[job.record.id] = _correct(job, models, workspace=workspace, manifest=manifest)
                    bar.update()
    return Corrections(workspace.corrections, cases, manifest.label_values)


@contextmanager
def _open(
    workspace: Workspace,
    fold: int,
    *,
    rule: EnsembleRule,
    options: PredictionOptions,
    own: Mapping[int, PromptableCard],
) -> Iterator[Models]:
    """Open one fold's networks, and a promptable model that never saw its cases either."""
    with ExitStack() as stack:
        promptable = options.promptable
        if promptable is not None:
            promptable = stack.enter_context(open_unseen(workspace, promptable, fold=fold, own=own))
        options = replace(options, folds=(fold,), promptable=promptable)
        yield stack.enter_context(open_models(workspace, options, rule=rule))


def _correct(job: _Job, models: Models, *, workspace: Workspace, manifest: DatasetManifest) -> CorrectedCase:
    """Correct one case, write what the models made of it, and last what was clicked."""
    name = job.record.id
    path = _card_path(workspace, name)
    # the arrays are no longer those of the card that may be there
    path.unlink(missing_ok=True)
    case = read_case(workspace.raw, manifest.entry(name))
    user = SimulatedUser("perfect", case, manifest.label_values, np.random.default_rng(zlib.crc32(name.encode())))
    session = Session(models)
    session.set_image(replace(case, label=None))
    session.add_clicks(job.record.clicks)
    n_clicks: dict[int, int] = {}
    for number in range(1, max(CORRECTIONS) + 1):
        session.add_clicks(user.correct(session.segment().mask, number))
        # the folds follow click by click, whether or not they have a share in the mask
        parts = {"folds": session.fold_probabilities}
        if number in CORRECTIONS:
            n_clicks[number] = len(session.clicks)
            if models.promptable is not None:
                parts["nninteractive"] = models.promptable.segment(session.case, session.clicks)
            for part, prediction in parts.items():
                foreground = prediction.probabilities[1:].astype(np.float16)
                write_array(_array_path(workspace.corrections, name, f"{number}.{part}"), foreground)
    result = CorrectedCase(made_from=job.stamp, case=name, fold=job.fold, clicks=session.clicks, n_clicks=n_clicks)
    write_artefact(path, result)
    return result


def _card_path(workspace: Workspace, name: str) -> Path:
    return workspace.corrections / f"{name}.json"


def _array_path(folder: Path, name: str, part: str) -> Path:
    return folder / f"{name}.{part}.b2nd"


def _read_finished(workspace: Workspace, job: _Job, *, parts: Sequence[str]) -> CorrectedCase | None:
    """Read a case that is up to date, if none of its arrays is missing."""
    names = [f"{number}.{part}" for number in CORRECTIONS for part in parts]
    if not all(_array_path(workspace.corrections, job.record.id, name).is_file() for name in names):
        return None
    return read_present(_card_path(workspace, job.record.id), CorrectedCase, made_from=job.stamp)


def _hash_models(
    fold: int,
    stamps: FileStamps,
    *,
    rule: EnsembleRule,
    options: PredictionOptions,
    own: Mapping[int, PromptableCard],
) -> str:
    """Give everything but a case's files that its corrections depend on."""
    promptable = stamp_unseen(options.promptable, stamps, fold=fold, own=own) if options.promptable else ""
    choice = rule.choices["extreme"]
    return repr((rule.made_from, choice.fusion, choice.postprocessing, CORRECTIONS, options.tta, fold, promptable))


def _make_job(
    workspace: Workspace, manifest: DatasetManifest, record: CaseRecord, stamps: FileStamps, *, fold: int, salt: str
) -> _Job:
    """Hash what the corrections of a case depend on."""
    clicks = find_clicks_file(workspace.clicks_folder(), record.id)
    files = workspace.case_files(manifest.entry(record.id), clicks)
    return _Job(record, fold, stamps.stamp(files, salt=salt))
