"""Fingerprint, plan and preprocess a task with nnU-Net and with interactivepet; print time, memory and agreement.

python tests/benchmarks/preprocess_nnunet.py FOLDER_OF_TASK -m PET -l tumour -np 2

Linux only: memory is the proportional set size (PSS) of a command and all its descendants, summed 20 times a
second, so that pages shared between processes count once. Neither side checks the dataset first
(`--no-verify`; nnU-Net's check is off by default); clicks are made beforehand, which nnU-Net has no equal of.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.plan import Plan, Plans
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.manifest import build_manifest, read_manifest, write_manifest
from interactivepet.preprocessing.crop import crop
from interactivepet.preprocessing.resample import CUBIC, resample

INTERVAL_S = 0.05
TOLERANCE = 0.005
"""Largest difference of resampled images that counts as none, as a share of the image's range."""
DATASET_ID = 999


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, seconds of all its cores, GB at its peak, processes at most."""

    seconds: float
    cpu_seconds: float
    peak_gb: float
    n_processes: int


def run_measured(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> Cost:
    """Run a command in a fresh process and watch its tree."""
    start, peak, most = time.monotonic(), 0, 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as stream, subprocess.Popen(command, env=env, stdout=stream, stderr=stream) as process:
        while process.poll() is None:
            sizes = list(read_pss(process.pid))
            peak, most = max(peak, sum(sizes)), max(most, len(sizes))
            time.sleep(INTERVAL_S)
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-4000:]}")
    return Cost(seconds, cpu_seconds, peak / 1e9, most)


def read_pss(process: int) -> Iterator[int]:
    """Give the bytes of a process and of each of its descendants."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        children = " ".join(path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
    except OSError:
        # it ended in between
        return
    yield sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    for child in children.split():
        yield from read_pss(int(child))


def link_task(task: Path, raw: Path, *, channels: Sequence[str], labels: Sequence[str]) -> Path:
    """Link the task's files into a folder of its own; write `dataset.json` when the task has none."""
    folder = raw / task.name
    for source in sorted(path for path in task.rglob("*") if path.is_file() and "interactions" not in path.parent.name):
        target = folder / source.relative_to(task)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve())
    if not (folder / "dataset.json").exists():
        write_manifest(folder, build_manifest(folder, channels=channels, labels=labels))
    return folder


