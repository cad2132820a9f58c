"""`interactivepet_export_nninteractive`: write a trained promptable model as a folder that nnInteractive loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import add_task, make_parser, open_workspace, report_errors
from interactivepet.cli.train_nninteractive import parse_fold

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "export_nninteractive", "Write a promptable model as a folder for nnInteractive, its server and its clients."
    )
    add_task(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="must not exist yet")
    parser.add_argument(
        "-f",
        "--fold",
        type=parse_fold,
        metavar="FOLD",
        help="number of a fold, or all (default: the model of all cases if there is one, else the first fold's)",
    )
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.train.promptable_folder import run_promptable_export
    from interactivepet.settings import load_settings

    workspace = open_workspace(arguments.task, load_settings())
    card = run_promptable_export(workspace, arguments.output.absolute(), fold=arguments.fold)
    print(f"{arguments.output}: model of fold {card.model.fold}, {len(card.model.training)} training cases")
    print(f"licence: {card.model.licence.strip().splitlines()[0]}")
    for fold, score in card.fold_dice.items():
        print(f"fold {fold}: mean Dice {score:.3f} after one click, on cases that it never saw")
    return 0
