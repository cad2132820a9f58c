"""Compare the training iterations a second of nnU-Net and interactivepet on a CPU; print a table.

python tests/benchmarks/iterations_nnunet.py FOLDER_OF_TASK --seconds 60 --cores 2

Both train the same layers on patches of the same size in batches of the same size, cut from cases on the same grid,
with their own loaders and augmentation. Ours also encodes clicks and has channels for them (C + 3 L, nnU-Net C). Each
row is a process of its own on the same cores, one after the other; `--rounds` repeats them in turn, and the table
holds the medians. On a machine that others use as well, CPU seconds say more than iterations a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from interactivepet.core.plan import Plan, UNetPlan
from interactivepet.dataset.manifest import read_manifest
from interactivepet.networks.build import build_network
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.train.folds import load_fold
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.training.augment import make_augmentation
from interactivepet.training.engine import make_engine
from interactivepet.training.loader import EpochBatches, open_loader
from interactivepet.training.loop import train_epoch
from interactivepet.training.tasks import FoldTask
from interactivepet.training.timing import WaitMeter
from tests.benchmarks.preprocess_nnunet import DATASET_ID, link_task, write_nnunet_task

WARM_UP = 5
"""Iterations before the clock starts: workers, caches and kernels are chosen in them."""

NNUNET_NAME = f"Dataset{DATASET_ID}_Benchmark"
NNUNET_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")

ROWS = {
    "interactivepet, batches drawn between steps": ("ours", 0, False),
    "interactivepet, batches drawn between steps, compiled": ("ours", 0, True),
    "interactivepet, 1 worker process": ("ours", 1, False),
    "interactivepet, 1 worker process, compiled": ("ours", 1, True),
    "interactivepet, one constant batch": ("constant", 0, False),
    "nnU-Net, nnUNet_n_proc_DA=0": ("nnunet", 0, False),
    "nnU-Net, nnUNet_n_proc_DA=1": ("nnunet", 1, False),
    "nnU-Net, nnUNet_n_proc_DA=2": ("nnunet", 2, False),
}
"""Row of the table -> what runs, worker processes, whether it is compiled."""


def open_workspace(root: Path, task: str) -> Workspace:
    return Workspace.of(task, raw=root / "raw", processed=root / "processed", results=root / "results")


def prepare_ours(root: Path, task: str, *, n_cores: int) -> Plan:
    options = PlanningOptions(request=PlanRequest(budget="cpu"), verify=False, n_proc=n_cores)
    return run_plan_and_process(open_workspace(root, task), options=options, show_issues=print).plan("3d_fullres")


def nnunet_environment(root: Path) -> dict[str, str]:
    return {**os.environ, **{name: str(root / name) for name in NNUNET_FOLDERS}, "nnUNet_compile": "f"}


def prepare_nnunet(root: Path, task: Path, plan: Plan) -> None:
    """Let nnU-Net plan, give its plan our patch, batch, spacing and layers, and let it preprocess."""
    for name in NNUNET_FOLDERS:
        (root / name).mkdir()
    write_nnunet_task(root / "nnUNet_raw", task, read_manifest(task))
    command = [str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")), "-d", str(DATASET_ID)]
    environment = nnunet_environment(root)
    subprocess.run([*command, "--no_pp"], env=environment, check=True, stdout=subprocess.DEVNULL)
    path = root / "nnUNet_preprocessed" / NNUNET_NAME / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    adapt(plans, plan)
    path.write_text(json.dumps(plans))
    preprocess = [str(Path(sys.executable).with_name("nnUNetv2_preprocess")), "-d", str(DATASET_ID)]
    subprocess.run(
        [*preprocess, "-c", "3d_fullres", "-np", "2"], env=environment, check=True, stdout=subprocess.DEVNULL
    )


def adapt(plans: dict[str, Any], plan: Plan) -> None:
    """Write our decisions into nnU-Net's plan, whose axes are (k, j, i) and then transposed."""
    if not isinstance(plan.network, UNetPlan):
        raise SystemExit(f"{plan.network.architecture} is not a network of nnU-Net")

    def turn(values: Sequence[Any]) -> list[Any]:
        return [values[2 - axis] for axis in plans["transpose_forward"]]

    network, configuration = plan.network, plans["configurations"]["3d_fullres"]
    configuration.update(
        patch_size=turn(plan.patch_size), batch_size=plan.training.batch_size, spacing=turn(plan.spacing_mm)
    )
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=len(network.features_per_stage),
        features_per_stage=list(network.features_per_stage),
        kernel_sizes=[turn(size) for size in network.kernel_sizes],
        strides=[turn(stride) for stride in network.strides],
        n_conv_per_stage=list(network.n_conv_per_stage),
        n_conv_per_stage_decoder=list(network.n_conv_per_stage_decoder),
    )


def count_rate(step: Callable[[], object], *, seconds: float) -> tuple[float, float]:
    """Give the calls a second of `step` after the warm-up, and the CPU seconds of this process that each takes."""
    for _ in range(WARM_UP):
        step()
    n, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        step()
        n += 1
    return n / (time.perf_counter() - start), (time.process_time() - cpu) / n


