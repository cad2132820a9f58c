"""Predict new cases with the folds, nnInteractive and the chosen rules."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.ensemble import Choice, EnsembleRule, FusionRule, PostprocessingRule
from interactivepet.core.interaction import Click
from interactivepet.core.plan import FoldList, Plan
from interactivepet.core.prediction import Prediction
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.folders.mip import is_projection, read_projection, write_projection_mask
from interactivepet.dataset.interactions import find_clicks_file, read_clicks
from interactivepet.dataset.read import read_case
from interactivepet.dataset.write import read_artefact, write_artefact, write_image, write_mask
from interactivepet.ensemble.fuse import average, blend, to_segmentation
from interactivepet.ensemble.nninteractive import NnInteractiveSegmenter, open_segmenter
from interactivepet.errors import ArtefactError, CaseError, InteractionError
from interactivepet.inference.network import NetworkSegmenter, open_network, return_to_scanner
from interactivepet.inference.segmenter import Segmenter
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.train import hash_cards, read_card
from interactivepet.pipeline.workspace import Workspace, stamp_files
from interactivepet.planning.fingerprint import find_body_box
from interactivepet.postprocessing.steps import apply_rule
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.training.checkpoint import load_weights

__all__ = ["PredictionOptions", "PredictionRequest", "PromptableSource", "read_n_clicks", "run_prediction"]

logger = logging.getLogger(__name__)

COMMAND = "interactivepet_predict"
FILE_ENDING = ".nii.gz"
PICTURE_ENDING = ".png"


@dataclass(frozen=True, slots=True)
class PromptableSource:
    """An nnInteractive model.

    Attributes:
        source: model folder, or URL of a running nninteractive-server.
        api_key: of the server.
    """

    source: str
    api_key: str | None = None

    def stamp(self, labels: Sequence[int]) -> str:
        """Hash which model this is, by the files of a folder, and the labels that it is asked for."""
        folder = Path(self.source)
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return stamp_files(files, salt=f"{self.source}|{tuple(labels)}")

    def open(self, *, labels: Sequence[int], device: str, n_threads: int) -> NnInteractiveSegmenter:
        """Load the model or reach the server."""
        return open_segmenter(self.source, labels=labels, device=device, n_threads=n_threads, api_key=self.api_key)


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What to predict and where to put it.

    Attributes:
        entries: the cases, their files relative to `images_root`.
        images_root: folder that the entries' paths start from.
        clicks_folder: holds the cases' click files; a case without one is predicted without clicks.
        out: folder of the masks.
        file_ending: format of the masks, such as `.nii.gz` or `.nrrd`.
        is_projected: PNG images are projections on which dark is hot, as `interactivepet_import mip` reads them.
    """

    entries: tuple[CaseEntry, ...]
    images_root: Path
    clicks_folder: Path | None
    out: Path
    file_ending: str = FILE_ENDING
    is_projected: bool = False


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """How to predict.

    Attributes:
        folds: which to average; all complete ones when empty.
        tta: average over mirrored inputs.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        n_threads: of torch.
        promptable: nnInteractive; None leaves it out.
        save_probabilities: also write each label's probability, as NIfTI.
    """

    folds: tuple[int, ...] = ()
    tta: bool = True
    device: str = "auto"
    n_threads: int = 1
    promptable: PromptableSource | None = None
    save_probabilities: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Everything that takes part in a prediction.

    Attributes:
        plan: of the folds.
        folds: the trained networks.
        promptable: nnInteractive, when it takes part.
        rule: the choice from cross-validation; None uses the folds at threshold 0.5.
    """

    plan: Plan
    folds: tuple[NetworkSegmenter, ...]
    promptable: Segmenter | None
    rule: EnsembleRule | None

    @property
    def description(self) -> str:
        """Names and licences, for the log and the person who uses the masks."""
        parts = [f"{model.name} ({model.licence})" for model in self.folds[:1]]
        names = f"{len(self.folds)} folds: {parts[0]}" if parts else ""
        if self.promptable is not None:
            names += f"; nnInteractive {self.promptable.name} ({self.promptable.licence})"
        return names

    def choice(self, clicks: Sequence[Click]) -> tuple[FusionRule, PostprocessingRule]:
        """Give the rules for a case with these clicks."""
        chosen: Choice | None = None
        if self.rule is not None:
            chosen = self.rule.choices["extreme" if clicks else "none"]
        return (chosen.fusion, chosen.postprocessing) if chosen else (FusionRule(), PostprocessingRule())


def run_prediction(workspace: Workspace, request: PredictionRequest, *, options: PredictionOptions) -> PredictionLog:
    """Predict every case of a request that is not up to date; each mask is finished before it is listed.

    Raises:
        MissingArtefactError: no fold is trained.
        InteractionError: clicks of a case lie outside of its image.
    """
    import torch

    torch.set_num_threads(options.n_threads)
    with ExitStack() as stack:
        models = _open_models(workspace, options, stack)
        if request.file_ending == PICTURE_ENDING and models.plan.median_shape[2] != 1:
            raise CaseError(f"{workspace.task} has volumes, which are no pictures: choose --format .nii.gz")
        logger.info("predicting with %s", models.description)
        log = _open_log(workspace, request, models, options=options)
        for entry in tqdm(request.entries, desc="predict", unit="case", dynamic_ncols=True):
            clicks_path = find_clicks_file(request.clicks_folder, entry.id) if request.clicks_folder else None
            stamp = _stamp(request, entry, clicks_path)
            target = request.out / f"{entry.id}{request.file_ending}"
            if log.cases.get(entry.id) == stamp and target.is_file():
                continue
            n_clicks = _predict_entry(models, request, entry, clicks_path=clicks_path, options=options)
            log = log.model_copy(
                update={
                    "cases": {**log.cases, entry.id: stamp},
                    "n_clicks": {**log.n_clicks, entry.id: n_clicks},
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
) -> int:
    """Predict one case and write its files; gives the number of clicks."""
    case = _read_image(request, entry)
    clicks: tuple[Click, ...] = ()
    if clicks_path is not None:
        clicks = read_clicks(clicks_path, geometry=case.geometry, labels=models.plan.labels)
        _check_clicks(case, clicks, models.plan)
    fusion, postprocessing = models.choice(clicks)
    prediction = _fuse(case, clicks, models, weight=fusion.nninteractive_weight)
    mask = to_segmentation(prediction, threshold=fusion.threshold).mask
    mask = apply_rule(mask, postprocessing, geometry=case.geometry, clicks=clicks, labels=prediction.labels)
    if options.save_probabilities:
        path = request.out / "probabilities" / f"{entry.id}{FILE_ENDING}"
        write_image(path, prediction.probabilities[1:], geometry=case.geometry)
    _write_mask(request, entry, mask, case=case, largest_label=max(prediction.labels))
    return len(clicks)


def _read_image(request: PredictionRequest, entry: CaseEntry) -> Case:
    """Read a case's image; a picture is read as projections are when they are imported."""
    paths = [request.images_root / name for name in entry.images]
    if request.is_projected and is_projection(paths):
        image, geometry = read_projection(paths[0])
        return Case(entry.id, image, geometry)
    return read_case(request.images_root, entry, with_label=False)


