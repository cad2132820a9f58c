"""`interactivepet_simulate`: what a system reaches with each click of a simulated user."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_frame,
    add_task,
    choose_promptable,
    make_parser,
    make_tracker,
    not_negative,
    open_workspace,
    positive,
    report_errors,
)
from interactivepet.cli.postprocessing import add_promptable
from interactivepet.cli.predict import add_any_intensity
from interactivepet.cli.tables import print_table
from interactivepet.core.classical import CLASSICAL_METHODS

if TYPE_CHECKING:
    from interactivepet.core.classical import ClassicalMethod
    from interactivepet.core.operators import OperatorStudy
    from interactivepet.core.simulation import Simulation, UserName
    from interactivepet.pipeline.judge.simulate import SimulationOptions
    from interactivepet.pipeline.judge.simulated_segmenters import SystemKind
    from interactivepet.settings import Settings

__all__ = ["main", "print_simulation"]

SYSTEMS = ("ours", "nninteractive", "ensemble")
USERS = ("perfect", "noisy", "hurried", "centreline", "random", "boundary")
N_CORRECTIONS = 10


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("simulate", "Let a simulated user correct masks click by click, and score each of them.")
    add_task(parser)
    _add_simulation(parser)
    add_promptable(parser)
    add_device(parser)
    arguments = parser.parse_args(argv)
    if arguments.repeats > 1 and (arguments.user == "perfect" or arguments.fixed is not None):
        parser.error("--repeats needs a --user whose clicks differ from time to time, such as noisy")

    from interactivepet.pipeline.judge.simulate import run_simulation
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = _make_options(arguments, settings)
    tracker = make_tracker(workspace, settings)
    if arguments.repeats > 1:
        from interactivepet.pipeline.judge.operators import run_operators

        study = run_operators(
            workspace, options=options, n_operators=arguments.repeats, tracker=tracker, n_proc=arguments.n_proc
        )
        print_operators(study, workspace.simulation(options.name))
        return 0
    simulation = run_simulation(workspace, options=options, tracker=tracker, n_proc=arguments.n_proc)
    print_simulation(simulation)
    print(f"report: {workspace.simulation(options.name) / 'report.html'}")
    return 0


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    """Add who answers, who asks and about which cases."""
    parser.add_argument(
        "--segmenter",
        default="ours",
        metavar="NAME|CMD",
        help=f"what answers: {', '.join(SYSTEMS)}, a method without training ({', '.join(CLASSICAL_METHODS)}), or a "
        "command line with {image}, {clicks} and {mask} (default: ours)",
    )
    parser.add_argument("--user", default="perfect", choices=USERS, help="who corrects (default: perfect)")
    parser.add_argument("--fixed", type=Path, metavar="FOLDER", help="clicks placed beforehand, in place of a user")
    add_frame(parser, default="voxel", of="click files of --fixed that do not say it")
    parser.add_argument("--start", default="none", choices=("none", "extreme"), help="clicks before the first mask")
    parser.add_argument(
        "--clicks",
        type=not_negative,
        default=N_CORRECTIONS,
        metavar="N",
        help=f"corrections (default: {N_CORRECTIONS})",
    )
    parser.add_argument("--cases", nargs="+", default=[], metavar="CASE", help="only these (default: all)")
    parser.add_argument(
        "--folds", type=int, nargs="+", default=[], help="folds whose unseen cases take part; with --test, which answer"
    )
    parser.add_argument("--test", action="store_true", help="the test cases, with all folds")
    parser.add_argument(
        "--tta", action=argparse.BooleanOptionalAction, default=True, help="average over mirrored inputs (default: yes)"
    )
    add_any_intensity(parser)
    parser.add_argument("--fast", action="store_true", help="our own networks: fewer folds, no mirrored inputs")
    parser.add_argument(
        "--name", type=_folder_name, help="folder of the results (default: made of segmenter, user, start and options)"
    )
    parser.add_argument("-s", "--seed", type=not_negative, default=0, help="of the user")
    parser.add_argument(
        "--repeats",
        type=positive,
        default=1,
        metavar="N",
        help="N users with seeds of their own, and the spread between them beside methods without training",
    )
    parser.add_argument(
        "-np",
        "--n-proc",
        type=positive,
        default=1,
        help="cases side by side (default: 1, so that times mean something)",
    )


def _folder_name(text: str) -> str:
    """Parse the name of a folder that lies where the others do."""
    if Path(text).name != text or text.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a folder")
    return text


def _make_options(arguments: argparse.Namespace, settings: Settings) -> SimulationOptions:
    """Join arguments and settings."""
    from interactivepet.pipeline.judge.simulate import SimulationOptions
    from interactivepet.pipeline.judge.simulated_segmenters import check_command
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.settings import count_processors

    system = _find_kind(arguments.segmenter)
    if system == "command":
        check_command(arguments.segmenter)
    method: ClassicalMethod | None = arguments.segmenter if system == "classical" else None
    user: UserName = "fixed" if arguments.fixed is not None else arguments.user
    threads = settings.n_threads or max(1, count_processors() // arguments.n_proc)
    return SimulationOptions(
        kind=system,
        command=arguments.segmenter if system == "command" else "",
        prediction=PredictionOptions(
            folds=tuple(arguments.folds),
            tta=arguments.tta,
            device=arguments.device or settings.device,
            n_threads=threads,
            promptable=choose_promptable(arguments.nninteractive, settings),
            any_intensity=arguments.any_intensity,
        ),
        user=user,
        start=arguments.start,
        n_corrections=arguments.clicks,
        seed=arguments.seed,
        fixed=arguments.fixed,
        point_frame=arguments.frame,
        is_test=arguments.test,
        cases=tuple(arguments.cases),
        fast=arguments.fast,
        name=arguments.name or _make_name(arguments, system=method or system, user=user),
        method=method,
    )


def _find_kind(segmenter: str) -> SystemKind:
    """Say what kind of system `--segmenter` names."""
    match segmenter:
        case "ours" | "nninteractive" | "ensemble":
            return segmenter
        case _ if segmenter in CLASSICAL_METHODS:
            return "classical"
    return "command"


def _make_name(arguments: argparse.Namespace, *, system: str, user: UserName) -> str:
    """Name the folder of results, so that runs with other options have another one."""
    parts = [
        f"{system}-{user}-{arguments.start}",
        "" if arguments.clicks == N_CORRECTIONS else f"{arguments.clicks}clicks",
        f"seed{arguments.seed}" if arguments.seed else "",
        "" if arguments.tta else "no-tta",
        "fast" if arguments.fast else "",
        "test" if arguments.test else "",
        arguments.frame if arguments.frame != "voxel" else "",
    ]
    return "-".join(part for part in parts if part)


def print_operators(study: OperatorStudy, folder: Path) -> None:
    """Show the spread between operators after the last correction, system by system."""
    rows = []
    for spread in study.spreads:
        last = spread.points[-1]
        variation = "-" if last.volume_cv_percent is None else f"{last.volume_cv_percent:.1f}"
        rows.append([spread.system, str(spread.n_cases), f"{last.mean_dice:.3f}", f"{last.dice_sd:.3f}", variation])
    title = f"{study.task}: {len(study.seeds)} users '{study.user}', after the last correction"
    print_table(title, ["system", "cases", "mean Dice", "SD of Dice", "CV of volume (%)"], rows)
    print(f"spread between users of a case, mean over the cases: {folder / 'operators.json'}")


def print_simulation(simulation: Simulation) -> None:
    """Show the curves, the areas under them and the clicks that a Dice takes."""
    shown = sorted({0, 1, 2, 5, 10, simulation.n_corrections} & set(range(simulation.n_corrections + 1)))
    rows = []
    for curve in simulation.curves:
        digits = 1 if curve.metric.endswith("_ml") else 3
        values = (*(curve.points[n].mean for n in shown), curve.area, curve.mean)
        rows.append([curve.metric, *(f"{value:.{digits}f}" for value in values)])
    title = f"{simulation.task}: {simulation.name}, {simulation.n_cases} cases, means after so many corrections"
    print_table(title, ["metric", *map(str, shown), "area", "per step"], rows)
    for target in simulation.clicks_to:
        median = "never, in the median" if target.median is None else f"{target.median:g} clicks in the median"
        print(f"Dice {target.dice:.2f}: {median}; {target.n_failed} of {simulation.n_cases} cases never reached it")
    if (median_s := simulation.seconds_median) is not None:
        print(f"the answer to a correction took {median_s:.2f} s (median), {simulation.seconds_95:.2f} s (95 %)")
    print(f"points that the last masks contradict: {simulation.n_disobeyed}")
    print(simulation.provenance)
