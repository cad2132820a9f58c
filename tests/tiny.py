"""A task small enough to run the whole walk on in a test: bright blobs in noise, two cases of one patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interactivepet.core.geometry import Geometry
from interactivepet.core.report import Report
from interactivepet.dataset.files.write import write_image, write_mask, write_text
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.prepare.planning import PlanningOptions
from interactivepet.pipeline.stages import RunOptions, run_all
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.training.inputs import TrainingOptions

TASK = "Task901_Tiny"
SHAPE = (24, 22, 20)


def make_volume(seed: int) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Make an image (1, I, J, K), its label and an oblique, flipped, anisotropic grid with an origin."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(8, 12, size=3)
    radius = rng.uniform(4.5, 6.0)
    index = np.indices(SHAPE).reshape(3, -1).T
    label = (np.linalg.norm(index - centre, axis=1) <= radius).reshape(SHAPE).astype(np.uint8)
    image = (0.5 + 4.0 * label + rng.normal(0, 0.2, SHAPE)).clip(0).astype(np.float32)
    angle = np.deg2rad(10.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-4.0, -4.0, 5.0])
    affine[:3, 3] = (30.0 + seed, -12.5, 880.0)
    return image[None], label, Geometry(SHAPE, affine)


def write_tiny_task(raw: Path, *, n_training: int = 6, n_test: int = 1) -> Path:
    """Write the raw task without dataset.json; give its folder."""
    folder = raw / TASK
    for number in range(n_training + n_test):
        part = "Tr" if number < n_training else "Ts"
        image, label, geometry = make_volume(number)
        write_image(folder / f"images{part}" / f"TINY_{number:03d}_0000.nii.gz", image, geometry=geometry)
        write_mask(folder / f"labels{part}" / f"TINY_{number:03d}.nii.gz", label, geometry=geometry)
    write_text(folder / "cases.csv", "case,patient\nTINY_000,A\nTINY_001,A\n")
    return folder


def open_tiny(root: Path) -> Workspace:
    return Workspace.of(TASK, raw=root / "raw", processed=root / "processed", results=root / "results")


def make_options(root: Path, **training: object) -> RunOptions:
    return RunOptions(
        planning=PlanningOptions(n_folds=3, request=PlanRequest(budget="cpu")),
        training=TrainingOptions(**{"epochs": 2, "iterations": 3, "device": "cpu", "n_threads": 1, **training}),
        prediction=PredictionOptions(tta=False, device="cpu"),
        tracker=TrackerConfig.of(TASK, results=root / "results", uri=None),
        n_cores=1,
    )


def walk(root: Path, options: RunOptions | None = None) -> dict[str, Report]:
    return run_all(open_tiny(root), options=options or make_options(root), show_issues=lambda issues: None)
