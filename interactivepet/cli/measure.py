"""`interactivepet_measure`: uptake, volume, shape and spread of the lesions of any masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_dicom_reading, add_processes, make_parser, open_workspace, report_errors
from interactivepet.cli.tables import print_table
from interactivepet.core.uptake import UNITS, name_total, name_uptake, name_volume

if TYPE_CHECKING:
    from interactivepet.core.measures import CaseMeasures, Organ
    from interactivepet.pipeline.judge.measure import Measured, MeasureOptions
    from interactivepet.pipeline.judge.measure_jobs import FoundCases
    from interactivepet.pipeline.judge.measure_references import GivenReference
    from interactivepet.settings import MachineSettings

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if arguments.task is None and arguments.images is None:
        parser.error("name the images with -i, or a task with -t")
    if arguments.task is not None and (arguments.images is not None or arguments.labels):
        parser.error("-t takes images and names of labels from the task; leave -i and -l out")

    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.judge.measure import run_measure

    options = _read_options(parser, arguments)
    found, settings = _find(arguments)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        measured = run_measure(found, arguments.out, options=options, executor=executor)
    _print(measured, arguments.out, pages=arguments.pages)
    return 1 if measured.failures else 0


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser("measure", "Measure uptake, volume, shape and spread of lesions, for any masks.")
    parser.add_argument("-t", "--task", help="name of a task's folder, in place of -i; without -p its labels")
    parser.add_argument("-i", "--images", type=Path, help="an image, a folder of images, or a tree of PET DICOM")
    parser.add_argument(
        "-p", "--masks", type=Path, help="a mask, or a folder of masks; without it, a DICOM tree's RTSTRUCT and SEG"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the tables and of a file per case")
    parser.add_argument("-l", "--labels", nargs="+", default=[], metavar="NAME", help="names of the values 1, 2, ...")
    parser.add_argument(
        "--unit",
        choices=UNITS[:-1],
        help="of the images; DICOM is converted to it (default: SUV by body weight, or what suv.json says)",
    )
    for organ in ("liver", "blood-pool"):
        parser.add_argument(
            f"--{organ}",
            nargs="+",
            type=float,
            metavar="N",
            help=f"{organ.replace('-', ' ')}: MEAN [SD [MAXIMUM]], or a sphere by X Y Z DIAMETER in RAS+ mm",
        )
    parser.add_argument("--references", type=Path, metavar="CSV", help="the same for each case, one row per organ")
    parser.add_argument("--pages", action="store_true", help="a page per case, and one that links them: index.html")
    add_dicom_reading(parser)
    add_processes(parser)
    return parser


def _read_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> MeasureOptions:
    from interactivepet.pipeline.judge.measure import MeasureOptions
    from interactivepet.pipeline.judge.measure_references import parse_reference, read_references

    organs: tuple[Organ, ...] = ("liver", "blood_pool")
    references: dict[Organ, GivenReference] = {}
    for organ in organs:
        numbers = getattr(arguments, organ)
        if numbers is not None:
            try:
                references[organ] = parse_reference(numbers)
            except ValueError as error:
                parser.error(f"--{organ.replace('_', '-')}: {error}")
    given = {} if arguments.references is None else read_references(arguments.references)
    return MeasureOptions(arguments.unit, references, given, arguments.pages)


def _find(arguments: argparse.Namespace) -> tuple[FoundCases, MachineSettings]:
    """Find the cases; a task needs the folders of tasks, files do not."""
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.judge.measure_jobs import find_cases, find_task_cases
    from interactivepet.settings import load_machine_settings, load_settings

    if arguments.task is not None:
        settings = load_settings()
        return find_task_cases(open_workspace(arguments.task, settings), arguments.masks), settings
    reading = DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake)
    found = find_cases(arguments.images, arguments.masks, labels=arguments.labels, unit=arguments.unit, reading=reading)
    return found, load_machine_settings()


def _print(measured: Measured, out: Path, *, pages: bool) -> None:
    """Show one row per case, and the cases that were not measured."""
    columns = ["case", "unit", "lesions", "max", "peak", "volume (ml)", "total"]
    print_table("measures of the patients", columns, [_make_row(case) for case in measured.cases])
    kept = f", {measured.n_kept} of them earlier" if measured.n_kept else ""
    print(f"{len(measured.cases)} cases measured{kept}: {out / 'patients.csv'}, labels.csv, lesions.csv, cases/")
    if pages:
        print(f"pages: {out / 'index.html'}")
    for case, reason in measured.failures.items():
        print(f"error: {case}: {reason}", file=sys.stderr)
    if measured.failures:
        print(f"{len(measured.failures)} not measured; the same command measures what is missing", file=sys.stderr)


def _make_row(case: CaseMeasures) -> list[str]:
    values = case.regions[-1].values
    names = (
        "n_lesions",
        name_uptake("max", case.unit),
        name_uptake("peak_global", case.unit),
        name_volume(case.unit),
        name_total(case.unit),
    )
    shown = [values[name] for name in names]
    return [case.case, case.unit, *("-" if value is None else f"{value:.6g}" for value in shown)]
