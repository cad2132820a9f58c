"""Dice against minutes of training on a CPU, nnU-Net's and ours side by side; print a table.

python tests/benchmarks/dice_per_minute.py FOLDER_OF_TASK --minutes 5 10 20 30

Both train fold 0 of the same split with the same layers, patch, batch and spacing in one thread each, at the same
time on a core each, with their own loaders, augmentation and loss; the learning rate falls to 0 over the last minute
asked for. At each mark the weights are kept, and after training they predict the validation cases as a whole, without
mirroring. Ours is asked without clicks, which is all that nnU-Net can be asked, and with the stored margin points.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from interactivepet.core.plan import Plan
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.evaluation.metrics import mean_case_dice
from interactivepet.inference.network import FoldNetwork, return_to_scanner
from interactivepet.networks.build import build_network
from interactivepet.pipeline.prepare.cases import read_preprocessed, read_records
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.train.folds import load_fold, read_reference
from interactivepet.training.augment import make_augmentation
from interactivepet.training.engine import make_engine
from interactivepet.training.loader import EpochBatches, open_loader
from interactivepet.training.loop import train_epoch
from interactivepet.training.tasks import FoldTask
from tests.benchmarks.iterations_nnunet import (
    NNUNET_NAME,
    nnunet_environment,
    open_workspace,
    prepare_nnunet,
    prepare_ours,
)
from tests.benchmarks.preprocess_nnunet import link_task

CPU = torch.device("cpu")
EXPONENT = 0.9
ENDLESS = 10**6

States = dict[float, tuple[int, dict[str, Any]]]
"""Minutes -> iterations so far and the weights."""


def train_until(
    marks: Sequence[float],
    step: Callable[[], object],
    *,
    set_rate: Callable[[float], None],
    network: torch.nn.Module,
) -> States:
    """Train, the share of the learning rate falling with the time, and keep the weights at each mark."""
    states: States = {}
    start, n = time.monotonic(), 0
    while len(states) < len(marks):
        minutes = (time.monotonic() - start) / 60
        set_rate(max(0.0, 1 - minutes / marks[-1]) ** EXPONENT)
        step()
        n += 1
        minutes = (time.monotonic() - start) / 60
        for mark in marks:
            if minutes >= mark and mark not in states:
                states[mark] = (n, copy.deepcopy(network.state_dict()))
                print(f"{mark} min: {n} iterations", file=sys.stderr, flush=True)
    return states


def measure_ours(root: Path, task: str, marks: Sequence[float]) -> dict[str, list[float]]:
    workspace = open_workspace(root, task)
    plans, split = read_decisions(workspace)
    plan, fold = plans.plan(plans.default), split.folds[0]
    records = read_records(workspace, plan, cases=(*fold.training, *fold.validation))
    data = load_fold(workspace, plan, fold=fold, records=records)
    torch.manual_seed(0)
    engine = make_engine(build_network(plan.network, deep_supervision=True), plan, device=CPU)
    batches = EpochBatches(
        data,
        FoldTask(plan),
        seed=0,
        n_training=ENDLESS,
        n_validation=1,
        augmentation=make_augmentation(plan.patch_size, mirror_axes=plan.training.mirror_axes),
    )
    with closing(open_loader(batches, range(ENDLESS), n_workers=0)) as loader:
        transform = FoldTask(plan).make_batch_transform(engine, seed=(0, 0, 0))
        losses = train_epoch(engine, loader, n_iterations=ENDLESS, transform=transform)
        states = train_until(
            marks,
            lambda: next(losses),
            set_rate=lambda share: engine.set_rate(plan.training.learning_rate * share),
            network=engine.network,
        )
    manifest, result = read_manifest(workspace.raw), {}
    network = build_network(plan.network, deep_supervision=False).eval()
    trained = FoldNetwork("fold_0", "", plan, network, CPU, tta=False)
    for mark, (n, state) in states.items():
        network.load_state_dict(state)
        dice: dict[str, list[float]] = {"none": [], "extreme": []}
        for case in data.validation:
            ready = read_preprocessed(workspace, plan, record=case.record)
            reference = read_reference(workspace, manifest, record=case.record)
            for mode, clicks in (("none", ()), ("extreme", case.record.clicks)):
                found = return_to_scanner(trained.predict(ready, clicks), ready.trace)
                mask = to_segmentation(found, threshold=0.5).mask
                dice[mode].append(mean_case_dice(mask, reference, labels=plan.label_values))
        result[str(mark)] = [n, *(float(np.mean(values)) for values in dice.values())]
    return result


def measure_nnunet(root: Path, task: str, marks: Sequence[float]) -> dict[str, list[float]]:
    os.environ.update({**nnunet_environment(root), "nnUNet_n_proc_DA": "0"})
    folder = root / "nnUNet_preprocessed" / NNUNET_NAME
    workspace = open_workspace(root, task)
    split = read_decisions(workspace)[1].folds
    folds = [{"train": list(fold.training), "val": list(fold.validation)} for fold in split]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    plans, dataset = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    torch.manual_seed(0)
    make_trainer = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
    trainer = make_trainer(plans, "3d_fullres", 0, dataset, device=CPU)
    trainer.on_train_start()
    trainer.on_train_epoch_start()

    def set_rate(share: float) -> None:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * share

    states = train_until(
        marks,
        lambda: trainer.train_step(next(trainer.dataloader_train)),
        set_rate=set_rate,
        network=trainer.network,
    )
    for feed in (trainer.dataloader_train, trainer.dataloader_val):
        getattr(feed, "_finish", lambda: None)()
    return {
        str(mark): [n, predict_nnunet(trainer, state, root, cases=split[0].validation)]
        for mark, (n, state) in states.items()
    }


def predict_nnunet(trainer: Any, state: dict[str, Any], root: Path, *, cases: Sequence[str]) -> float:
    """Predict whole cases with nnU-Net's own predictor; give the mean Dice."""
    make_predictor = import_module("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
    reader = import_module("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    trainer.network.eval()
    trainer.set_deep_supervision_enabled(False)
    predictor = make_predictor(use_mirroring=False, perform_everything_on_device=False, device=CPU, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, [state], trainer.dataset_json, "", None
    )
    raw, dice = root / "nnUNet_raw" / NNUNET_NAME, []
    for name in cases:
        (image,) = (raw / "imagesTr").glob(f"{name}_0000.*")
        (label,) = (raw / "labelsTr").glob(f"{name}.*")
        values, properties = reader.read_images([str(image)])
        found = predictor.predict_single_npy_array(values, properties)
        reference = reader.read_seg(str(label))[0][0]
        labels = [int(v) for v in np.unique(reference) if v > 0]
        dice.append(mean_case_dice(found.astype(np.uint8), reference.astype(np.uint8), labels=labels))
    return float(np.mean(dice))


def run(system: str, arguments: argparse.Namespace, *, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(arguments.task), "--root", str(root), "--system", system]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command += ["--minutes", *map(str, arguments.minutes)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait(process: subprocess.Popen[str]) -> dict[str, list[float]]:
    lines = [line for line in process.communicate()[0].splitlines() if line.startswith("RESULT ")]
    if process.returncode or not lines:
        raise SystemExit(f"{process.args} failed with {process.returncode}")
    result: dict[str, list[float]] = json.loads(lines[0].removeprefix("RESULT "))
    return result


def print_table(plan: Plan, ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> None:
    print(f"\n{plan.task}, fold 0: patch {plan.patch_size}, batch {plan.training.batch_size}, one thread each\n")
    print("| minutes | iterations, nnU-Net | Dice | iterations, ours | Dice, no clicks | Dice, margin points |")
    print("|---|---|---|---|---|---|")
    for mark, (n, none, extreme) in ours.items():
        their_n, their_dice = theirs[mark]
        print(f"| {float(mark):g} | {their_n:.0f} | {their_dice:.3f} | {n:.0f} | {none:.3f} | {extreme:.3f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0, 20.0, 30.0])
    parser.add_argument("-m", "--channels", nargs="+", default=["PET"])
    parser.add_argument("-l", "--labels", nargs="+", default=["tumour"])
    parser.add_argument("--root", type=Path, help="prepared before and kept; default: a temporary folder")
    parser.add_argument("--system", choices=("nnunet", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.system:
        torch.set_num_threads(1)
        measure = measure_nnunet if arguments.system == "nnunet" else measure_ours
        print("RESULT " + json.dumps(measure(arguments.root, arguments.task.name, arguments.minutes)))
        return 0
    with tempfile.TemporaryDirectory(prefix="dice-per-minute-") as temporary:
        root = arguments.root or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        if not (root / "prepared").exists():
            task = link_task(arguments.task, root / "raw", channels=arguments.channels, labels=arguments.labels)
            prepare_nnunet(root, task, prepare_ours(root, task.name, n_cores=2))
            (root / "prepared").touch()
        processes = [run(system, arguments, root=root) for system in ("nnunet", "ours")]
        theirs, ours = (wait(process) for process in processes)
        plans = read_decisions(open_workspace(root, arguments.task.name))[0]
        print_table(plans.plan(plans.default), ours, theirs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
