"""Predict a whole-body PET series with and without its air: time, memory and masks.

interactivepet_n_threads=1 python tests/benchmarks/whole_body_predict.py TASK DICOM_FOLDER --folds 0

The task needs a trained fold; raw, processed and results folders are those of the environment. Each prediction is a
process of its own, whose CPU time is taken of everything from the first import to the written mask; both are run in
turn. What is compared is the mask in the body, which is what has at least 0.1 SUV.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from interactivepet.dataset.dicom.images import read_dicom_case
from interactivepet.dataset.files.read import read_mask

TISSUE_SUV = 0.1


def predict(arguments: argparse.Namespace, out: Path, *, skip_air: bool) -> None:
    """Predict the series in a process of its own."""
    from interactivepet.cli import predict as command
    from interactivepet.inference import network

    if not skip_air:
        network.FEWEST_TILES = sys.maxsize
    options = ["--folds", *map(str, arguments.folds), "--device", arguments.device]
    sys.exit(command.main(["-t", arguments.task, "-i", str(arguments.dicom), "-o", str(out), *options]))


def measure(arguments: argparse.Namespace, out: Path, *, skip_air: bool) -> tuple[float, float]:
    """Give CPU seconds, and the largest resident memory of any prediction so far in GB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=predict, args=(arguments, out), kwargs={"skip_air": skip_air})
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"the prediction failed with status {process.exitcode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, after.ru_maxrss / 1e6


def compare(full: Path, found: Path, arguments: argparse.Namespace) -> str:
    """Describe how the masks agree in the body."""
    body = read_dicom_case(arguments.dicom).image[0] >= TISSUE_SUV
    name = next(full.glob("*.nii.gz")).name
    a, b = (read_mask(folder / name)[0][body] > 0 for folder in (full, found))
    dice = 2 * (a & b).sum() / max(1, a.sum() + b.sum())
    return f"{(a != b).sum()} of {body.sum()} voxels of the body differ, {a.sum()} are foreground, Dice {dice:.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("dicom", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        ratios = []
        for repeat in range(arguments.repeats):
            folders = [Path(root) / f"{kind}_{repeat}" for kind in ("air_skipped", "everything")]
            (skipped, low), (full, high) = (
                measure(arguments, folder, skip_air=folder is folders[0]) for folder in folders
            )
            ratios.append(skipped / full)
            print(f"CPU {skipped:.1f} s with air skipped, {full:.1f} s without, ratio {ratios[-1]:.3f}")
            print(f"memory {low:.2f} GB with air skipped, at most {high:.2f} GB of both")
        print(f"median ratio {np.median(ratios):.3f}; {compare(folders[1], folders[0], arguments)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
