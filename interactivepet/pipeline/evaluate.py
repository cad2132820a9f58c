"""Score a folder of masks against labels and write the report."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.interaction import Click
from interactivepet.core.report import CaseScores, Report
from interactivepet.dataset.interactions import find_clicks_file, read_clicks
from interactivepet.dataset.layout import split_ending
from interactivepet.dataset.read import read_case, read_mask
from interactivepet.dataset.write import write_artefact, write_text
from interactivepet.errors import CaseError, ManifestError
from interactivepet.evaluation.html import render_report
from interactivepet.evaluation.metrics import score_case
from interactivepet.evaluation.pictures import draw_case
from interactivepet.evaluation.summarise import make_report
from interactivepet.pipeline.cases import is_emission
from interactivepet.pipeline.executor import map_cases

__all__ = ["EvaluationRequest", "find_masks", "run_evaluation"]


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
        [scores for scores, _ in results],
        title=request.title,
        provenance=request.provenance,
        made_from=request.made_from,
    )
    pictures = {scores.case: png for scores, png in results}
    write_artefact(out / "report.json", report)
    write_text(out / "report.html", render_report(report, pictures=pictures))
    return report


def find_masks(folder: Path) -> dict[str, Path]:
    """Map case identifiers to the masks of a folder."""
    if not folder.is_dir():
        raise CaseError(f"{folder} is not there; predict first, or give the folder of the masks")
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*")):
        stem, ending = split_ending(path.name)
        if ending and stem in found:
            raise CaseError(f"{folder}: {found[stem].name} and {path.name} are both masks of {stem}; keep one")
        if ending:
            found[stem] = path
    return found


def _read_reference(root: Path, entry: CaseEntry) -> Case:
    """Read image and label, or the label alone in both roles."""
    if entry.images:
        return read_case(root, entry)
    label, geometry = read_mask(root / (entry.label or ""))
    return Case(entry.id, label[None].astype(np.float32), geometry, label)


def _score(item: tuple[CaseEntry, Path], *, request: EvaluationRequest) -> tuple[CaseScores, bytes]:
    """Score one case and draw it."""
    entry, path = item
    case = _read_reference(request.root, entry)
    mask, geometry = read_mask(path)
    if not geometry.matches(case.geometry) or case.label is None:
        raise CaseError(
            f"{entry.id}: mask grid {geometry.shape} at {geometry.affine[:3, 3].round(2)} mm, image grid "
            f"{case.geometry.shape} at {case.geometry.affine[:3, 3].round(2)} mm; predict on this image again"
        )
    if int(mask.max()) > max(request.labels.values()):
        raise CaseError(
            f"{path}: holds the value {mask.max()}, but the labels are {dict(request.labels)}; "
            "a PNG holds grey levels: predict with --format .nii.gz to score"
        )
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
    return scores, png
