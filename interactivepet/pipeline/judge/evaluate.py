"""Score a folder of masks against labels and write the report."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.interaction import Click
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.core.report import CaseScores, MeasurePair, Report
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.read import read_case, read_mask
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_text
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.layout import find_masks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.uptake_unit import find_unit
from interactivepet.errors import ArtefactError, CaseError, ManifestError
from interactivepet.evaluation.agreement import compare_measures
from interactivepet.evaluation.metrics import score_case
from interactivepet.evaluation.summarise import make_report
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.judge.classical_scores import score_classical, summarise_classical
from interactivepet.pipeline.workspace import Workspace
from interactivepet.quantification.pairs import pair_measures
from interactivepet.reporting.agreement_pictures import draw_agreement, list_drawn
from interactivepet.reporting.pictures import draw_case
from interactivepet.reporting.report_page import render_report
from interactivepet.reporting.views import is_emission

__all__ = ["EvaluationRequest", "make_masks_request", "run_evaluation"]

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Names that a message gives as examples."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to compare.

    Attributes:
        task: for the head of the report.
        entries: cases with a label, files relative to `root`; without an image, the label itself is drawn.
        root: folder that the entries' paths start from.
        masks: folder of the masks, `CASE` plus any known ending.
        clicks_folder: of the clicks that were used; None when there were none.
        labels: name -> value.
        channels: names, for the pictures.
        title: of the report.
        provenance: how the masks came about.
        made_from: hash of the artefact that the masks were made with.
        n_clicks: case -> number of clicks that its mask was made with, when `clicks_folder` does not tell.
        with_classical: also score methods without training with the same clicks.
    """

    task: str
    entries: tuple[CaseEntry, ...]
    root: Path
    masks: Path
    clicks_folder: Path | None
    labels: Mapping[str, int]
    channels: tuple[str, ...]
    title: str
    provenance: str
    made_from: str = ""
    n_clicks: Mapping[str, int] = field(default_factory=dict)
    with_classical: bool = False


def run_evaluation(request: EvaluationRequest, out: Path, *, executor: Executor) -> Report:
    """Write `report.json` and `report.html` into `out`.

    Raises:
        ManifestError: no case has a label.
        CaseError: a mask is missing, or lies on another grid than its label.
    """
    entries = [entry for entry in request.entries if entry.label is not None]
    if not entries:
        raise ManifestError(f"{request.root}: no case has a label to compare with")
    masks = find_masks(request.masks)
    missing = [entry.id for entry in entries if entry.id not in masks]
    if missing:
        raise CaseError(
            f"{request.masks}: no mask for {len(missing)} of {len(entries)} cases ({', '.join(missing[:5])} ...); "
            "predict them first"
        )
    results = map_cases(
        executor,
        partial(_score, request=request),
        items=[(entry, masks[entry.id]) for entry in entries],
        names=[entry.id for entry in entries],
        description="evaluate",
    )
    report = make_report(
        request.task,
        [result.scores for result in results],
        title=request.title,
        provenance=request.provenance,
        made_from=request.made_from,
    )
    pairs = tuple(pair for result in results for pair in result.pairs)
    report = report.model_copy(
        update={
            "classical": summarise_classical([result.classical for result in results]),
            "measures": pairs,
            "agreement": compare_measures(pairs),
        }
    )
    pictures = {result.scores.case: result.png for result in results}
    agreement = {label: draw_agreement(report, label) for label in list_drawn(report)}
    write_artefact(out / "report.json", report)
    write_text(out / "report.html", render_report(report, pictures=pictures, agreement=agreement))
    return report


def make_masks_request(workspace: Workspace, masks: Path, *, labels_folder: Path | None) -> EvaluationRequest:
    """Ask for the scores of a folder of masks.

    Args:
        workspace: whose labels are scored, and whose images are drawn where they have the masks' names.
        masks: folder of the masks; `predictions.json` in it tells the numbers of clicks.
        labels_folder: labels to compare with, `CASE` plus any known ending, also of cases that the task does not
            know; None takes the task's own.

    Raises:
        CaseError: a folder is not there or holds no mask, or no mask has a label of its name.
    """
    manifest = read_manifest(workspace.raw)
    present = _find_some_masks(masks, remedy="give the folder that interactivepet_predict wrote with -p")
    known = {entry.id: entry for entry in (*manifest.training, *manifest.test)}
    if labels_folder is None:
        entries = {name: entry for name, entry in known.items() if entry.label is not None}
    else:
        labels = _find_some_masks(labels_folder.absolute(), remedy="give the folder of the labels with -l")
        entries = {
            name: known.get(name, CaseEntry(id=name, images=())).model_copy(update={"label": str(path)})
            for name, path in labels.items()
        }
    _refuse_strangers(present, entries, masks=masks, labels=labels_folder or workspace.raw)
    if labels_folder is not None and (unmasked := sorted(set(entries) - set(present))):
        logger.warning("not scored, as they have no mask in %s: %s", masks, _join(unmasked))
    return EvaluationRequest(
        task=workspace.task,
        entries=tuple(entry for name, entry in entries.items() if name in present),
        root=workspace.raw,
        masks=masks,
        clicks_folder=None,
        labels=manifest.labels,
        channels=manifest.channels,
        title=f"{workspace.task}: {masks.name}",
        provenance="Masks of a folder that the user named; how they came about is not known to this report.",
        n_clicks=_read_n_clicks(masks),
    )


