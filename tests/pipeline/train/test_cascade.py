"""Two steps: a coarse mask out of fold, refined on the full grid, and the choice among one step and two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from interactivepet.core.cascade import CoarseMasks
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.plan import Configuration
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.errors import MissingArtefactError, PlanError
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_test_request
from interactivepet.pipeline.prepare.planning import run_plan_and_process
from interactivepet.pipeline.train.training import run_training
from interactivepet.planning.plan import PlanOptions
from interactivepet.planning.request import PlanRequest
from tests.tiny import TASK, make_options, open_tiny

STEPS: tuple[Configuration, ...] = ("3d_fullres", "3d_lowres", "3d_cascade")


def train(root: Path, configuration: Configuration) -> None:
    options = make_options(root)
    run_training(
        open_tiny(root),
        (),
        configuration=configuration,
        options=options.training,
        tta=False,
        tracker=options.tracker,
        n_proc=1,
        n_cores=1,
    )


def plan_two_steps(root: Path) -> None:
    planning = replace(
        make_options(root).planning, request=PlanRequest("cpu", options=PlanOptions(configurations=STEPS))
    )
    run_plan_and_process(open_tiny(root), options=planning, show_issues=lambda issues: None)


def test_a_configuration_that_was_not_planned_is_refused(copied: Path) -> None:
    with pytest.raises(PlanError, match="3d_cascade is not planned; there are 3d_fullres"):
        train(copied, "3d_cascade")


@pytest.mark.slow
def test_two_steps_from_the_plan_to_the_mask(copied: Path) -> None:
    workspace = open_tiny(copied)
    plan_two_steps(copied)
    with pytest.raises(MissingArtefactError, match=r"-c 3d_lowres -f 0"):
        train(copied, "3d_cascade")

    for name in STEPS:
        train(copied, name)

    masks = read_artefact(workspace.coarse_card, CoarseMasks, command="")
    assert list(masks.cases) == [f"TINY_{i:03d}" for i in range(6)]
    for case in masks.cases:
        fine = read_array(workspace.cases("3d_cascade") / f"{case}.b2nd", command="")
        coarse = read_array(workspace.coarse_masks("extreme") / f"{case}.b2nd", command="")
        assert coarse.shape == (1, *fine.shape[1:])
        assert coarse.dtype == np.uint8
        box = masks.cases[case].box()
        outside = np.ones(fine.shape[1:], bool)
        outside[box.slices] = False
        assert not coarse[0][outside].any()
        assert set(np.unique(coarse)) <= {0, 1}

    options = make_options(copied)
    rule = run_postprocessing(workspace, options=options.prediction, tracker=options.tracker)
    assert rule.configurations == STEPS
    tried = [c.fusion.configurations for c in rule.choices["none"].candidates if c.stage == "configuration"]
    assert tried[:3] == [("3d_fullres",), ("3d_lowres",), ("3d_cascade",)]
    assert len(tried) == 6

    card = read_artefact(workspace.card("3d_lowres", 0), CheckpointCard, command="")
    write_artefact(workspace.card("3d_lowres", 0), card.model_copy(update={"tta": True}))
    without = run_postprocessing(workspace, options=options.prediction, tracker=options.tracker)
    assert without.configurations == ("3d_fullres", "3d_lowres")
    write_artefact(workspace.card("3d_lowres", 0), card)
    run_postprocessing(workspace, options=options.prediction, tracker=options.tracker)

    _force(workspace.ensemble, ("3d_cascade",))
    log = run_prediction(workspace, make_test_request(workspace), options=PredictionOptions(device="cpu", tta=False))
    assert "3d_lowres" in log.models
    assert "3d_cascade" in log.models
    mask = nib.load(workspace.predictions / "TINY_006.nii.gz")
    assert mask.shape == nib.load(workspace.raw / "imagesTs/TINY_006_0000.nii.gz").shape
    assert TASK in str(workspace.raw)


def _force(path: Path, configurations: tuple[Configuration, ...]) -> None:
    """Choose the configurations whatever they scored, as the prediction is what is tested."""
    rule = read_artefact(path, EnsembleRule, command="")
    choices = {
        mode: choice.model_copy(update={"fusion": choice.fusion.model_copy(update={"configurations": configurations})})
        for mode, choice in rule.choices.items()
    }
    write_artefact(path, rule.model_copy(update={"choices": choices}))
