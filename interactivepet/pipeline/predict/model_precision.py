"""Whether the weights of folds can be stored as float16: only where masks of unseen cases stay the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.click_constraints import make_mask
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.errors import CaseError, InteractionError
from interactivepet.inference.network import open_network
from interactivepet.model.description import WeightPrecision
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.decisions import read_folds
from interactivepet.pipeline.predict.models import Models
from interactivepet.pipeline.predict.trained import TaskResults, load_fold_weights
from interactivepet.pipeline.workspace import Workspace
from interactivepet.session.segmenter import EnsembleSegmenter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["choose_precision"]

logger = logging.getLogger(__name__)


def choose_precision(workspace: Workspace, results: TaskResults, *, device: str) -> WeightPrecision:
    """Compare each fold's masks of a case that it has not seen, with its weights as they are and rounded to float16.

    The case is the fold's first validation case, without clicks and with its stored ones, without mirrored inputs. The
    first voxel that differs ends the comparison.

    Args:
        workspace: of the task, with the images of these cases.
        results: folds and choice.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        `float16` where all masks are identical; `float32` where one differs, or a case cannot be read.
    """
    manifest = read_manifest(workspace.raw)
    for fold in read_folds(workspace).folds:
        cards = {name: known for name, all_ in results.cards.items() for known in all_ if known.fold == fold.index}
        if not cards or not fold.validation:
            continue
        try:
            n_changed = _count_changed(workspace, manifest, results, cards, case_id=fold.validation[0], device=device)
        except (CaseError, InteractionError) as error:
            logger.warning("weights stay float32, as masks cannot be compared: %s", error)
            return "float32"
        if n_changed:
            logger.info("weights stay float32: rounded to float16, fold %d changes %d voxels", fold.index, n_changed)
            return "float32"
    return "float16"


def _count_changed(
    workspace: Workspace,
    manifest: DatasetManifest,
    results: TaskResults,
    cards: dict[Configuration, CheckpointCard],
    *,
    case_id: str,
    device: str,
) -> int:
    """Count the voxels that change when a fold's weights are rounded, in the first mask of a case where any does."""
    case = read_case(workspace.raw, manifest.entry(case_id), with_label=False)
    path = find_clicks_file(workspace.clicks_folder(), case_id)
    clicks = read_clicks(path, geometry=case.geometry, labels=manifest.labels) if path else ()
    needs_clicks = results.plans.plan(results.plans.default).crop.region == "clicks"
    asked = ([] if needs_clicks else [()]) + ([clicks] if clicks else [])
    kept, rounded = (
        _make_masks(_open_fold(workspace, results, cards, device=device, precision=precision), case, asked)
        for precision in get_args(WeightPrecision)
    )
    # a mask is made when it is asked for
    counts = (int(np.count_nonzero(a != b)) for a, b in zip(kept, rounded, strict=True))
    return next((n for n in counts if n), 0)


def _open_fold(
    workspace: Workspace,
    results: TaskResults,
    cards: dict[Configuration, CheckpointCard],
    *,
    device: str,
    precision: WeightPrecision,
) -> Models:
    """Open one fold, with weights that have gone through a precision."""
    folds = {}
    for name, card in cards.items():
        plan = results.plans.plan(name)
        network = open_network(
            plan,
            _round(load_fold_weights(workspace, name, card=card), precision),
            name=f"fold_{card.fold}",
            licence=card.licence,
            device=choose_device(device),
            tta=False,
        )
        folds[name] = FoldEnsemble(plan, (network,))
    return Models(results.plans, folds, None, results.rule, ())


def _make_masks(models: Models, case: Case, asked: Sequence[Sequence[Click]]) -> Iterator[npt.NDArray[np.uint8]]:
    for clicks in asked:
        prediction = EnsembleSegmenter(models).segment(case, clicks)
        fusion, cleaning = models.choice(clicks)
        yield make_mask(prediction, clicks, fusion=fusion, postprocessing=cleaning)[0]


def _round(weights: dict[str, Tensor], precision: WeightPrecision) -> dict[str, Tensor]:
    import torch

    between = torch.float16 if precision == "float16" else torch.float32
    return {
        name: tensor.to(between).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