def _find_some_masks(folder: Path, *, remedy: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise CaseError(f"{folder}: there is no such folder; {remedy}")
    found = find_masks(folder)
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:_SHOWN]) or "nothing"
        raise CaseError(f"{folder}: no mask in this folder, found {there}, expected CASE.nii.gz; {remedy}")
    return found


def _refuse_strangers(masks_found: Collection[str], labelled: Collection[str], *, masks: Path, labels: Path) -> None:
    """Refuse masks none of which has a label; name those that have none."""
    unlabelled = sorted(set(masks_found) - set(labelled))
    if len(unlabelled) == len(masks_found):
        raise CaseError(
            f"none of the {len(masks_found)} masks of {masks} ({_join(unlabelled)}) has a label of its name in "
            f"{labels} ({_join(sorted(labelled)) or 'no labels'}); name masks and labels alike, or give the folder of "
            "the right labels with -l"
        )
    if unlabelled:
        logger.warning("not scored, as they have no label in %s: %s", labels, _join(unlabelled))


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _read_n_clicks(folder: Path) -> Mapping[str, int]:
    """Give case -> number of clicks of a folder of predictions; empty for masks of another origin."""
    try:
        return read_artefact(folder / "predictions.json", PredictionLog, command="interactivepet_predict").n_clicks
    except ArtefactError:
        return {}


def _read_reference(root: Path, entry: CaseEntry) -> Case:
    """Read image and label, or the label alone in both roles."""
    if entry.images:
        return read_case(root, entry)
    label, geometry = read_mask(root / (entry.label or ""))
    return Case(entry.id, label[None].astype(np.float32), geometry, label)


def _refuse_values(mask: npt.NDArray[np.uint8], labels: Mapping[str, int], *, name: str) -> None:
    """Refuse values that no label has: what is left out of the score in silence would still look scored."""
    if strange := sorted({int(value) for value in np.unique(mask)} - {0, *labels.values()}):
        known = ", ".join(f"{value} ({label})" for label, value in labels.items())
        raise CaseError(
            f"{name}: holds {', '.join(map(str, strange[:_SHOWN]))}, expected 0 or {known}; renumber it, or take the "
            "task that it belongs to; a PNG holds grey levels: predict with --format .nii.gz to score"
        )


@dataclass(frozen=True, slots=True)
class _Scored:
    """One case: the scores of its mask, its measures, what methods without training reach, its picture."""

    scores: CaseScores
    pairs: tuple[MeasurePair, ...]
    classical: Mapping[ClassicalMethod, float]
    png: bytes


def _score(item: tuple[CaseEntry, Path], *, request: EvaluationRequest) -> _Scored:
    """Score one case and draw it."""
    entry, path = item
    case = _read_reference(request.root, entry)
    mask, geometry = read_mask(path)
    if case.label is None:
        raise CaseError(f"{entry.id}: no label to compare with; give the folder of the labels")
    if not geometry.matches(case.geometry):
        found = describe_mismatch(f"mask {path}:", geometry, other_name="label", other=case.geometry)
        raise CaseError(f"{found}; predict on this image again, or resample the mask")
    _refuse_values(mask, request.labels, name=f"mask {path}")
    _refuse_values(case.label, request.labels, name=f"label {request.root / (entry.label or '')}")
    clicks: tuple[Click, ...] = ()
    if request.clicks_folder is not None:
        clicks_path = find_clicks_file(request.clicks_folder, entry.id)
        if clicks_path is not None:
            clicks = read_clicks(clicks_path, geometry=case.geometry, labels=request.labels)
    n_clicks = request.n_clicks.get(entry.id, len(clicks))
    scores = score_case(entry.id, mask, case.label, geometry=case.geometry, labels=request.labels, n_clicks=n_clicks)
    png = draw_case(
        case.image,
        case.geometry,
        mask=mask,
        reference=case.label,
        clicks=clicks,
        title=entry.id,
        is_emission=is_emission(request.channels),
    )
    classical: Mapping[ClassicalMethod, float] = {}
    if request.with_classical:
        classical = score_classical(case, clicks, labels=tuple(request.labels.values()), channel=request.channels[0])
    return _Scored(scores, _measure(entry, case, mask, request=request), classical, png)


def _measure(
    entry: CaseEntry, case: Case, mask: npt.NDArray[np.uint8], *, request: EvaluationRequest
) -> tuple[MeasurePair, ...]:
    """Measure mask and reference where the case's own image shows uptake."""
    image = case.image[0]
    if not entry.images or case.label is None or not is_emission(request.channels) or not np.isfinite(image).all():
        return ()
    return pair_measures(
        entry.id,
        image,
        mask=mask,
        reference=case.label,
        geometry=case.geometry,
        labels=request.labels,
        unit=find_unit(request.root / entry.images[0], image, case=entry.id, channel=request.channels[0]),
    )