def _write_mask(
    request: PredictionRequest, entry: CaseEntry, mask: npt.NDArray[np.uint8], *, case: Case, largest_label: int
) -> None:
    path = request.out / f"{entry.id}{request.file_ending}"
    if request.file_ending == PICTURE_ENDING:
        write_projection_mask(path, mask, largest_label=largest_label)
        return
    source = request.images_root / entry.images[0]
    like = None if source.suffix.lower() == PICTURE_ENDING else source
    write_mask(path, mask, geometry=case.geometry, like=like)


def _check_clicks(case: Case, clicks: Sequence[Click], plan: Plan) -> None:
    for click in clicks:
        if not case.geometry.contains(click.position_mm):
            raise InteractionError(
                f"{case.id}: click at {click.position_mm} mm (RAS) lies outside of the image; check that it was placed "
                "on this image and that its file states the coordinate system (LPS or RAS)"
            )
        if click.label not in plan.label_values:
            raise InteractionError(f"{case.id}: click for label {click.label}, but the model knows {plan.labels}")


def _fuse(case: Case, clicks: Sequence[Click], models: Models, *, weight: float) -> Prediction:
    """Average the folds on the network's grid, return to the scanner's and blend with nnInteractive."""
    promptable = models.promptable.segment(case, clicks) if models.promptable and clicks and weight > 0 else None
    if promptable is not None and weight >= 1.0:
        return promptable
    ready = preprocess(case, models.plan, body=find_body_box(case.image))
    folds = return_to_scanner(average(fold.predict(ready, clicks) for fold in models.folds), ready.trace)
    return folds if promptable is None else blend(folds, promptable, weight=weight)


