"""A simulated user corrects masks of cases that no model saw: what the rule for corrected masks is chosen on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interactivepet.core.case import Case
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import CorrectedCase, EnsembleRule
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import PromptableCard
from interactivepet.dataset.arrays import read_array, write_array
from interactivepet.dataset.interactions import find_clicks_file
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.read import read_case
from interactivepet.dataset.write import read_artefact, write_artefact
from interactivepet.ensemble.session import Session
from interactivepet.errors import ArtefactError
from interactivepet.pipeline.folds import to_prediction
from interactivepet.pipeline.models import Models, PredictionOptions, open_models
from interactivepet.pipeline.promptable_folder import open_unseen, stamp_unseen
from interactivepet.pipeline.simulated_session import SimulatedUser
from interactivepet.pipeline.workspace import Workspace, stamp_files

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
    manifest = read_manifest(workspace.raw)
    labels = tuple(sorted(manifest.labels.values()))
    cases: dict[str, CorrectedCase] = {}
    with tqdm(total=sum(map(len, records.values())), desc="corrections", unit="case", dynamic_ncols=True) as bar:
        for fold, members in records.items():
            stamps = {r.id: _stamp(workspace, manifest, r, fold, rule=rule, options=options, own=own) for r in members}
            present = {name: _read_present(workspace, name, stamp) for name, stamp in stamps.items()}
            cases |= {name: case for name, case in present.items() if case is not None}
            bar.update(sum(case is not None for case in present.values()))
            waiting = [record for record in members if present[record.id] is None]
            if not waiting:
                continue
            with _open(workspace, fold, rule=rule, options=options, own=own) as models:
                for record in waiting:
                    cases[record.id] = _correct(workspace, manifest, record, models, stamp=stamps[record.id], fold=fold)
                    bar.update()
    return Corrections(workspace.corrections, cases, labels)


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


def _correct(
    workspace: Workspace, manifest: DatasetManifest, record: CaseRecord, models: Models, *, stamp: str, fold: int
) -> CorrectedCase:
    """Correct one case, write what the models made of it, and last what was clicked."""
    case = read_case(workspace.raw, manifest.entry(record.id))
    shown = replace(case, label=None)
    labels = tuple(sorted(manifest.labels.values()))
    user = SimulatedUser("perfect", case, labels, np.random.default_rng(zlib.crc32(record.id.encode())))
    session = Session(models)
    session.set_image(shown)
    _add(session, record.clicks)
    n_clicks: dict[int, int] = {}
    for number in range(1, max(CORRECTIONS) + 1):
        _add(session, user.correct(session.segment().mask, number))
        if number in CORRECTIONS:
            n_clicks[number] = len(session.clicks)
            _write(workspace.corrections, session, models, shown, n_corrections=number)
    result = CorrectedCase(made_from=stamp, case=record.id, fold=fold, clicks=session.clicks, n_clicks=n_clicks)
    write_artefact(workspace.corrections / f"{record.id}.json", result)
    return result


def _add(session: Session, clicks: Sequence[Click]) -> None:
    for click in clicks:
        session.add_click(click.position_mm, click.label, is_positive=click.is_positive)


def _write(folder: Path, session: Session, models: Models, case: Case, *, n_corrections: int) -> None:
    """Write the label probabilities (L, I, J, K) of folds and nnInteractive."""
    found = {"folds": session.fold_probabilities}
    if models.promptable is not None:
        found["nninteractive"] = models.promptable.segment(case, session.clicks)
    for part, prediction in found.items():
        path = _array_path(folder, case.id, f"{n_corrections}.{part}")
        write_array(path, prediction.probabilities[1:].astype(np.float16))


def _array_path(folder: Path, case: str, part: str) -> Path:
    return folder / f"{case}.{part}.b2nd"


def _read_present(workspace: Workspace, name: str, stamp: str) -> CorrectedCase | None:
    try:
        return read_artefact(workspace.corrections / f"{name}.json", CorrectedCase, command=COMMAND, made_from=stamp)
    except ArtefactError:
        return None


def _stamp(
    workspace: Workspace,
    manifest: DatasetManifest,
    record: CaseRecord,
    fold: int,
    *,
    rule: EnsembleRule,
    options: PredictionOptions,
    own: Mapping[int, PromptableCard],
) -> str:
    """Hash what the corrections of a case depend on."""
    entry = manifest.entry(record.id)
    clicks = find_clicks_file(workspace.clicks_folder(), record.id)
    files = [workspace.raw / name for name in (*entry.images, entry.label) if name is not None]
    promptable = stamp_unseen(options.promptable, fold=fold, own=own) if options.promptable else ""
    choice = rule.choices["extreme"]
    parts = (rule.made_from, choice.fusion, choice.postprocessing, CORRECTIONS, options.tta, fold, promptable)
    return stamp_files([*files, *([clicks] if clicks else [])], salt=repr(parts))
