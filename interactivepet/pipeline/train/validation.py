"""Predict the cases that a fold never saw, keep what it found, and show where it fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.dataset.files.arrays import write_array
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.evaluation.metrics import mean_case_dice
from interactivepet.inference.network import FoldNetwork, return_to_scanner
from interactivepet.pipeline.prepare.cases import read_preprocessed
from interactivepet.pipeline.train.folds import read_reference
from interactivepet.pipeline.workspace import Workspace
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.reporting.pictures import draw_case
from interactivepet.reporting.views import is_emission
from interactivepet.training.batches import StoredCase

__all__ = ["OUT_OF_FOLD_THRESHOLD", "Validation", "validate_fold"]

logger = logging.getLogger(__name__)

OUT_OF_FOLD_THRESHOLD = 0.5
"""Of the Dice on the fold's card; the choice of the ensemble tries others."""

MOST_PICTURES = 6
"""Validation cases that are shown: those with the lowest Dice with clicks."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How a fold did on the cases that it never saw.

    Attributes:
        dice: click mode -> case -> mean Dice over the labels; a mode that no case was predicted in is not there.
        pictures: case -> PNG file's bytes, of the worst cases, the worst first.
    """

    dice: dict[str, dict[str, float]]
    pictures: dict[str, bytes]

    @property
    def means(self) -> dict[str, float]:
        """Click mode -> mean Dice over the cases."""
        return {mode: fmean(cases.values()) for mode, cases in self.dice.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """A case that may be among the worst, with its mask (I, J, K) on the scanner's grid."""

    case: StoredCase
    dice: float
    mask: npt.NDArray[np.uint8]


def validate_fold(
    workspace: Workspace,
    plan: Plan,
    *,
    fold: int,
    cases: Sequence[StoredCase],
    network: FoldNetwork,
    progress_position: int = 0,
) -> Validation:
    """Predict cases with none and with their stored clicks; write the probabilities and draw the worst.

    A plan that crops to clicks is judged as it is used: the crop knows the clicks alone, and a case without any is
    left out, as it would be refused.

    Args:
        workspace: of the task.
        plan: of the configuration.
        fold: index, for the folder and the progress bar.
        cases: that the network never saw.
        network: the fold's network.
        progress_position: line of the progress bar.
    """
    manifest = read_manifest(workspace.raw)
    dice: dict[str, dict[str, float]] = {}
    worst: list[_Shown] = []
    bar = tqdm(
        cases,
        desc=f"fold {fold}, out of fold",
        unit="case",
        position=progress_position,
        leave=True,
        dynamic_ncols=True,
    )
    for case in bar:
        name = case.record.id
        reference = read_reference(workspace, manifest, record=case.record)
        for mode, prediction in _predict_case(workspace, manifest, plan=plan, case=case, network=network).items():
            folder = workspace.out_of_fold(plan.configuration, fold, mode=mode)
            write_array(folder / f"{name}.b2nd", prediction.probabilities[1:].astype(np.float16))
            mask = to_segmentation(prediction, threshold=OUT_OF_FOLD_THRESHOLD).mask
            found = mean_case_dice(mask, reference, labels=plan.label_values)
            dice.setdefault(mode, {})[name] = found
            if mode == "extreme":
                worst = sorted([*worst, _Shown(case, found, mask)], key=lambda s: s.dice)[:MOST_PICTURES]
        bar.set_postfix({mode: f"{fmean(cases.values()):.3f}" for mode, cases in dice.items()})
    return Validation(dice, {s.case.record.id: _draw(workspace, manifest, shown=s, plan=plan) for s in worst})


def _predict_case(
    workspace: Workspace, manifest: DatasetManifest, *, plan: Plan, case: StoredCase, network: FoldNetwork
) -> dict[ClickMode, Prediction]:
    """Predict a case in every click mode, on the scanner's grid; without clicks both modes are one."""
    if plan.crop.region == "clicks":
        return _predict_clicked(workspace, manifest, plan=plan, case=case, network=network)
    ready = read_preprocessed(workspace, plan, record=case.record)
    none = return_to_scanner(network.predict(ready, (), previous=case.load_coarse("none")), ready.trace)
    clicks = case.record.clicks
    if not clicks:
        return {"none": none, "extreme": none}
    found = network.predict(ready, clicks, previous=case.load_coarse("extreme"))
    return {"none": none, "extreme": return_to_scanner(found, ready.trace)}


def _predict_clicked(
    workspace: Workspace, manifest: DatasetManifest, *, plan: Plan, case: StoredCase, network: FoldNetwork
) -> dict[ClickMode, Prediction]:
    """Predict a case that is cropped to its clicks; the stored one is cropped to its label as well."""
    record = case.record
    if not record.clicks:
        logger.warning("%s: no clicks, which this plan crops to; left out of the validation", record.id)
        return {}
    raw = read_case(workspace.raw, manifest.entry(record.id), with_label=False)
    ready = preprocess(raw, plan, box=find_crop(raw, plan, clicks=record.clicks))
    return {"extreme": return_to_scanner(network.predict(ready, record.clicks), ready.trace)}


def _draw(workspace: Workspace, manifest: DatasetManifest, *, shown: _Shown, plan: Plan) -> bytes:
    record = shown.case.record
    case = read_case(workspace.raw, manifest.entry(record.id))
    return draw_case(
        case.image,
        case.geometry,
        mask=shown.mask,
        reference=case.label,
        clicks=record.clicks,
        title=f"{record.id}  Dice {shown.dice:.3f} (out of fold)",
        is_emission=is_emission(plan.channels),
    )
