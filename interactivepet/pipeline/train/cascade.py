"""The first step's masks on the second step's grid: out of fold, so that no mask comes from its own training case."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tqdm import tqdm

from interactivepet.core.artefact import hash_text
from interactivepet.core.cascade import CoarseMasks, GuidedBox
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.plan import FoldList, Plan, Plans
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.arrays import write_array
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.ensemble.folds import to_coarse_mask
from interactivepet.errors import ArtefactError
from interactivepet.guidance.region import find_guided_box
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.train.folds import CLICK_MODES, hash_cards, read_cards, read_out_of_fold
from interactivepet.pipeline.workspace import Workspace

__all__ = ["read_coarse_masks", "run_coarse_masks"]

logger = logging.getLogger(__name__)


def run_coarse_masks(workspace: Workspace, plans: Plans, *, split: FoldList) -> CoarseMasks:
    """Bring the low-resolution step's out-of-fold masks onto the full grid, unless they are there already.

    Raises:
        MissingArtefactError: a fold of `3d_lowres` is not trained; the message names the command.
        TrainingError: another process has been at it for too long.
    """
    inputs = _Inputs.read(workspace, plans, split)
    # several folds may be started at once, and all of them need the masks
    with lock_folder(workspace.coarse_card.parent, timeout_s=PATIENCE_S):
        try:
            return _read(workspace, inputs)
        except ArtefactError:
            logger.info("bringing the masks of 3d_lowres onto the full grid")
        workspace.coarse_card.unlink(missing_ok=True)
        names = tqdm(sorted(inputs.folds), desc="coarse masks", unit="case", dynamic_ncols=True)
        records = read_records(workspace, inputs.plan, cases=sorted(inputs.folds))
        boxes = {name: _write_case(workspace, inputs, records[name]) for name in names}
        result = CoarseMasks(made_from=inputs.stamp(), task=workspace.task, cases=boxes)
        write_artefact(workspace.coarse_card, result)
        return result


def read_coarse_masks(workspace: Workspace, plans: Plans, *, split: FoldList) -> CoarseMasks:
    """Read what `run_coarse_masks` wrote.

    Raises:
        MissingArtefactError: the second step was never trained.
        StaleArtefactError: the first step was trained anew since.
    """
    return _read(workspace, _Inputs.read(workspace, plans, split))


def _read(workspace: Workspace, inputs: _Inputs) -> CoarseMasks:
    command = f"interactivepet_train -t {workspace.task} -c 3d_cascade"
    return read_artefact(workspace.coarse_card, CoarseMasks, command=command, made_from=inputs.stamp())


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """What the masks are made from.

    Attributes:
        plan: of the first step.
        cards: of its folds.
        folds: case -> the fold that never saw it.
        fine: records of the cases on the full grid.
    """

    plan: Plan
    cards: list[CheckpointCard]
    folds: dict[str, int]
    fine: Mapping[str, CaseRecord]

    @classmethod
    def read(cls, workspace: Workspace, plans: Plans, split: FoldList) -> Self:
        plan = plans.plan("3d_lowres")
        folds = split.validation_folds
        fine = read_records(workspace, plans.plan("3d_cascade"), cases=sorted(folds))
        return cls(plan, read_cards(workspace, plan, split=split), folds, fine)

    def stamp(self) -> str:
        """Hash everything."""
        fine = (f"{name}:{self.fine[name].content_hash()}" for name in sorted(self.fine))
        return hash_text(hash_cards(self.cards), *fine)


def _write_case(workspace: Workspace, inputs: _Inputs, coarse: CaseRecord) -> GuidedBox:
    """Write one case's masks, one a click mode, and give the box that holds them and the clicks."""
    name = coarse.id
    record, grid = inputs.fine[name], inputs.fine[name].resampled.geometry()
    boxes = []
    for mode in CLICK_MODES:
        found = read_out_of_fold(workspace, inputs.plan, record=coarse, fold=inputs.folds[name], mode=mode)
        mask = to_coarse_mask(found, record.trace)
        boxes.append(find_guided_box(mask, record.clicks, grid))
        # an axis of channels, as every stored array has it
        write_array(workspace.coarse_masks(mode) / f"{name}.b2nd", mask[None])
    known = [box for box in boxes if box is not None]
    whole = BoundingBox((0, 0, 0), grid.shape)
    box = functools.reduce(BoundingBox.union, known) if known else whole
    return GuidedBox(start=box.start, stop=box.stop)