def write_nnunet_task(raw: Path, task: Path, manifest: DatasetManifest) -> Path:
    """Link the training cases under nnU-Net's names."""
    folder = raw / f"Dataset{DATASET_ID}_Benchmark"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for entry in manifest.training:
        for index, name in enumerate(entry.images):
            target = folder / "imagesTr" / f"{entry.id}_{index:04d}{manifest.file_ending}"
            target.symlink_to((task / name).resolve())
        target = folder / "labelsTr" / f"{entry.id}{manifest.file_ending}"
        target.symlink_to((task / str(entry.label)).resolve())
    content = {
        "channel_names": {str(index): name for index, name in enumerate(manifest.channels)},
        "labels": {"background": 0, **manifest.labels},
        "numTraining": len(manifest.training),
        "file_ending": manifest.file_ending,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def run_nnunet(root: Path, task: Path, *, manifest: DatasetManifest, n_proc: int) -> Cost:
    folders = {name: root / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for folder in folders.values():
        folder.mkdir()
    write_nnunet_task(folders["nnUNet_raw"], task, manifest)
    program = str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess"))
    command = [program, "-d", str(DATASET_ID), "-c", "3d_fullres", "-np", str(n_proc), "-npfp", str(n_proc)]
    env = {**os.environ, **{name: str(folder) for name, folder in folders.items()}}
    return run_measured(command, env=env, log=root / "nnunet.log")


def run_ours(root: Path, task: str, *, n_proc: int, arguments: Sequence[str]) -> Cost:
    folders = {f"interactivepet_{name}": str(root / name) for name in ("raw", "processed", "results")}
    env = {**os.environ, **folders}

    def command(name: str) -> list[str]:
        call = f"import sys; from interactivepet.cli.{name} import main; sys.exit(main())"
        return [sys.executable, "-c", call, "-t", task, "-np", str(n_proc)]

    subprocess.run(command("mimic_interactions"), env=env, check=True, stdout=subprocess.DEVNULL)
    return run_measured([*command("plan_and_process"), "--no-verify", *arguments], env=env, log=root / "ours.log")


@dataclass(frozen=True)
class Agreement:
    """How far two resampled images lie apart.

    Attributes:
        is_resampled: the image was on another grid before.
        of_range: largest difference, as a share of the image's range.
        of_value: 99.9th percentile of the difference of voxels above a tenth of the range, as a share of their height
            above the minimum.
    """

    is_resampled: bool
    of_range: float
    of_value: float


def compare(ours: np.ndarray, theirs: np.ndarray, *, is_resampled: bool) -> Agreement:
    low, high = float(ours.min()), float(ours.max())
    difference = np.abs(ours - theirs)
    bright = theirs - low > 0.1 * (high - low)
    relative = difference[bright] / (theirs[bright] - low)
    return Agreement(is_resampled, float(difference.max()) / (high - low), float(np.percentile(relative, 99.9)))


def undo_ours(stored: np.ndarray, case: Case, plan: Plan) -> np.ndarray:
    """Turn stored channels into the files' unit, as far as they were not clipped.

    What an image's own intensities decide is not stored: it comes from the same image resampled again.
    """
    image = np.empty_like(stored)
    for channel, rule in enumerate(plan.normalisation):
        mean, std = rule.mean, rule.std
        if rule.scheme in {"zscore", "minmax"}:
            again = resample(
                case.image[channel][None], (stored.shape[1], stored.shape[2], stored.shape[3]), order=CUBIC
            )
            clipped = again if rule.clip is None else np.clip(again, *rule.clip)
            mean, std = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
            if rule.scheme == "minmax":
                mean, std = float(clipped.min()), float(np.ptp(clipped))
        image[channel] = stored[channel] * std + mean
    return image


def undo_theirs(stored: np.ndarray, case: Case, *, transpose_backward: Sequence[int]) -> np.ndarray:
    """Turn nnU-Net's stored channels into the files' unit and the axes (i, j, k) (it normalises before resampling)."""
    spatial = [1 + axis for axis in transpose_backward]
    image = stored.transpose(0, *spatial).transpose(0, 3, 2, 1)
    mean = case.image.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
    std = case.image.std(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
    undone: np.ndarray = (image * std + mean).astype(np.float32)
    return undone


def compare_case(
    root: Path, task: Path, entry: CaseEntry, *, plan: Plan, theirs: dict[str, Any]
) -> tuple[Agreement, Agreement] | str:
    """Compare one case as it was stored and before clipping; a reason when both sides saw another part of it."""
    whole = read_case(task, entry, with_label=False)
    box = BoundingBox.of((whole.image != 0).any(axis=0))
    record = json.loads((root / "processed" / task.name / "3d_fullres" / f"{entry.id}.json").read_text())
    if box is None or (list(box.start), list(box.stop)) != (record["crop_start"], record["crop_stop"]):
        return "cropped differently"
    case = crop(whole, box)
    stored = read_array(root / "processed" / task.name / "3d_fullres" / f"{entry.id}.b2nd", command="")[:-1]
    folder = root / "nnUNet_preprocessed" / f"Dataset{DATASET_ID}_Benchmark" / "nnUNetPlans_3d_fullres"
    other = undo_theirs(
        read_array(folder / f"{entry.id}.b2nd", command=""), case, transpose_backward=theirs["transpose_backward"]
    )
    if other.shape != stored.shape:
        return f"shapes {stored.shape[1:]} and {other.shape[1:]}"
    shape = (stored.shape[1], stored.shape[2], stored.shape[3])
    is_resampled = shape != case.geometry.shape
    before_clipping = compare(resample(case.image, shape, order=CUBIC), other, is_resampled=is_resampled)
    for channel, rule in enumerate(plan.normalisation):
        if rule.clip is not None:
            other[channel] = np.clip(other[channel], *rule.clip)
    return compare(undo_ours(stored, case, plan), other, is_resampled=is_resampled), before_clipping


def describe_agreement(root: Path, task: Path, manifest: DatasetManifest) -> Iterator[str]:
    plans = Plans.model_validate_json((root / "processed" / task.name / "plans.json").read_bytes())
    plan = plans.plan("3d_fullres")
    folder = root / "nnUNet_preprocessed" / f"Dataset{DATASET_ID}_Benchmark"
    theirs = json.loads((folder / "nnUNetPlans.json").read_text())
    configuration = theirs["configurations"]["3d_fullres"]
    spacing = [configuration["spacing"][axis] for axis in theirs["transpose_backward"]][::-1]
    yield f"target spacing: {np.round(spacing, 4).tolist()} nnU-Net, {np.round(plan.spacing_mm, 4).tolist()} ours (mm)"
    if not np.allclose(spacing, plan.spacing_mm, rtol=1e-3):
        yield "the spacings differ: images are not compared"
        return
    if any(configuration["use_mask_for_norm"]):
        yield "nnU-Net normalised within a mask: images are not compared"
        return
    found = [compare_case(root, task, entry, plan=plan, theirs=theirs) for entry in manifest.training]
    pairs = [each for each in found if not isinstance(each, str)]
    others = sorted({each for each in found if isinstance(each, str)})
    n_resampled = sum(pair[0].is_resampled for pair in pairs)
    yield f"images compared: {len(pairs)} of {len(found)}, {n_resampled} of them resampled" + "".join(
        f"; {o}" for o in others
    )
    for name, results in zip(
        ("as stored, clipped as planned", "before clipping"), zip(*pairs, strict=True), strict=False
    ):
        within = sum(result.of_range <= TOLERANCE for result in results)
        yield (
            f"{name}: every voxel within {TOLERANCE:.1%} of the image's range in {within} of {len(results)} images; "
            f"largest difference {max(result.of_range for result in results):.1e} of the range, "
            f"99.9 % of the voxels above a tenth of the range within {max(r.of_value for r in results):.1e} of them"
        )


def print_costs(task: str, n_cases: int, costs: Mapping[str, Cost]) -> None:
    print(f"\n{task}, {n_cases} cases\n")
    print("| | wall time, s | CPU time, s | peak memory (PSS of the tree), GB | processes |")
    print("|---|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.seconds:.1f} | {cost.cpu_seconds:.1f} | {cost.peak_gb:.2f} | {cost.n_processes} |")
    ours, theirs = costs["interactivepet"], costs["nnU-Net"]
    ratios = (ours.seconds / theirs.seconds, ours.cpu_seconds / theirs.cpu_seconds, ours.peak_gb / theirs.peak_gb)
    print("| ratio | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " | |\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("-m", "--channels", nargs="+", default=["PET"], help="of a task without dataset.json")
    parser.add_argument("-l", "--labels", nargs="+", default=["tumour"], help="of a task without dataset.json")
    parser.add_argument("-np", "--n-proc", type=int, default=2)
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="more of ours, such as --budget 8gb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preprocess-nnunet-") as folder:
        root = Path(folder)
        task = link_task(arguments.task, root / "raw", channels=arguments.channels, labels=arguments.labels)
        manifest = read_manifest(task)
        costs = {
            "nnU-Net": run_nnunet(root, task, manifest=manifest, n_proc=arguments.n_proc),
            "interactivepet": run_ours(root, task.name, n_proc=arguments.n_proc, arguments=arguments.arguments),
        }
        print_costs(task.name, len(manifest.training), costs)
        for line in describe_agreement(root, task, manifest):
            print(f"- {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
