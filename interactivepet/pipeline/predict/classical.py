"""Predict new cases with a classical method: a task needs `dataset.json` for it, and cases need clicks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from interactivepet.core.artefact import hash_text
from interactivepet.core.case import Case
from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Segmentation
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.errors import CaseError, InteractionError
from interactivepet.inference.classical.segmenter import ClassicalSegmenter
from interactivepet.pipeline.predict.click_lines import read_click_line
from interactivepet.pipeline.predict.masks import save_mask
from interactivepet.pipeline.predict.pictures import save_picture
from interactivepet.pipeline.predict.prediction import predict_cases
from interactivepet.pipeline.predict.requests import PICTURE_ENDING, PredictionRequest, check_case
from interactivepet.pipeline.stamps import open_stamps
from interactivepet.pipeline.workspace import Workspace
from interactivepet.session.prompts import check_clicks

__all__ = ["run_classical_lines", "run_classical_prediction"]

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the rules: another one makes masks of before out of date."""


def run_classical_prediction(
    workspace: Workspace, request: PredictionRequest, *, method: ClassicalMethod
) -> PredictionLog:
    """Predict every case of a request that is not up to date, from its clicks; neither plan nor fold is needed.

    Args:
        workspace: of the task; its `dataset.json` gives channels and labels.
        request: the cases and their click files. A case without clicks gets an empty mask and a warning.
        method: which.

    Returns:
        What was done, as of `pipeline.predict.prediction.run_prediction`.

    Raises:
        InteractionError: no case has clicks.
        ManifestError: `dataset.json` is missing or damaged.
    """
    manifest = read_manifest(workspace.raw)
    if not request.clicks:
        raise InteractionError(
            f"{workspace.task}: {method} segments what was clicked on, and none of the {len(request.entries)} images "
            "has a click file; name their folder with -in, or add interactionsTs to the task"
        )
    segmenter = _make_segmenter(manifest, method)
    logger.info("predicting with %s", segmenter.description)
    with open_stamps(workspace) as stamps:
        return predict_cases(
            workspace.task,
            request,
            models=segmenter.description,
            made_from=_hash_method(request, manifest, method),
            stamps=stamps,
            predict=partial(_predict_entry, segmenter, manifest, request),
        )


def _hash_method(request: PredictionRequest, manifest: DatasetManifest, method: ClassicalMethod) -> str:
    """Hash what decides about masks, besides images and clicks."""
    frames = sorted({str(job.time_frame) for job in request.series.values() if job.time_frame is not None})
    channel, labels = manifest.channels[0], sorted(manifest.labels.items())
    parts = (method, VERSION, channel, labels, request.file_ending, request.point_frame, frames)
    return hash_text(repr(parts))


def run_classical_lines(
    workspace: Workspace,
    request: PredictionRequest,
    *,
    lines: Sequence[str],
    method: ClassicalMethod,
    frame: PointFrame,
) -> Segmentation:
    """Segment the only case of a request from lines of clicks.

    Args:
        workspace: as of `run_classical_prediction`.
        request: one case.
        lines: of `read_click_line`.
        method: which.
        frame: of the numbers in lines.

    Raises:
        InteractionError: a line is invalid, a click lies outside of the image, or none is positive.
        CaseError: the image cannot be read, or the format cannot hold the mask.
        ManifestError: `dataset.json` is missing or damaged, or there are several cases.
    """
    manifest = read_manifest(workspace.raw)
    segmenter = _make_segmenter(manifest, method)
    case = request.load_single(channels=manifest.channels)
    check_case(case, manifest.channels)
    read = partial(read_click_line, geometry=case.geometry, frame=frame, labels=segmenter.labels)
    clicks = tuple(click for line in lines for click in read(line))
    check_clicks(clicks, case_id=case.id, geometry=case.geometry, labels=segmenter.labels)
    if not any(click.is_positive for click in clicks):
        raise InteractionError(f"{case.id}: {method} needs a positive click; add --click '+ x y z'")
    return _segment(segmenter, manifest, request, request.entries[0], case=case, clicks=clicks)


def _make_segmenter(manifest: DatasetManifest, method: ClassicalMethod) -> ClassicalSegmenter:
    return ClassicalSegmenter(method, manifest.label_values, manifest.channels[0])


def _predict_entry(
    segmenter: ClassicalSegmenter,
    manifest: DatasetManifest,
    request: PredictionRequest,
    entry: CaseEntry,
    clicks_path: Path | None,
) -> tuple[int, float]:
    """Predict one case and write its mask; gives the number of clicks, and 0 as nothing is skipped."""
    case = request.read(entry, channels=manifest.channels)
    if request.path(entry).suffix.lower() == PICTURE_ENDING and case.geometry.shape[2] > 1:
        raise CaseError(f"{case.id}: a volume of {case.geometry.shape} is no picture; choose --format .nii.gz")
    clicks: tuple[Click, ...] = ()
    if clicks_path is not None:
        clicks = read_clicks(
            clicks_path, geometry=case.geometry, point_frame=request.point_frame, labels=manifest.labels
        )
    if not any(click.is_positive for click in clicks):
        logger.warning("%s: no positive click, so the mask of %s is empty", case.id, segmenter.name)
    _segment(segmenter, manifest, request, entry, case=case, clicks=clicks)
    return len(clicks), 0.0


def _segment(
    segmenter: ClassicalSegmenter,
    manifest: DatasetManifest,
    request: PredictionRequest,
    entry: CaseEntry,
    *,
    case: Case,
    clicks: Sequence[Click],
) -> Segmentation:
    """Segment a case, and write its mask and picture."""
    found = to_segmentation(segmenter.segment(case, clicks), threshold=0.5)
    found = replace(found, source=case.source)
    save_mask(found, request.path(entry))
    if request.picture is not None:
        save_picture(
            request.picture,
            case,
            found,
            clicks=clicks,
            channels=manifest.channels,
            labels=manifest.labels,
            in_suv=is_pet(manifest.channels[0]),
        )
    return found
