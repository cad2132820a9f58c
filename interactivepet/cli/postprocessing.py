"""`interactivepet_postprocessing`: choose fusion, threshold and clean-up on out-of-fold predictions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_task,
    choose_promptable,
    make_parser,
    make_tracker,
    open_workspace,
    report_errors,
)
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.ensemble import Choice, EnsembleRule

__all__ = ["add_corrections", "add_promptable", "add_registration", "check_registration", "main", "print_rule"]


def add_promptable(parser: argparse.ArgumentParser) -> None:
    """Add `--nninteractive`."""
    parser.add_argument(
        "--nninteractive",
        metavar="MODEL|URL|off",
        help="model folder or server of nnInteractive (default: interactivepet_nninteractive_model or _url)",
    )


def add_corrections(parser: argparse.ArgumentParser) -> None:
    """Add `--corrections`."""
    parser.add_argument(
        "--corrections",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let a simulated user correct each unseen case and choose for corrected masks, too (default: yes)",
    )


def add_registration(parser: argparse.ArgumentParser) -> None:
    """Add `--register` and `--champion`."""
    parser.add_argument(
        "--register",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="log the chosen model in MLflow and register it under the task's name (default: yes)",
    )
    parser.add_argument(
        "--champion",
        choices=("none", "extreme", "corrected"),
        help="give the registered model the alias champion if its nested estimate with these clicks is better than "
        "that of the present champion (default: leave the alias alone)",
    )


def check_registration(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments of `add_registration` that contradict each other or the choice."""
    if arguments.champion is not None and not arguments.register:
        parser.error("--champion needs a registered model; leave --no-register out")
    if arguments.champion == "corrected" and not arguments.corrections:
        parser.error("--champion corrected needs a choice for corrected masks; leave --no-corrections out")


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("postprocessing", "Choose blend, threshold and postprocessing by out-of-fold Dice.")
    add_task(parser)
    add_promptable(parser)
    add_corrections(parser)
    add_registration(parser)
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average over mirrored inputs in corrections (default: yes)",
    )
    add_device(parser)
    arguments = parser.parse_args(argv)
    check_registration(parser, arguments)

    from interactivepet.pipeline.judge.postprocess import run_postprocessing
    from interactivepet.pipeline.judge.registration import run_registration
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.settings import count_processors, load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    tracker = make_tracker(workspace, settings)
    rule = run_postprocessing(
        workspace,
        options=PredictionOptions(
            tta=arguments.tta,
            device=arguments.device or settings.device,
            n_threads=settings.n_threads or count_processors(),
            promptable=choose_promptable(arguments.nninteractive, settings),
        ),
        tracker=tracker,
        with_corrections=arguments.corrections,
    )
    print_rule(rule)
    print(f"every candidate's score: {workspace.ensemble}")
    if arguments.register:
        run_registration(workspace, rule, tracker=tracker, champion=arguments.champion)
    return 0


def print_rule(rule: EnsembleRule) -> None:
    """Show what was chosen and what it is worth."""
    rows = [
        [mode, describe_choice(choice), f"{choice.dice:.3f}", f"{choice.nested_dice:.3f}"]
        for mode, choice in rule.choices.items()
    ]
    columns = [
        "clicks",
        "choice",
        "out-of-fold Dice (optimistic: chosen on it)",
        "nested estimate (choice without the fold)",
    ]
    print_table(
        f"{rule.task}: folds {' '.join(map(str, rule.folds))}; nnInteractive: {rule.nninteractive or 'off'}",
        columns,
        rows,
    )


def describe_choice(choice: Choice) -> str:
    """Say in words what a choice does."""
    steps = choice.postprocessing
    names = [
        "keep clicked components" if steps.keep_clicked else "",
        "largest component" if steps.largest_component else "",
        f"drop below {steps.minimum_volume_ml:g} ml" if steps.minimum_volume_ml else "",
        "fill holes" if steps.fill_holes else "",
    ]
    done = ", ".join(name for name in names if name) or "no postprocessing"
    networks = " + ".join(choice.fusion.configurations)
    fusion = choice.fusion
    return f"{networks}, nnInteractive {fusion.nninteractive_weight:.0%}, threshold {fusion.threshold:g}, {done}"
