"""Train folds of a planned task with and without the weights of a model; print the out-of-fold Dice side by side.

python tests/benchmarks/pretrained.py -t Task501_STSPET --model starter --folds 0 2 --seeds 1 2 3 --minutes 2.5
python tests/benchmarks/pretrained.py -t Task501_STSPET --model starter --patients 5 10 20 28 --minutes 5 --seeds 1 2

The folders of tasks are those of the settings; nothing is written into them. The runs of a pair follow one another, the
first of them in turn, so that a load of the machine meets both alike. Every finished run is a JSON file in `--out`;
the same command goes on where it was interrupted, and a run whose plan, model or length has changed is done again.
Training, its validation and the predictions are those of `interactivepet_train`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.cli.common import open_workspace
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.dataset.files.write import write_text
from interactivepet.model.installed import find_model
from interactivepet.model.manifest import MANIFEST
from interactivepet.pipeline.decisions import read_plans
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import choose_configuration, run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.settings import load_settings
from interactivepet.training.inputs import TrainingOptions

UNLIMITED_EPOCHS = 100_000
"""The time is the limit."""

Arm = Literal["random", "pretrained"]
MODES = {"none": "no clicks", "extreme": "six points"}


@dataclass(frozen=True)
class Run:
    """One training: `patients` None is all of them."""

    patients: int | None
    fold: int
    seed: int
    arm: Arm

    @property
    def name(self) -> str:
        return f"patients_{self.patients or 'all'}-fold_{self.fold}-seed_{self.seed}-{self.arm}"


def list_runs(arguments: argparse.Namespace) -> Iterator[Run]:
    """List the runs: both of a pair after each other, the first in turn, and all pairs of a seed before the next."""
    arms: list[Arm] = arguments.arms
    pairs = product(arguments.seeds, arguments.patients or [None], arguments.folds)
    for number, (seed, patients, fold) in enumerate(pairs):
        yield from (Run(patients, fold, seed, arm) for arm in (arms if number % 2 == 0 else reversed(arms)))


def describe_model(path: Path) -> str:
    """Hash what says what a model is."""
    return hashlib.sha256((path / MANIFEST if path.is_dir() else path).read_bytes()).hexdigest()[:16]


def train(workspace: Workspace, run: Run, *, model: Path, arguments: argparse.Namespace) -> CheckpointCard:
    """Train one fold in a folder of its own, or go on with it."""
    timed = arguments.iterations is None
    options = TrainingOptions(
        epochs=UNLIMITED_EPOCHS if timed else 1,
        iterations=arguments.iterations,
        time_limit_s=60 * arguments.minutes if timed else None,
        pretrained=model if run.arm == "pretrained" else None,
        patients=run.patients,
        device=arguments.device,
        n_threads=arguments.threads,
        seed=run.seed,
    )
    (card,) = run_training(
        workspace,
        [run.fold],
        configuration=arguments.configuration,
        options=options,
        tta=arguments.tta,
        tracker=TrackerConfig.of(workspace.task, results=workspace.results.parent, uri=None),
        n_proc=1,
        n_cores=arguments.threads,
    )
    return card


def summarise(run: Run, card: CheckpointCard, *, made_from: dict[str, Any]) -> dict[str, Any]:
    return {
        "made_from": made_from,
        **asdict(run),
        "dice": card.validation_dice,
        "share": card.pretrained.share if card.pretrained else 0.0,
        "epochs": len(card.epochs),
        "seconds": sum(epoch.seconds for epoch in card.epochs),
        "iterations_per_second": fmean(epoch.iterations_per_second for epoch in card.epochs),
        "n_training": len(card.training),
        "device": card.device,
    }


def complete(run: Run, *, workspace: Workspace, model: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Give a run's result, from its file or by training."""
    plans = read_plans(workspace)
    plan = plans.plan(choose_configuration(plans, arguments.configuration))
    made_from = {
        "plan": plan.content_hash(),
        "model": describe_model(model) if run.arm == "pretrained" else "",
        "length": f"{arguments.iterations} iterations" if arguments.iterations else f"{arguments.minutes} minutes",
        "device": f"{arguments.device}, {arguments.threads} threads",
        "tta": arguments.tta,
    }
    path = arguments.out / f"{run.name}.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_bytes())
        if known["made_from"] == made_from:
            return known
    root = arguments.out / "unfinished" / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16] / run.name
    own = Workspace.of(
        workspace.task, raw=workspace.raw.parent, processed=workspace.processed.parent, results=root / "results"
    )
    found = summarise(run, train(own, run, model=model, arguments=arguments), made_from=made_from)
    write_text(path, json.dumps(found, indent=2) + "\n")
    shutil.rmtree(root)
    return found


def find_mean(result: dict[str, Any], mode: str) -> float | None:
    cases = result["dice"].get(mode)
    return fmean(cases.values()) if cases else None


def list_rows(results: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Give a row per number of patients and fold, then one of all; differences are those of pairs with equal seeds."""
    groups = dict.fromkeys((result["patients"], result["fold"]) for result in results)
    for patients, fold in groups:
        chosen = [result for result in results if (result["patients"], result["fold"]) == (patients, fold)]
        yield [str(patients or "all"), str(fold), *summarise_group(chosen)]
    if len(groups) > 1:
        yield ["mean", "", *summarise_group(results)]


def summarise_group(results: Sequence[dict[str, Any]]) -> list[str]:
    pairs: dict[tuple[object, ...], dict[str, dict[str, Any]]] = {}
    for result in results:
        pairs.setdefault((result["patients"], result["fold"], result["seed"]), {})[result["arm"]] = result
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    cells = [str(len(whole))]
    for mode in MODES:
        means = [(find_mean(pair["random"], mode), find_mean(pair["pretrained"], mode)) for pair in whole]
        known = [(before, after) for before, after in means if before is not None and after is not None]
        if not known:
            cells += ["-"] * 3
            continue
        gains = [after - before for before, after in known]
        spread = f" (sd {stdev(gains):.3f})" if len(gains) > 1 else ""
        cells += [f"{fmean(side):.3f}" for side in zip(*known, strict=True)] + [f"{fmean(gains):+.3f}{spread}"]
    return cells


def print_table(results: Sequence[dict[str, Any]]) -> None:
    columns = ["patients", "fold", "pairs"]
    columns += [f"{name}, {what}" for name in MODES.values() for what in ("random", "pretrained", "difference")]
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in list_rows(results):
        print(f"| {' | '.join(row)} |", flush=True)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", "--task", help="a planned and preprocessed task")
    parser.add_argument("--model", required=True, help="as of --pretrained: a file, a folder or an installed name")
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--patients", type=int, nargs="+", help="training patients; all of them when left out")
    parser.add_argument(
        "--arms", nargs="+", choices=["random", "pretrained"], default=["random", "pretrained"], help="to be trained"
    )
    parser.add_argument("--minutes", type=float, default=2.5, help="of each training")
    parser.add_argument("--iterations", type=int, help="instead of the time")
    parser.add_argument("-c", "--configuration")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tta", action="store_true", help="average predictions over mirrored inputs")
    parser.add_argument("--out", type=Path, default=Path("pretrained-benchmark"), help="folder of the results")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    model = find_model(arguments.model, settings.models)
    results = []
    for run in list_runs(arguments):
        result = complete(run, workspace=workspace, model=model, arguments=arguments)
        results.append(result)
        dice = ", ".join(f"{name} {find_mean(result, mode) or float('nan'):.3f}" for mode, name in MODES.items())
        print(f"{run.name}: Dice {dice}; {result['share']:.0%} of the weights given", flush=True)
    print_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
