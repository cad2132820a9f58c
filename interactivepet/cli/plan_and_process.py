"""`interactivepet_plan_and_process`: fingerprint, folds, plan and preprocessed cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
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
    from interactivepet.core.plan import Configuration, Plans
    from interactivepet.pipeline.prepare.dry_run import Expectation
    from interactivepet.pipeline.prepare.planning import PlanningOptions
    from interactivepet.planning.request import PlanRequest
    from interactivepet.settings import MachineSettings, Settings

__all__ = ["add_planning", "main", "make_planning", "print_expectation", "print_plan"]


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
        "-a",
        "--architecture",
        metavar="NAME|MODEL",
        help="of the networks: plain, residual, unetr, swinunetr, or a model (file, folder or installed name), whose "
        "layers are planned so that all of its weights fit (default: the present plan's, else plain)",
    )
    parser.add_argument(
        "--configurations",
        nargs="+",
        choices=("2d", "3d_fullres", "3d_lowres", "3d_cascade"),
        help="to plan, the default first (default: the present plan's; of a new one, those that the task calls for)",
    )
    parser.add_argument(
        "--interactive",
        action=argparse.BooleanOptionalAction,
        help="crop cases to their clicks, and never train without clicks (default: the present plan's, else no)",
    )
    parser.add_argument(
        "--target-shape",
        nargs=3,
        type=positive,
        metavar=("I", "J", "K"),
        help="voxels that every case is resampled to, a fixed grid (default: the present plan's, else none)",
    )
    parser.add_argument(
        "--normalise",
        choices=("ct", "suv", "zscore", "minmax"),
        help="every channel (default: the present plan's; of a new one, by name and intensities unless it was minmax)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[CONFIGURATION:]KEY=VALUE",
        help="change a value of the plan, such as training.batch_size=4; may be repeated",
    )
    parser.add_argument(
        "--negatives",
        type=parse_negatives,
        metavar="keep|exclude|RATIO",
        help="samples from cases without label: all alike, none, or a share (default: the present plan's, else keep)",
    )
    parser.add_argument(
        "-v",
        "--snapshots",
        action="store_true",
        help="write a picture of each case, raw and in the default configuration",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check the task before (default: yes)",
    )


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show the plan and what it will take, and write nothing but the fingerprint",
    )
    parser.add_argument(
        "--fingerprint", type=Path, metavar="FILE", help="with --dry-run: plan this file, also nnU-Net's, without cases"
    )
    parser.add_argument(
        "-m", "--modality", nargs="+", help="with --fingerprint: channel names (default: of dataset.json beside it)"
    )
    parser.add_argument(
        "-l", "--labels", nargs="+", help="with --fingerprint: label names (default: of dataset.json beside it)"
    )


def parse_negatives(text: str) -> str | float:
    """Parse `keep`, `exclude`, or a share between 0 and 1."""
    if text in {"keep", "exclude"}:
        return text
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text} is neither keep, exclude nor a share between 0 and 1")
    return share


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("plan_and_process", "Measure a task, plan everything, and preprocess its cases.")
    add_task(parser)
    add_planning(parser)
    _add_dry_run(parser)
    add_processes(parser)
    add_device(parser)
    arguments = parser.parse_args(argv)
    if not arguments.dry_run and (arguments.fingerprint or arguments.modality or arguments.labels):
        parser.error("--fingerprint, -m and -l plan without cases; add --dry-run")
    if not arguments.fingerprint and (arguments.modality or arguments.labels):
        parser.error("-m and -l name the channels and labels of --fingerprint")
    return _show(arguments) if arguments.dry_run else _process(arguments)


def _process(arguments: argparse.Namespace) -> int:
    from interactivepet.pipeline.prepare.planning import run_plan_and_process
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = make_planning(arguments, settings)
    print_plan(run_plan_and_process(workspace, options=options, show_issues=print_issues))
    if arguments.snapshots:
        print(f"snapshots: {workspace.snapshots}")
    print(f"plan: {workspace.plans}")
    return 0


def make_planning(arguments: argparse.Namespace, settings: Settings) -> PlanningOptions:
    """Turn the arguments of `add_planning` and `add_processes` into options."""
    from interactivepet.pipeline.prepare.planning import PlanningOptions

    return PlanningOptions(
        n_folds=arguments.n_folds,
        seed=arguments.seed,
        request=_find_request(arguments, settings),
        snapshots=arguments.snapshots,
        verify=arguments.verify,
        n_proc=arguments.n_proc or settings.n_proc,
        scheduler=settings.scheduler,
    )


def _find_request(arguments: argparse.Namespace, settings: MachineSettings) -> PlanRequest:
    """Find what is asked of the planner."""
    from interactivepet.pipeline.prepare.architecture import find_architecture
    from interactivepet.planning.plan import PlanOptions
    from interactivepet.planning.request import PlanRequest

    options = PlanOptions(
        configurations=tuple(arguments.configurations) if arguments.configurations else None,
        interactive=arguments.interactive,
        target_shape=tuple(arguments.target_shape) if arguments.target_shape else None,
        normalise=arguments.normalise,
        negatives=arguments.negatives,
    )
    architecture = find_architecture(arguments.architecture, settings.models)
    return PlanRequest(arguments.budget, architecture, options, tuple(arguments.set))


def _show(arguments: argparse.Namespace) -> int:
    if arguments.fingerprint:
        return _show_file(arguments)
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.prepare.dry_run import expect, plan_task
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        plans, fingerprint = plan_task(workspace, executor, request=_find_request(arguments, settings))
    print_plan(plans)
    for name in plans.configurations:
        expected = expect(plans.plan(name), fingerprint, device=arguments.device or settings.device)
        print_expectation(name, expected, plans)
    return 0


def _show_file(arguments: argparse.Namespace) -> int:
    from interactivepet.pipeline.prepare.dry_run import plan_fingerprint_file
    from interactivepet.settings import load_machine_settings

    request = _find_request(arguments, load_machine_settings())
    plans, _ = plan_fingerprint_file(
        arguments.fingerprint, request, channels=arguments.modality, labels=arguments.labels
    )
    print_plan(plans)
    return 0


def print_plan(plans: Plans) -> None:
    """Show the decisions of a plan, configuration by configuration."""
    from interactivepet.planning.compare import describe_configuration

    for name, own in plans.configurations.items():
        rows = describe_configuration(own, channels=plans.channels)
        for channel, rule in zip(plans.channels, own.normalisation, strict=True):
            rows[f"normalisation of {channel}"] += f": {rule.reason}" if rule.reason else ""
        title = f"{plans.task} {name}, budget {plans.budget}" + (", the default" if name == plans.default else "")
        print_table(title, ["decision", "value"], list(rows.items()))


def print_expectation(name: Configuration, expected: Expectation, plans: Plans) -> None:
    """Show what a configuration will take."""
    epochs = plans.plan(name).training.epochs
    rows = [
        ("preprocessed cases", "those of 3d_fullres" if name == "3d_cascade" else f"{expected.disk_gb:.2f} GB at most"),
        ("memory of a preprocessing process", f"about {expected.worker_gb:.2f} GB"),
        (f"memory of a training step on {expected.device}", f"about {expected.step_gb:.2f} GB"),
    ]
    if expected.refusal is not None:
        rows.append(("an epoch", f"does not fit: {expected.refusal}"))
    elif expected.epoch_seconds is None:
        rows.append(("an epoch", f"not measured: the budget {plans.budget} is for a graphics card"))
    else:
        rows.append(("an epoch, without validation", f"{expected.epoch_seconds / 60:.1f} min"))
        rows.append((f"a fold of {epochs} epochs", f"{epochs * expected.epoch_seconds / 3600:.1f} h"))
    print_table(f"{name} will take", ["what", "how much"], rows)
