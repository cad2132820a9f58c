"""Train one fold of a planned task for some minutes with each of several settings; print the out-of-fold Dice.

python tests/benchmarks/training_choices.py PROCESSED/TASK --raw RAW/TASK --minutes 10 \
    --setting base --setting "training.optimizer=adamw training.learning_rate=3e-4" --setting training.ema=0.999

A setting is what `interactivepet_plan_and_process --set` takes; `base` changes nothing, and `augmentation.spatial=P`
and `augmentation.intensity=S` set the probability of rotation and scaling, and multiply those of the changes of
intensities. Training, its validation and
the predictions are those of `interactivepet_train`, in one thread; the learning rate falls with the time. Nothing is
written to the task's own folders.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.plan import Plans
from interactivepet.dataset.files.write import write_artefact
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.overrides import apply_overrides
from interactivepet.training import augment, epochs
from interactivepet.training.inputs import TrainingOptions

UNLIMITED_EPOCHS = 100_000
"""The time is the limit."""


def make_workspace(root: Path, processed: Path, *, raw: Path, overrides: Sequence[str]) -> Workspace:
    """Link a planned task into a folder of its own, with another plan."""
    workspace = Workspace.of(processed.name, raw=root / "raw", processed=root / "processed", results=root / "results")
    workspace.raw.parent.mkdir(parents=True)
    workspace.raw.symlink_to(raw.resolve())
    workspace.processed.mkdir(parents=True)
    for source in processed.resolve().iterdir():
        if source.name != "plans.json":
            (workspace.processed / source.name).symlink_to(source)
    plans = Plans.model_validate_json((processed / "plans.json").read_bytes())
    write_artefact(workspace.plans, apply_overrides(plans, overrides))
    return workspace


@contextmanager
def augmented(wanted: Sequence[str]) -> Iterator[None]:
    """Change the strength of the augmentation for a while."""
    kept, make = augment.SPATIAL_PROBABILITY, epochs.make_augmentation
    for name, _, value in (setting.partition("=") for setting in wanted):
        if name == "augmentation.spatial":
            augment.SPATIAL_PROBABILITY = float(value)
        elif name != "augmentation.intensity":
            raise SystemExit(f"{name} is no setting; expected augmentation.spatial or augmentation.intensity")
        else:
            epochs.make_augmentation = partial(make_weighted, make, weight=float(value))
    try:
        yield
    finally:
        augment.SPATIAL_PROBABILITY, epochs.make_augmentation = kept, make


def make_weighted(make: Any, patch: Any, *, mirror_axes: Sequence[int], weight: float) -> augment.Augmentation:
    made: augment.Augmentation = make(patch, mirror_axes=mirror_axes)
    for step in made.intensity.transforms:
        step.apply_probability *= weight
    return made


def train(root: Path, overrides: Sequence[str], *, arguments: argparse.Namespace, seed: int) -> CheckpointCard:
    workspace = make_workspace(root, arguments.processed, raw=arguments.raw, overrides=overrides)
    options = TrainingOptions(
        epochs=UNLIMITED_EPOCHS,
        time_limit_s=60 * arguments.minutes,
        device=arguments.device,
        n_threads=arguments.threads,
        n_workers=arguments.workers,
        seed=seed,
    )
    if arguments.iterations:
        options = replace(options, epochs=1, iterations=arguments.iterations, time_limit_s=None)
    (card,) = run_training(
        workspace,
        [arguments.fold],
        configuration=arguments.configuration,
        options=options,
        tta=False,
        tracker=TrackerConfig.of(workspace.task, results=root / "results", uri=None),
        n_proc=1,
        n_cores=arguments.threads,
    )
    return card


def describe(setting: str, seed: int, card: CheckpointCard) -> str:
    seconds = sum(epoch.seconds for epoch in card.epochs)
    speed = sum(epoch.iterations_per_second for epoch in card.epochs) / len(card.epochs)
    dice = [sum(cases.values()) / len(cases) for cases in card.validation_dice.values()]
    known = [value for value in card.epochs[-1].pseudo_dice if value is not None]
    pseudo = f"{sum(known) / len(known):.3f}" if known else "-"
    cells = [setting, str(seed), f"{seconds / 60:.1f}", f"{speed:.2f}", pseudo, *(f"{value:.3f}" for value in dice)]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processed", type=Path, help="the task's folder under interactivepet_processed")
    parser.add_argument("--raw", type=Path, required=True, help="the task's folder under interactivepet_raw")
    parser.add_argument("--setting", action="append", help="KEY=VALUE ... of the plan, or base; may be repeated")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--iterations", type=int, help="instead of the time")
    parser.add_argument("-f", "--fold", type=int, default=0)
    parser.add_argument("-c", "--configuration")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print("| setting | seed | minutes | it/s | pseudo Dice | Dice, no clicks | Dice, margin points |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for setting in arguments.setting or ["base"]:
        words = [] if setting == "base" else setting.split()
        overrides = [word for word in words if not word.startswith("augmentation.")]
        for seed in arguments.seeds:
            changed = augmented([word for word in words if word not in overrides])
            with changed, tempfile.TemporaryDirectory(prefix="training-choices-") as folder:
                card = train(Path(folder), overrides, arguments=arguments, seed=seed)
            print(describe(setting, seed, card), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