def measure_ours(
    root: Path, task: str, *, seconds: float, n_workers: int, compile_network: bool, is_constant: bool
) -> dict[str, float]:
    workspace = open_workspace(root, task)
    plans, split = read_decisions(workspace)
    plan, fold = plans.plan("3d_fullres"), split.folds[0]
    records = read_records(workspace, plan, cases=(*fold.training, *fold.validation))
    data = load_fold(workspace, plan, fold=fold, records=records)
    torch.manual_seed(0)
    network = build_network(plan.network, deep_supervision=True)
    engine = make_engine(network, plan, device=torch.device("cpu"), compile_network=compile_network)
    batches = EpochBatches(
        data,
        FoldTask(plan),
        seed=0,
        n_training=10**6,
        n_validation=1,
        augmentation=make_augmentation(plan.patch_size, mirror_axes=plan.training.mirror_axes),
    )
    meter = WaitMeter(engine.device)
    with closing(open_loader(batches, range(10**6), n_workers=n_workers)) as loader:
        source: Iterator[Any] = repeat(next(loader)) if is_constant else loader
        losses = train_epoch(engine, source, n_iterations=10**6, meter=meter)
        rate, cpu_s = count_rate(lambda: float(next(losses)), seconds=seconds)
    return {"rate": rate, "cpu_s": cpu_s, "wait": meter.measure()[1]}


def measure_nnunet(root: Path, *, seconds: float, n_workers: int) -> dict[str, float]:
    os.environ.update({**nnunet_environment(root), "nnUNet_n_proc_DA": str(n_workers)})
    make_trainer = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
    folder = root / "nnUNet_preprocessed" / NNUNET_NAME
    plans, dataset = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    torch.manual_seed(0)
    # the command that starts its training adds this
    plans["continue_training"] = False
    trainer = make_trainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    waited = 0.0

    def step() -> None:
        nonlocal waited
        start = time.perf_counter()
        batch = next(trainer.dataloader_train)
        waited += time.perf_counter() - start
        trainer.train_step(batch)

    begin = time.perf_counter()
    rate, cpu_s = count_rate(step, seconds=seconds)
    share = waited / (time.perf_counter() - begin)
    for feed in (trainer.dataloader_train, trainer.dataloader_val):
        getattr(feed, "_finish", lambda: None)()
    return {"rate": rate, "cpu_s": cpu_s, "wait": share}


def measure(arguments: argparse.Namespace) -> None:
    """Measure one row in this process and print it as JSON."""
    torch.set_num_threads(arguments.threads or arguments.cores)
    kind, n_workers, compile_network = ROWS[arguments.row]
    if kind == "nnunet":
        result = measure_nnunet(arguments.root, seconds=arguments.seconds, n_workers=n_workers)
    else:
        result = measure_ours(
            arguments.root,
            arguments.task.name,
            seconds=arguments.seconds,
            n_workers=n_workers,
            compile_network=compile_network,
            is_constant=kind == "constant",
        )
    print("RESULT " + json.dumps(result))


def run_row(row: str, arguments: argparse.Namespace, *, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, str(arguments.task), "--root", str(root), "--row", row]
    command += ["--seconds", str(arguments.seconds), "--cores", str(arguments.cores)]
    command += ["--threads", str(arguments.threads)] if arguments.threads else []
    threads = {name: str(arguments.cores) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{row} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(lines[0].removeprefix("RESULT "))
    print(f"{row}: {result['rate']:.2f} it/s, {result['cpu_s']:.3f} CPU s", file=sys.stderr, flush=True)
    return result


def print_table(plan: Plan, found: dict[str, list[dict[str, float]]], *, arguments: argparse.Namespace) -> None:
    rates = {row: statistics.median(each["rate"] for each in results) for row, results in found.items()}
    best = max((rate for row, rate in rates.items() if row.startswith("nnU-Net")), default=None)
    print(
        f"\n{plan.task}: patch {plan.patch_size}, batch {plan.training.batch_size}, {arguments.cores} cores, "
        f"{arguments.seconds:.0f} s a row, {arguments.rounds} rounds\n"
    )
    print("| | iterations a second | of nnU-Net's best | waiting for batches | CPU seconds a step, workers aside |")
    print("|---|---|---|---|---|")
    for row, rate in rates.items():
        share = "" if best is None else f"{rate / best:.2f}"
        waiting, cpu_s = (statistics.median(each[name] for each in found[row]) for name in ("wait", "cpu_s"))
        print(f"| {row} | {rate:.2f} | {share} | {waiting:.0%} | {cpu_s:.3f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch in the training process; default: the cores")
    parser.add_argument("--only", nargs="+", default=list(ROWS), help="rows that begin with one of these")
    parser.add_argument("-m", "--channels", nargs="+", default=["PET"])
    parser.add_argument("-l", "--labels", nargs="+", default=["tumour"])
    parser.add_argument("--root", type=Path, help="prepared before and kept; default: a temporary folder")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        measure(arguments)
        return 0
    with tempfile.TemporaryDirectory(prefix="iterations-nnunet-") as temporary:
        root = arguments.root or Path(temporary)
        if not (root / "prepared").exists():
            task = link_task(arguments.task, root / "raw", channels=arguments.channels, labels=arguments.labels)
            prepare_nnunet(root, task, prepare_ours(root, task.name, n_cores=arguments.cores))
            (root / "prepared").touch()
        plan = read_decisions(open_workspace(root, arguments.task.name))[0].plan("3d_fullres")
        rows = [row for row in ROWS if row.startswith(tuple(arguments.only))]
        found: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
        for _ in range(arguments.rounds):
            for row in rows:
                found[row].append(run_row(row, arguments, root=root))
        print_table(plan, found, arguments=arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
