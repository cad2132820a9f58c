"""`interactivepet_train`: train one fold, several, or all of them."""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_processes,
    add_task,
    make_parser,
    make_tracker,
    not_negative,
    open_workspace,
    positive,
    report_errors,
)
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.checkpoint import CheckpointCard
    from interactivepet.settings import Settings
    from interactivepet.training.inputs import TrainingOptions

__all__ = [
    "add_continue",
    "add_length",
    "add_training",
    "duration_s",
    "main",
    "make_training_options",
    "print_cards",
]

SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `interactivepet_run` shares."""
    add_length(parser, of="plan")
    _add_control(parser)
    add_device(parser)
    add_continue(parser, of="fold")
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average predictions over mirrored inputs (default: yes)",
    )
    parser.add_argument(
        "--workers", type=not_negative, default=0, help="processes that prepare batches (0: none, best on a CPU)"
    )


def add_length(parser: argparse.ArgumentParser, *, of: str) -> None:
    """Add how long to train; `of` says in words what else decides on it."""
    parser.add_argument("-e", "--epochs", type=positive, help=f"instead of the {of}'s")
    parser.add_argument("--iterations", type=positive, help=f"an epoch, instead of the {of}'s")


def add_continue(parser: argparse.ArgumentParser, *, of: str) -> None:
    """Add whether to go on; `of` says in words what with."""
    parser.add_argument(
        "--continue",
        dest="resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"go on with an interrupted {of} and keep a complete one (default); --no-continue starts anew",
    )


def _add_control(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--until-dice", type=float, metavar="X", help="stop when the smoothed Dice of the validation patches reaches X"
    )
    parser.add_argument(
        "--patience", type=positive, metavar="N", help="stop after N epochs without a better smoothed Dice of them"
    )
    parser.add_argument(
        "--time-limit",
        type=duration_s,
        metavar="TIME",
        help="end training of a fold within TIME, such as 2h, 90m, 1h30m or 3600s",
    )
    parser.add_argument(
        "--pretrained",
        metavar="MODEL",
        help="start from a model (file, folder or installed name), or from the weights.pt of another fold or task",
    )
    parser.add_argument(
        "--patients",
        type=positive,
        metavar="N",
        help="train on the first N of a random order of a fold's training patients (default: all)",
    )
    parser.add_argument(
        "--keep",
        choices=["last", "best"],
        default="last",
        help="weights of the last epoch (default), or of the one with the best smoothed Dice of validation patches",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="the same weights, bit for bit, on the same machine"
    )
    parser.add_argument("--compile", dest="compile_network", action="store_true", help="let torch compile the network")


def duration_s(text: str) -> float:
    """Parse `2h`, `90m`, `1h30m` or `3600s`."""
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?[hms])+", text):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 2h, 90m, 1h30m or 3600s")
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "train", "Train folds; an interrupted one goes on where it was. Ends with out-of-fold predictions."
    )
    add_task(parser)
    parser.add_argument("-f", "--fold", nargs="+", required=True, metavar="FOLD", help="numbers of folds, or all")
    parser.add_argument(
        "-c",
        "--configuration",
        choices=("2d", "3d_fullres", "3d_lowres", "3d_cascade"),
        help="of the plan (default: its first); 3d_cascade needs all folds of 3d_lowres",
    )
    add_training(parser)
    add_processes(parser)
    parser.add_argument(
        "-s", "--seed", type=not_negative, default=0, help="of weights, patches, clicks and augmentation"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler whose workers take a fold each (default: interactivepet_scheduler, else none)",
    )
    arguments = parser.parse_args(argv)
    folds = parse_folds(parser, arguments.fold)
    if os.environ.get("RANK", "0") != "0":
        # torchrun started several processes, and the first tells all
        logging.getLogger().setLevel(logging.WARNING)

    from interactivepet.pipeline.train.training import run_training
    from interactivepet.settings import count_processors, load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    cards = run_training(
        workspace,
        folds,
        configuration=arguments.configuration,
        options=make_training_options(arguments, settings, seed=arguments.seed),
        tta=arguments.tta,
        tracker=make_tracker(workspace, settings),
        n_proc=arguments.n_proc or settings.n_proc,
        n_cores=count_processors(),
        scheduler=arguments.scheduler or settings.scheduler,
    )
    # of the processes that torchrun starts, only the first has cards
    if cards:
        print_cards(cards)
    return 0


def parse_folds(parser: argparse.ArgumentParser, texts: Sequence[str]) -> list[int]:
    """Read fold numbers; `all` gives an empty list, which stands for every fold."""
    if list(texts) == ["all"]:
        return []
    if not all(text.isdigit() for text in texts):
        parser.error(f"-f {' '.join(texts)}: expected fold numbers such as 0 1 2, or all")
    return [int(text) for text in texts]


def make_training_options(arguments: argparse.Namespace, settings: Settings, *, seed: int) -> TrainingOptions:
    """Join the arguments of `add_training` with the settings; raises ModelError where `--pretrained` is not there."""
    from interactivepet.model.installed import find_model
    from interactivepet.training.inputs import TrainingOptions

    return TrainingOptions(
        epochs=arguments.epochs,
        iterations=arguments.iterations,
        until_dice=arguments.until_dice,
        patience=arguments.patience,
        time_limit_s=arguments.time_limit,
        pretrained=None if arguments.pretrained is None else find_model(arguments.pretrained, settings.models),
        patients=arguments.patients,
        keep=arguments.keep,
        deterministic=arguments.deterministic,
        compile_network=arguments.compile_network,
        device=arguments.device or settings.device,
        seed=seed,
        n_threads=settings.n_threads,
        n_workers=arguments.workers,
        resume=arguments.resume,
    )


def print_cards(cards: Sequence[CheckpointCard]) -> None:
    """Show what each fold reached."""
    rows = []
    for card in cards:
        dice = [card.validation_dice.get(mode) for mode in ("none", "extreme")]
        minutes = sum(epoch.seconds for epoch in card.epochs) / 60
        rows.append(
            [
                str(card.fold),
                str(len(card.epochs)),
                f"{minutes:.1f}",
                *(f"{fmean(found.values()):.3f}" if found else "-" for found in dice),
            ]
        )
    columns = ["fold", "epochs", "minutes", "out-of-fold Dice, no clicks", "out-of-fold Dice, margin points"]
    print_table("threshold 0.5, no postprocessing", columns, rows)


if __name__ == "__main__":
    raise SystemExit(main(None))