def _open_models(workspace: Workspace, options: PredictionOptions, stack: ExitStack) -> Models:
    plan = read_artefact(workspace.plans, Plan, command=f"interactivepet_plan_and_process -t {workspace.task}")
    split = read_artefact(workspace.folds, FoldList, command="interactivepet_plan_and_process")
    rule = _read_rule(workspace, plan, split)
    indices = options.folds or tuple(fold.index for fold in split.folds if workspace.card(fold.index).is_file())
    indices = indices or (0,)
    folds = tuple(_open_fold(workspace, plan, split, index=index, options=options) for index in indices)
    source = options.promptable if _has_share(rule, options) else None
    promptable = None
    if source is not None:
        device = str(choose_device(options.device))
        opened = source.open(labels=plan.label_values, device=device, n_threads=options.n_threads)
        promptable = stack.enter_context(opened)
    return Models(plan, folds, promptable, rule)


def _has_share(rule: EnsembleRule | None, options: PredictionOptions) -> bool:
    """Whether nnInteractive is there and has a share in the choice; says so when the two disagree."""
    weight = rule.choices["extreme"].fusion.nninteractive_weight if rule is not None else 0.0
    if weight == 0 and options.promptable is not None:
        logger.info("nnInteractive takes no part: the choice from cross-validation gave it no weight")
    if weight > 0 and options.promptable is None:
        name = rule.nninteractive if rule is not None else ""
        logger.warning("the ensemble was chosen with nnInteractive (%s), which is off: folds only", name)
    return weight > 0 and options.promptable is not None


def _read_rule(workspace: Workspace, plan: Plan, split: FoldList) -> EnsembleRule | None:
    """Read the choice and check that it was made on the folds as they are now."""
    if not workspace.ensemble.is_file():
        logger.warning("no ensemble.json: run interactivepet_postprocessing to choose threshold and postprocessing")
        return None
    made_from = hash_cards([read_card(workspace, plan, fold=fold) for fold in split.folds])
    command = f"interactivepet_postprocessing -t {workspace.task}"
    return read_artefact(workspace.ensemble, EnsembleRule, command=command, made_from=made_from)


def _open_fold(
    workspace: Workspace, plan: Plan, split: FoldList, *, index: int, options: PredictionOptions
) -> NetworkSegmenter:
    if not 0 <= index < len(split.folds):
        raise ArtefactError(f"fold {index} does not exist; folds.json has {len(split.folds)}")
    card = read_card(workspace, plan, fold=split.folds[index])
    weights = load_weights(workspace.fold(index) / "weights.pt", sha256=card.weights_sha256)
    return open_network(
        plan,
        weights,
        name=f"fold_{index}",
        licence=card.licence,
        device=choose_device(options.device),
        tta=options.tta,
    )


def _open_log(
    workspace: Workspace, request: PredictionRequest, models: Models, *, options: PredictionOptions
) -> PredictionLog:
    """Read the log of an interrupted prediction with the same models and options, or start one."""
    parts = [
        models.plan.content_hash(),
        models.rule.content_hash() if models.rule else "",
        *(fold.name for fold in models.folds),
        *(workspace.card(int(fold.name.removeprefix("fold_"))).read_text() for fold in models.folds),
        options.promptable.stamp(models.plan.label_values) if options.promptable and models.promptable else "",
        str((options.tta, options.save_probabilities, request.file_ending)),
    ]
    made_from = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    try:
        return read_artefact(request.out / "predictions.json", PredictionLog, command=COMMAND, made_from=made_from)
    except ArtefactError:
        # Written before the first mask: a log of other options must not vouch for it.
        log = PredictionLog(made_from=made_from, task=workspace.task, models=models.description, cases={}, n_clicks={})
        write_artefact(request.out / "predictions.json", log)
        return log


def read_n_clicks(folder: Path) -> dict[str, int]:
    """Give case -> number of clicks of a folder of predictions; empty for masks of another origin."""
    try:
        return read_artefact(folder / "predictions.json", PredictionLog, command=COMMAND).n_clicks
    except ArtefactError:
        return {}


def _stamp(request: PredictionRequest, entry: CaseEntry, clicks_path: Path | None) -> str:
    files = [request.images_root / name for name in entry.images]
    return stamp_files([*files, *([clicks_path] if clicks_path else [])])
