"""The first step's masks on the second step's grid: out of fold, so that no mask comes from its own training case."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from interactivepet.core.cascade import CoarseMasks
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.plan import FoldList, Plans
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.arrays import write_array
from interactivepet.dataset.write import read_artefact, write_artefact
from interactivepet.ensemble.folds import to_coarse_mask
from interactivepet.errors import ArtefactError
from interactivepet.pipeline.cases import read_records
from interactivepet.pipeline.folds import CLICK_MODES, hash_cards, read_cards, read_out_of_fold
from interactivepet.pipeline.workspace import Workspace

__all__ = ["run_coarse_masks"]

logger = logging.getLogger(__name__)


def run_coarse_masks(workspace: Workspace, plans: Plans, *, split: FoldList) -> CoarseMasks:
    """Bring the low-resolution step's out-of-fold masks onto the full grid, unless they are there already.

    Raises:
        MissingArtefactError: a fold of `3d_lowres` is not trained; the message names the command.
    """
    coarse = plans.plan("3d_lowres")
    cards = read_cards(workspace, coarse, split=split)
    folds = {name: fold.index for fold in split.folds for name in fold.validation}
    fine_records = read_records(workspace, plans.plan("3d_cascade"), cases=sorted(folds))
    made_from = _hash_inputs(cards, fine_records)
    try:
        return read_artefact(workspace.coarse_card, CoarseMasks, command="interactivepet_train", made_from=made_from)
    except ArtefactError:
        logger.info("bringing the masks of 3d_lowres onto the full grid")
    workspace.coarse_card.unlink(missing_ok=True)
    records = read_records(workspace, coarse, cases=sorted(folds))
    for name in tqdm(sorted(folds), desc="coarse masks", unit="case", dynamic_ncols=True):
        for mode in CLICK_MODES:
            found = read_out_of_fold(workspace, coarse, record=records[name], fold=folds[name], mode=mode)
            mask = to_coarse_mask(found, fine_records[name].trace)
            # an axis of channels, as every stored array has it
            write_array(workspace.coarse_masks(mode) / f"{name}.b2nd", mask[None].astype(np.float32))
    result = CoarseMasks(made_from=made_from, task=workspace.task, cases=tuple(sorted(folds)))
    write_artefact(workspace.coarse_card, result)
    return result


def _hash_inputs(cards: list[CheckpointCard], records: Mapping[str, CaseRecord]) -> str:
    parts = [hash_cards(cards), *(f"{name}:{records[name].content_hash()}" for name in sorted(records))]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
