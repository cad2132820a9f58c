"""The starter model: one lesion network for PET or SPECT that is taught on digital patients alone."""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.dataset.phantom.patient import refuse_issues
from interactivepet.dataset.phantom.randomised import make_random_patient
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.predict.model_export import ModelExportOptions, run_model_export
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.plan import PlanOptions
from interactivepet.planning.request import PlanRequest
from interactivepet.training.inputs import TrainingOptions

__all__ = ["NAME", "TASK", "StarterSize", "run_train_starter"]

logger = logging.getLogger(__name__)

NAME = "starter"
TASK = "Task990_Starter"

LICENCE = "MIT: trained by interactivepet on digital patients"

FOLD = 0
"""The one that is trained; its validation cases tell how well it does on digital patients that it never saw."""

N_FOLDS = 20
"""So that one patient in twenty is held out."""

OVERRIDES = (
    # cubes: scans of any spacing and orientation come to it
    "spacing_mm=4,4,4",
    "patch_size=48,48,48",
    "training.batch_size=2",
    "guidance.encoding=ellipsoid",
    "guidance.scale_mm=6",
    "training.foreground_share=0.75",
    "training.clicks.none=0.2",
    "training.clicks.extreme=0.4",
    "training.clicks.more=0.4",
    "training.clicks.noise_mm=2",
    "training.clicks.corrected=0.35",
    "training.ema=0.999",
)
"""Where the starter's plan differs from the rules: they read a fingerprint, and this one is of everything at once."""


@dataclass(frozen=True, slots=True)
class StarterSize:
    """How much of everything.

    Attributes:
        n_patients: digital patients, those held out among them.
        epochs: of the training.
        iterations: an epoch.
    """

    n_patients: int = 900
    epochs: int = 80
    iterations: int = 100


def run_train_starter(folder: Path, size: StarterSize, *, seed: int, n_cores: int) -> Path:
    """Make digital patients, train one network on them, and write it as one file; the same call resumes.

    Args:
        folder: gets `raw`, `processed`, `results` and `starter.zip`.
        size: how much of everything.
        seed: random seed of the patients, the split and the training.
        n_cores: number of cores to use.

    Returns:
        Path of the file; one that is there already is kept.
    """
    workspace = Workspace.of(TASK, raw=folder / "raw", processed=folder / "processed", results=folder / "results")
    path = folder / f"{NAME}.zip"
    with open_executor(n_cores) as executor:
        _write_task(workspace, executor, n_patients=size.n_patients, seed=seed)
    request = PlanRequest(
        budget="cpu",
        options=PlanOptions(configurations=("3d_fullres",), normalise="zscore"),
        overrides=OVERRIDES,
    )
    planning = PlanningOptions(n_folds=N_FOLDS, seed=seed, request=request, n_proc=n_cores)
    run_plan_and_process(workspace, options=planning, show_issues=refuse_issues)
    cards = run_training(
        workspace,
        (FOLD,),
        options=TrainingOptions(epochs=size.epochs, iterations=size.iterations, device="cpu", seed=seed),
        tta=False,
        tracker=TrackerConfig.of(TASK, results=folder / "results", uri=None),
        n_proc=1,
        n_cores=1,
    )
    if not path.exists():
        (card,) = cards
        options = ModelExportOptions(licence=LICENCE, origin=_describe(card, size, seed=seed), precision="float16")
        run_model_export(workspace, path, folds=(FOLD,), options=options)
    return path


def _describe(card: CheckpointCard, size: StarterSize, *, seed: int) -> str:
    """Say how the model was made; what it does on real scans is measured elsewhere."""
    minutes = sum(epoch.seconds for epoch in card.epochs) / 60
    return (
        f"`interactivepet_train_starter --n-patients {size.n_patients} -e {size.epochs} --iterations "
        f"{size.iterations} --seed {seed}` made it from digital patients alone: no real patient, no scanner and no "
        "reader had a part in it. Shapes, uptake, blur, noise, voxel spacing, tracers and normal uptake are drawn from "
        f"wider ranges than real ones. Training took {minutes:.0f} minutes on {card.device}. The scores below are of "
        "digital patients that it never saw."
    )


def _write_task(workspace: Workspace, executor: Executor, *, n_patients: int, seed: int) -> None:
    """Write the patients that are not there yet; each has random numbers of its own."""
    if (workspace.raw / "dataset.json").is_file():
        return
    for part in ("imagesTr", "labelsTr"):
        (workspace.raw / part).mkdir(parents=True, exist_ok=True)
    numbers = range(n_patients)
    map_cases(
        executor,
        partial(_write_patient, workspace.raw, seed),
        items=numbers,
        names=[f"patient {number}" for number in numbers],
        description="digital patients",
    )
    write_manifest(workspace.raw, build_manifest(workspace.raw, channels=["PET"], labels=["lesion"]))


def _write_patient(folder: Path, seed: int, number: int) -> None:
    label_path = folder / "labelsTr" / f"PATIENT_{number:04d}.nii.gz"
    if label_path.is_file():
        return
    image, label, geometry = make_random_patient(np.random.default_rng((seed, number)))
    write_image(folder / "imagesTr" / f"PATIENT_{number:04d}_0000.nii.gz", image, geometry=geometry)
    # the label last: a patient with a label is complete
    write_mask(label_path, label, geometry=geometry)
