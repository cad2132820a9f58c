"""The whole walk on digital patients: no data needed, a few minutes on two cores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.report import Report
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.dataset.phantom.patient import make_patient, refuse_issues, write_task
from interactivepet.nninteractive.demo_model import train_demo_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.prepare.planning import PlanningOptions
from interactivepet.pipeline.stages import RunOptions, run_all
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.training.inputs import TrainingOptions

__all__ = ["TASK", "DemoSize", "run_demo"]

logger = logging.getLogger(__name__)

TASK = "Task900_Phantom"

LEARNING_RATE = "training.learning_rate=0.003"
"""Three times the plan's: folds are trained for 240 iterations in place of 2,000."""

MODEL_LICENCE = "MIT: trained by the demonstration on digital patients"


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much of everything.

    Attributes:
        n_training: digital patients to train on.
        n_test: digital patients to test on.
        epochs: of each fold.
        iterations: an epoch.
        n_model: further digital patients, for the small nnInteractive model.
        model_iterations: of that model.
    """

    n_training: int = 15
    n_test: int = 10
    epochs: int = 6
    iterations: int = 40
    n_model: int = 40
    model_iterations: int = 800


def run_demo(folder: Path, size: DemoSize, *, seed: int, n_cores: int) -> tuple[Workspace, dict[str, Report]]:
    """Make digital patients and a small nnInteractive model, then run the walk; the same call resumes.

    Args:
        folder: gets `raw`, `processed`, `results` and `nninteractive_model`.
        size: how much of everything.
        seed: random seed of the digital patients, the folds and the training.
        n_cores: number of cores to use.
    """
    workspace = Workspace.of(TASK, raw=folder / "raw", processed=folder / "processed", results=folder / "results")
    if not (workspace.raw / "dataset.json").is_file():
        write_task(workspace.raw, n_training=size.n_training, n_test=size.n_test, seed=seed)
        write_manifest(workspace.raw, build_manifest(workspace.raw, channels=["PET"], labels=["lesion"]))
    model = folder / "nninteractive_model"
    if not model.is_dir():
        _make_model(model, size, seed=seed)
    options = RunOptions(
        planning=PlanningOptions(
            seed=seed, request=PlanRequest(budget="cpu", overrides=(LEARNING_RATE,)), snapshots=False, n_proc=n_cores
        ),
        training=TrainingOptions(epochs=size.epochs, iterations=size.iterations, device="cpu", seed=seed),
        prediction=PredictionOptions(
            tta=False, device="cpu", n_threads=n_cores, promptable=PromptableSource(str(model.absolute()))
        ),
        tracker=TrackerConfig.of(TASK, results=folder / "results", uri=None),
        n_cores=n_cores,
    )
    return workspace, run_all(workspace, options=options, show_issues=refuse_issues)


def _make_model(folder: Path, size: DemoSize, *, seed: int) -> None:
    """Train on patients of its own, so that the choice from cross-validation judges it on cases it never saw."""
    logger.info("training a small nnInteractive model (%d iterations)", size.model_iterations)
    rng = np.random.default_rng(seed + 1)
    patients = [make_patient(rng) for _ in range(size.n_model)]
    train_demo_model(
        [Case(f"MODEL_{i:03d}", image, grid, label) for i, (image, label, grid) in enumerate(patients)],
        folder,
        iterations=size.model_iterations,
        rng=rng,
        licence=MODEL_LICENCE,
    )
