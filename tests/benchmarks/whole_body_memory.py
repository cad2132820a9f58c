"""Preprocess a whole-body PET/CT of 400 x 400 x 326 voxels and bring a prediction back; print seconds and peak memory.

python tests/benchmarks/whole_body_memory.py

The volume is a digital patient in two channels, stretched over the whole grid of 2.04 x 2.04 x 3 mm. It is resampled
to 1.8 x 1.8 x 2.5 mm, finer in every axis. Each step runs in a
fresh process; memory is the largest resident set of that process, its interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.core.geometry import BoundingBox, Geometry, SpatialTrace
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    UNetPlan,
)
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.phantom.patient import make_patient
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.cases import read_records, run_preprocessing
from interactivepet.pipeline.prepare.steps import run_fingerprint
from interactivepet.pipeline.workspace import Workspace
from interactivepet.preprocessing.resample import LINEAR, resample, resample_label
from interactivepet.preprocessing.restore import restore

TASK, CASE = "Task999_WholeBody", "WHOLE_BODY"
SHAPE, SPACING_MM, TARGET_MM = (400, 400, 326), (2.04, 2.04, 3.0), (1.8, 1.8, 2.5)
LIMITS_GB = {"fingerprint": 3.0, "preprocess": 3.0, "restore": 2.0}


def open_workspace(root: Path) -> Workspace:
    return Workspace.of(TASK, raw=root / "raw", processed=root / "processed", results=root / "results")


def make_plan() -> Plan:
    return Plan(
        task=TASK,
        budget="cpu",
        channels=("PET", "CT"),
        labels={"lesion": 1},
        spacing_mm=TARGET_MM,
        median_shape=SHAPE,
        patch_size=(16, 16, 16),
        normalisation=(
            Normalisation(scheme="suv", clip=(0.0, 20.0), std=4.0),
            Normalisation(scheme="zscore", clip=(-900.0, 900.0)),
        ),
        network=UNetPlan(
            input_channels=5,
            output_channels=2,
            features_per_stage=(4,),
            kernel_sizes=((3, 3, 3),),
            strides=((1, 1, 1),),
            n_conv_per_stage=(2,),
            n_conv_per_stage_decoder=(),
        ),
        guidance=GuidancePlan(scale_mm=6.0),
        training=TrainingPlan(batch_size=2, epochs=1, iterations_per_epoch=1, clicks=ClickSampling(noise_mm=1.0)),
        memory=MemoryEstimate(float32_gb=0.1, mixed_gb=0.1),
    )


def write_raw(root: Path) -> None:
    """Stretch a digital patient over the whole grid, and give him or her a CT: air, and noisy tissue."""
    rng = np.random.default_rng(0)
    geometry = Geometry(SHAPE, np.diag([*SPACING_MM, 1.0]))
    folder = root / "raw" / TASK
    image, label, _ = make_patient(rng, n_lesions=(8, 8))
    uptake = resample(image, SHAPE, order=LINEAR)
    write_image(folder / "imagesTr" / f"{CASE}_0000.nii.gz", uptake, geometry=geometry)
    density = np.where(uptake > 0.1, rng.normal(40.0, 30.0, SHAPE), -1024.0).astype(np.float32)
    write_image(folder / "imagesTr" / f"{CASE}_0001.nii.gz", density, geometry=geometry)
    write_mask(folder / "labelsTr" / f"{CASE}.nii.gz", resample_label(label, SHAPE), geometry=geometry)


def write_manifest(root: Path) -> None:
    from interactivepet.pipeline.prepare.steps import run_generate_dataset_json

    run_generate_dataset_json(open_workspace(root), channels=["PET", "CT"], labels=["lesion"])


def run_restore(root: Path) -> None:
    """Restore probabilities of two classes; the crop is a plane smaller than the grid, so that nothing is passed on."""
    (record,) = read_records(open_workspace(root), make_plan(), cases=[CASE]).values()
    original = record.trace.original
    box = BoundingBox((1, 1, 1), original.shape)
    trace = SpatialTrace(original, box, original.cropped(box).resampled(record.resampled.shape))
    probabilities = np.empty((2, *record.resampled.shape), np.float32)
    probabilities[0] = 0.25
    probabilities[1] = 0.75
    restored = restore(probabilities, trace)
    print(json.dumps({"shape": restored.shape}), file=sys.stderr)


def run_step(step: str, root: Path) -> None:
    """Run one step in this process and print what it took."""
    start = time.perf_counter()
    if step == "raw":
        write_raw(root)
        write_manifest(root)
    elif step == "fingerprint":
        run_fingerprint(open_workspace(root), InlineExecutor())
    elif step == "preprocess":
        run_preprocessing(open_workspace(root), InlineExecutor(), plan=make_plan(), snapshots=False)
    else:
        run_restore(root)
    unit = 1024**2 if sys.platform != "darwin" else 1024**3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_gib": peak}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", choices=("raw", *LIMITS_GB), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step is not None:
        run_step(arguments.step, arguments.root)
        return 0
    is_within = True
    with tempfile.TemporaryDirectory(prefix="whole-body-") as folder:
        print("| step | seconds | peak memory, GB | limit, GB |\n|---|---|---|---|")
        for step in ("raw", *LIMITS_GB):
            command = [sys.executable, __file__, "--step", step, "--root", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            if step == "raw":
                continue
            gigabytes = found["peak_gib"] * 2**30 / 1e9
            is_within &= gigabytes <= LIMITS_GB[step]
            print(f"| {step} | {found['seconds']:.1f} | {gigabytes:.2f} | {LIMITS_GB[step]} |", flush=True)
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
