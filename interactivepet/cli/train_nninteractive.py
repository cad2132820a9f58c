"""`interactivepet_train_nninteractive`: train a promptable model of the user's own, fold by fold or on all cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_processes,
    add_task,
    make_parser,
    make_tracker,
    not_negative,
    open_workspace,
    report_errors,
)
from interactivepet.cli.tables import print_table
from interactivepet.cli.train import add_continue, add_length, duration_s

if TYPE_CHECKING:
    from interactivepet.core.promptable import FoldName, PromptableCard

__all__ = ["main", "parse_fold"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _make_parser().parse_args(argv)

    from interactivepet.pipeline.train.pretrained import open_first_model
    from interactivepet.pipeline.train.promptable import run_promptable_training
    from interactivepet.settings import count_processors, load_settings
    from interactivepet.training.inputs import TrainingOptions

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = TrainingOptions(
        epochs=arguments.epochs,
        iterations=arguments.iterations,
        time_limit_s=arguments.time_limit,
        device=arguments.device or settings.device,
        seed=arguments.seed,
        n_threads=settings.n_threads,
        n_workers=arguments.workers,
        resume=arguments.resume,
    )
    with open_first_model(arguments.pretrained, settings.models, task=workspace.task) as folder:
        cards = run_promptable_training(
            workspace,
            list(dict.fromkeys(arguments.fold)),
            options=replace(options, pretrained=folder),
            tracker=make_tracker(workspace, settings),
            n_proc=arguments.n_proc or settings.n_proc,
            n_cores=count_processors(),
        )
    print_promptable_cards(cards)
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "train_nninteractive", "Train a promptable model in nnInteractive's format; an interrupted one goes on."
    )
    add_task(parser)
    parser.add_argument(
        "-f",
        "--fold",
        nargs="+",
        type=parse_fold,
        required=True,
        metavar="FOLD",
        help="numbers of folds; all: one model of all cases",
    )
    parser.add_argument(
        "--pretrained",
        metavar="FOLDER|MODEL",
        help="start from a model folder of nnInteractive, or from a model that a promptable one is part of, licence "
        "included",
    )
    add_length(parser, of="budget")
    parser.add_argument("--time-limit", type=duration_s, metavar="TIME", help="end training of a model within TIME")
    add_device(parser)
    add_continue(parser, of="model")
    parser.add_argument("--workers", type=not_negative, default=0, help="processes that prepare batches (default: 0)")
    add_processes(parser)
    parser.add_argument("-s", "--seed", type=not_negative, default=0, help="of weights, samples and simulated users")
    return parser


def parse_fold(text: str) -> FoldName:
    """Parse the number of a fold, or `all`."""
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is neither the number of a fold nor all")
    return "all" if text == "all" else int(text)


def print_promptable_cards(cards: Sequence[PromptableCard]) -> None:
    """Show what each model reached."""
    rows = []
    for card in cards:
        scores = card.validation_dice.values()
        minutes = sum(epoch.seconds for epoch in card.epochs) / 60
        mean = f"{sum(scores) / len(scores):.3f}" if scores else "-"
        rows.append(
            [str(card.fold), str(len(card.epochs)), f"{minutes:.1f}", mean, card.licence.strip().split("\n")[0]]
        )
    columns = ["fold", "epochs", "minutes", "Dice after one click", "licence"]
    print_table("out of fold, in nnInteractive's own session", columns, rows)
