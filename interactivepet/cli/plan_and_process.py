"""`interactivepet_plan_and_process`: fingerprint, folds, plan and preprocessed cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_processes,
    add_task,
    make_parser,
    not_negative,
    open_workspace,
    positive,
    report_errors,
)
from interactivepet.cli.tables import print_table
from interactivepet.cli.verify import print_issues

if TYPE_CHECKING:
    from interactivepet.core.plan import Plan

__all__ = ["add_planning", "main", "print_plan"]


def add_planning(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `interactivepet_run` shares."""
    parser.add_argument("-f", "--n-folds", type=positive, help="number of folds (default: the present split's, else 5)")
    parser.add_argument(
        "-s",
        "--seed",
        type=not_negative,
        help="of the split and of missing clicks (default: the present split's, else 0)",
    )
    parser.add_argument(
        "--budget",
        choices=("cpu", "8gb", "24gb", "80gb"),
        help="what a training step may take (default: the present plan's, else cpu)",
    )
    parser.add_argument(
        "--negatives",
        type=parse_negatives,
        metavar="keep|exclude|RATIO",
        help="samples from cases without label: all alike, none, or a share (default: the present plan's, else keep)",
    )
    parser.add_argument("-v", "--snapshots", action="store_true", help="write pictures of raw and preprocessed cases")
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check the task before (default: yes)",
    )


def parse_negatives(text: str) -> str | float:
    """Parse `keep`, `exclude`, or a share between 0 and 1."""
    if text in {"keep", "exclude"}:
        return text
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text} is neither keep, exclude nor a share between 0 and 1")
    return share


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("plan_and_process", "Measure a task, plan everything, and preprocess its cases.")
    add_task(parser)
    add_planning(parser)
    add_processes(parser)
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.stages import PlanningOptions, run_plan_and_process
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = PlanningOptions(
        n_folds=arguments.n_folds,
        seed=arguments.seed,
        budget=arguments.budget,
        negatives=arguments.negatives,
        snapshots=arguments.snapshots,
        verify=arguments.verify,
        n_proc=arguments.n_proc or settings.n_proc,
        scheduler=settings.scheduler,
    )
    print_plan(run_plan_and_process(workspace, options=options, show_issues=print_issues))
    if arguments.snapshots:
        print(f"snapshots: {workspace.snapshots}")
    print(f"plan: {workspace.plans}")
    return 0


def print_plan(plan: Plan) -> None:
    """Show the decisions of a plan."""
    network, training = plan.network, plan.training
    rows = [
        ("budget", f"{plan.budget}, about {plan.estimated_memory_gb:.2f} GB a training step"),
        ("spacing", " x ".join(f"{mm:.2f}" for mm in plan.spacing_mm) + " mm"),
        ("median shape", " x ".join(map(str, plan.median_shape))),
        ("patch, batch", " x ".join(map(str, plan.patch_size)) + f", {training.batch_size}"),
        *(
            (f"normalisation of {name}", f"{rule.scheme}: {rule.reason}")
            for name, rule in zip(plan.channels, plan.normalisation, strict=True)
        ),
        ("network", f"{network.architecture}, features {' '.join(map(str, network.features_per_stage))}"),
        ("guidance", f"{plan.guidance.encoding}, {plan.guidance.scale_mm:.1f} mm"),
        ("training", f"{training.epochs} epochs of {training.iterations_per_epoch} iterations"),
    ]
    print_table(f"{plan.task} {plan.configuration}", ["decision", "value"], rows)
