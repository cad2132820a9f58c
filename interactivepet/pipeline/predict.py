"""Predict new cases with the folds, nnInteractive and the chosen rules."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.ensemble import FusionRule
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.folders.mip import write_projection_mask
from interactivepet.dataset.interactions import find_clicks_file, read_clicks
from interactivepet.dataset.write import read_artefact, write_artefact, write_image, write_mask
from interactivepet.ensemble.folds import add_first_steps
from interactivepet.ensemble.fuse import average, blend, find_silent
from interactivepet.ensemble.obey import make_mask
from interactivepet.ensemble.prompts import check_clicks
from interactivepet.errors import ArtefactError, CaseError
from interactivepet.pipeline.folds import hash_cards
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.models import Models, PredictionOptions, open_models, warn_of_size
from interactivepet.pipeline.requests import FILE_ENDING, PICTURE_ENDING, PredictionRequest
from interactivepet.pipeline.workspace import Workspace, stamp_files

__all__ = ["run_prediction", "write_case_mask"]

logger = logging.getLogger(__name__)

COMMAND = "interactivepet_predict"


def run_prediction(workspace: Workspace, request: PredictionRequest, *, options: PredictionOptions) -> PredictionLog:
    """Predict every case of a request that is not up to date; each mask is finished before it is listed.

    Raises:
        MissingArtefactError: no fold is trained.
        InteractionError: clicks of a case lie outside of its image.
    """
    import torch

    torch.set_num_threads(options.n_threads)
    with open_models(workspace, options) as models:
        if request.file_ending == PICTURE_ENDING and not models.plans.is_flat:
            raise CaseError(f"{workspace.task} has volumes, which are no pictures: choose --format .nii.gz")
        logger.info("predicting with %s", models.description)
        made_from = _hash_inputs(request, models, options=options)
        log = _open_log(workspace, request, models, made_from=made_from)
        for entry in tqdm(request.entries, desc="predict", unit="case", dynamic_ncols=True):
            clicks_path = find_clicks_file(request.clicks_folder, entry.id) if request.clicks_folder else None
            stamp = stamp_files([*request.list_files(entry), *([clicks_path] if clicks_path else [])])
            target = request.out / f"{entry.id}{request.file_ending}"
            if log.cases.get(entry.id) == stamp and target.is_file():
                continue
            n_clicks, skipped = _predict_entry(models, request, entry, clicks_path=clicks_path, options=options)
            with lock_folder(request.out, timeout_s=PATIENCE_S):
                # other processes may predict other images into the same folder
                log = _open_log(workspace, request, models, made_from=made_from)
                log = log.model_copy(
                    update={
                        "cases": {**log.cases, entry.id: stamp},
                        "n_clicks": {**log.n_clicks, entry.id: n_clicks},
                        "skipped": {**log.skipped, entry.id: round(skipped, 3)},
                    }
                )
                write_artefact(request.out / "predictions.json", log)
    return log


def _predict_entry(
    models: Models,
    request: PredictionRequest,
    entry: CaseEntry,
    *,
    clicks_path: Path | None,
    options: PredictionOptions,
) -> tuple[int, float]:
    """Predict one case and write its files; gives the number of clicks and the share of the work that was skipped."""
    case = request.read(entry, channels=models.plans.channels)
    warn_of_size(case, models.plans)
    clicks: tuple[Click, ...] = ()
    if clicks_path is not None:
        clicks = read_clicks(clicks_path, geometry=case.geometry, labels=models.labels)
        labels = tuple(models.labels.values())
        check_clicks(clicks, case_id=case.id, geometry=case.geometry, labels=labels)
    fusion, postprocessing = models.choice(clicks)
    prediction = _fuse(case, clicks, models, fusion=fusion)
    mask, unmet = make_mask(prediction, clicks, fusion=fusion, postprocessing=postprocessing)
    for click in unmet:
        logger.warning("%s: a newer click contradicts %s, which the mask does not meet", case.id, click)
    if options.save_probabilities:
        path = request.out / "probabilities" / f"{entry.id}{FILE_ENDING}"
        write_image(path, prediction.probabilities[1:], geometry=case.geometry)
    path = request.out / f"{entry.id}{request.file_ending}"
    write_case_mask(path, mask, request=request, entry=entry, case=case, largest_label=max(prediction.labels))
    return len(clicks), prediction.skipped


def write_case_mask(
    path: Path,
    mask: npt.NDArray[np.uint8],
    *,
    request: PredictionRequest,
    entry: CaseEntry,
    case: Case,
    largest_label: int,
) -> None:
    """Write the mask (I, J, K) of one of a request's cases, a picture when the path says so.

    Raises:
        CaseError: the format cannot hold the mask.
    """
    if path.suffix.lower() == PICTURE_ENDING:
        write_projection_mask(path, mask, largest_label=largest_label)
        return
    source = request.images_root / entry.images[0] if entry.images else None
    like = source if source is not None and source.suffix.lower() != PICTURE_ENDING else None
    write_mask(path, mask, geometry=case.geometry, like=like)


def _fuse(case: Case, clicks: Sequence[Click], models: Models, *, fusion: FusionRule) -> Prediction:
    """Average the configurations that were chosen and blend them with nnInteractive."""
    weight = fusion.nninteractive_weight
    promptable = models.promptable.segment(case, clicks) if models.promptable and clicks and weight > 0 else None
    if promptable is not None and weight >= 1.0 and not find_silent(promptable.labels, clicks):
        return promptable
    found: dict[Configuration, Prediction] = {}
    for name in add_first_steps(fusion.configurations):
        coarse = found["3d_lowres"] if name == "3d_cascade" else None
        found[name] = models.folds[name].segment(case, clicks, coarse=coarse)
    folds = average(found[name] for name in fusion.configurations)
    return folds if promptable is None else blend(folds, promptable, clicks, weight=weight)


def _hash_inputs(request: PredictionRequest, models: Models, *, options: PredictionOptions) -> str:
    """Hash models and options: a log of others does not vouch for masks."""
    parts = [
        models.plans.content_hash(),
        models.rule.content_hash() if models.rule else "",
        *(hash_cards(cards) for cards in models.cards.values()),
        options.promptable.stamp(tuple(models.labels.values())) if options.promptable and models.promptable else "",
        str((options.tta, options.save_probabilities, request.file_ending)),
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _open_log(workspace: Workspace, request: PredictionRequest, models: Models, *, made_from: str) -> PredictionLog:
    """Read the log of an interrupted prediction with the same models and options, or start one."""
    try:
        return read_artefact(request.out / "predictions.json", PredictionLog, command=COMMAND, made_from=made_from)
    except ArtefactError:
        # Written before the first mask: a log of other options must not vouch for it.
        log = PredictionLog(made_from=made_from, task=workspace.task, models=models.description, cases={}, n_clicks={})
        write_artefact(request.out / "predictions.json", log)
        return log
