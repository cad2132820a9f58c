"""Predict new cases with the folds, nnInteractive and the chosen rules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from interactivepet.core.artefact import hash_text
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.interaction import Click
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image
from interactivepet.dataset.interactions import read_clicks
from interactivepet.errors import ArtefactError, CaseError, InteractionError
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.predict.masks import save_mask
from interactivepet.pipeline.predict.model import Model, open_trained_model
from interactivepet.pipeline.predict.models import Models, PredictionOptions
from interactivepet.pipeline.predict.pictures import is_suv, save_picture
from interactivepet.pipeline.predict.requests import (
    FILE_ENDING,
    PredictionRequest,
    refuse_pictures_of_volumes,
)
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.workspace import Workspace

__all__ = ["predict_cases", "run_prediction"]

logger = logging.getLogger(__name__)

COMMAND = "interactivepet_predict"


def run_prediction(
    source: PredictionSource, request: PredictionRequest, *, options: PredictionOptions
) -> PredictionLog:
    """Predict every case of a request that is not up to date; each mask is finished before it is listed.

    A case whose image or clicks cannot be used does not stop the others.

    Returns:
        What was done, with the cause for each case of the request that failed. It is written beside the masks, but
        not for a request of one mask, which has no folder of its own.

    Raises:
        MissingArtefactError: no fold is trained.
        ModelError: the model is damaged, or lacks a fold.
        CaseError: the format of the masks cannot hold those of this task.
    """
    with open_trained_model(source, options) as model, open_stamps(_find_workspace(source)) as stamps:
        refuse_pictures_of_volumes(request, model.plans)
        logger.info("predicting with %s", model.description)
        made_from = _hash_inputs(request, model.models, stamps, options=options)
        return predict_cases(
            source.task,
            request,
            models=model.description,
            made_from=made_from,
            stamps=stamps,
            predict=partial(_predict_entry, model, request, save_probabilities=options.save_probabilities),
        )


def predict_cases(
    task: str,
    request: PredictionRequest,
    *,
    models: str,
    made_from: str,
    stamps: FileStamps,
    predict: Callable[[CaseEntry, Path | None], tuple[int, float]],
) -> PredictionLog:
    """Predict every case of a request that is not up to date, and log each when its mask is finished.

    Args:
        task: its name.
        request: the cases.
        models: names and licences of what predicts.
        made_from: hash of what predicts and of its options.
        stamps: of the files of cases.
        predict: writes the mask of a case, given its click file or None; gives the number of clicks and the share in
            [0, 1] of the work that was skipped. A CaseError or InteractionError of it concerns this case alone.

    Returns:
        What was done, as of `run_prediction`.
    """
    log = _open_log(task, request, models, made_from=made_from)
    for entry in tqdm(request.entries, desc="predict", unit="case", dynamic_ncols=True):
        clicks_path = request.clicks.get(entry.id)
        stamp = stamps.stamp([*request.list_files(entry), *([clicks_path] if clicks_path else [])])
        is_current = log.cases.get(entry.id) == stamp and request.path(entry).is_file()
        if is_current and request.picture is None:
            continue
        try:
            n_clicks, skipped = predict(entry, clicks_path)
        except (CaseError, InteractionError) as error:
            outcome = _Outcome(entry.id, cause=str(error))
        else:
            outcome = _Outcome(entry.id, stamp=stamp, n_clicks=n_clicks, skipped=round(skipped, 3))
        if request.mask is not None:
            return outcome.note(log)
        with lock_folder(request.out, timeout_s=PATIENCE_S):
            # other processes may predict other images into the same folder
            log = outcome.note(_open_log(task, request, models, made_from=made_from))
            write_artefact(request.out / "predictions.json", log)
    names = {entry.id for entry in request.entries}
    failed = {name: cause for name, cause in log.failed.items() if name in names}
    return log.model_copy(update={"failed": {**request.unreadable, **failed}})


def _find_workspace(source: PredictionSource) -> Workspace | None:
    """Give the task that keeps what is learned about files; a model is not written to."""
    return source if isinstance(source, Workspace) else None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a case: the stamp, clicks and skipped share of its mask, or why there is none."""

    case: str
    stamp: str = ""
    n_clicks: int = 0
    skipped: float = 0.0
    cause: str = ""

    def note(self, log: PredictionLog) -> PredictionLog:
        """Give the log with this outcome in the place of an earlier one."""
        cases, n_clicks, skipped = dict(log.cases), dict(log.n_clicks), dict(log.skipped)
        failed = dict(log.failed)
        if self.cause:
            # a mask of what the image was before is not up to date
            cases.pop(self.case, None)
            n_clicks.pop(self.case, None)
            skipped.pop(self.case, None)
            failed[self.case] = self.cause
        else:
            cases[self.case], n_clicks[self.case], skipped[self.case] = self.stamp, self.n_clicks, self.skipped
            failed.pop(self.case, None)
        return log.model_copy(update={"cases": cases, "n_clicks": n_clicks, "skipped": skipped, "failed": failed})


def _predict_entry(
    model: Model,
    request: PredictionRequest,
    entry: CaseEntry,
    clicks_path: Path | None,
    *,
    save_probabilities: bool,
) -> tuple[int, float]:
    """Predict one case and write its files; gives the number of clicks and the share of the work that was skipped."""
    case = request.load(entry, channels=model.channels)
    clicks: tuple[Click, ...] = ()
    if clicks_path is not None:
        clicks = read_clicks(clicks_path, geometry=case.geometry, point_frame=request.point_frame, labels=model.labels)
    prediction, segmentation = model.predict_whole(case, clicks)
    for click in segmentation.unmet:
        logger.warning("%s: a newer click contradicts %s, which the mask does not meet", case.id, click)
    if save_probabilities:
        path = request.out / "probabilities" / f"{entry.id}{FILE_ENDING}"
        write_image(path, prediction.probabilities[1:], geometry=case.geometry)
    save_mask(segmentation, request.path(entry))
    if request.picture is not None:
        save_picture(
            request.picture,
            case,
            segmentation,
            clicks=clicks,
            channels=model.channels,
            labels=model.labels,
            in_suv=is_suv(model.plans),
        )
    return len(clicks), prediction.skipped


def _hash_inputs(request: PredictionRequest, models: Models, stamps: FileStamps, *, options: PredictionOptions) -> str:
    """Hash models and options: a log of others does not vouch for masks."""
    promptable = options.promptable
    parts = [
        models.plans.content_hash(),
        models.rule.content_hash() if models.rule else "",
        *models.made_of,
        promptable.stamp(tuple(models.labels.values()), stamps) if promptable and models.promptable else "",
        str((options.tta, options.save_probabilities, request.file_ending)),
        # masks from before plans had an order of axes stay valid
        *([models.plans.axis_order] if models.plans.axis_order else []),
        *([f"frame {request.time_frame}"] if request.time_frame is not None else []),
        # as before there was a choice
        *([request.point_frame] if request.point_frame != "lps" else []),
    ]
    return hash_text(*parts)


def _open_log(task: str, request: PredictionRequest, models: str, *, made_from: str) -> PredictionLog:
    """Read the log of an interrupted prediction with the same models and options, or start one."""
    log = PredictionLog(made_from=made_from, task=task, models=models, cases={}, n_clicks={})
    if request.mask is not None:
        return log
    try:
        return read_artefact(request.out / "predictions.json", PredictionLog, command=COMMAND, made_from=made_from)
    except ArtefactError:
        # Written before the first mask: a log of other options must not vouch for it.
        write_artefact(request.out / "predictions.json", log)
        return log
