"""`interactivepet_evaluate`: score masks against labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_processes, add_task, make_parser, open_workspace, report_errors
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.readers import ReadersReport
    from interactivepet.core.report import Report

__all__ = ["main", "print_report"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if arguments.readers is not None:
        if arguments.predictions is not None or arguments.labels is not None:
            parser.error("--readers compares these folders with each other; leave -p and -l out")
        if len(arguments.readers) < 2 or arguments.out is None:
            parser.error("--readers needs at least two folders, and -o for the results")
        return _compare_readers(arguments)
    if arguments.predictions is None and (arguments.labels is not None or arguments.out is not None):
        parser.error("-l and -o need -p")
    return _evaluate(arguments)


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "evaluate",
        "Score masks against labels; without -p, the final out-of-fold masks of the cross-validation.",
    )
    add_task(parser)
    parser.add_argument("-p", "--predictions", type=Path, help="folder of masks, CASE.nii.gz or another format")
    parser.add_argument(
        "-l", "--labels", type=Path, help="folder of labels (default: the task's labelsTr and labelsTs)"
    )
    parser.add_argument(
        "--readers",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folders of masks of several readers, compared with each other; names of labels come from -t",
    )
    parser.add_argument("-o", "--out", type=Path, help="folder of the report (default: the folder of the masks)")
    add_processes(parser)
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    """Score the masks of a folder, or those of the cross-validation."""
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.judge.evaluate import make_masks_request, run_evaluation
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    n_proc = arguments.n_proc or settings.n_proc
    if arguments.predictions is None:
        from interactivepet.pipeline.stages import run_cross_validation_reports

        for mode, report in run_cross_validation_reports(workspace, n_proc=n_proc).items():
            print_report(report, workspace.cross_validation(mode))
        return 0
    request = make_masks_request(workspace, arguments.predictions, labels_folder=arguments.labels)
    out = arguments.out or arguments.predictions
    with open_executor(n_proc) as executor:
        report = run_evaluation(request, out, executor=executor)
    print_report(report, out)
    return 0


def _compare_readers(arguments: argparse.Namespace) -> int:
    """Compare the masks of several readers."""
    from interactivepet.dataset.manifest import read_manifest
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.judge.readers import run_readers
    from interactivepet.settings import load_machine_settings, load_settings

    labels = None
    if arguments.task is not None:
        labels = read_manifest(open_workspace(arguments.task, load_settings()).raw).labels
    with open_executor(arguments.n_proc or load_machine_settings().n_proc) as executor:
        report = run_readers(arguments.readers, arguments.out, labels=labels, executor=executor)
    print_readers(report, arguments.out)
    return 1 if report.failed else 0


def print_readers(report: ReadersReport, folder: Path) -> None:
    """Show how far the readers agree, and the cases that could not be compared."""
    rows = [
        [label, pair.first, pair.second, "-" if pair.dice is None else f"{pair.dice:.3f}"]
        for label, pairs in report.pairs.items()
        for pair in pairs
    ]
    print_table("mean Dice of each pair of readers", ["label", "reader", "reader", "Dice"], rows)
    for label, variation in report.mean_volume_cv_percent.items():
        shown = "not defined" if variation is None else f"{variation:.1f} %"
        print(f"{label}: coefficient of variation of the volume {shown} on average")
    print(f"{folder / 'readers.csv'}, readers.json, consensus/")
    for case, reason in report.failed.items():
        print(f"error: {case}: {reason}", file=sys.stderr)


def print_report(report: Report, folder: Path) -> None:
    """Show the summary and where the pages are."""
    from interactivepet.reporting.report_page import HEADINGS, describe_lesion_free

    rows = [
        [row.label, HEADINGS[row.metric], str(row.n)]
        + [f"{value:.3f}" for value in (row.mean, row.std, row.median, row.minimum, row.maximum)]
        for row in report.summary
    ]
    columns = ["label", "metric", "n", "mean", "SD", "median", "min", "max"]
    mean = "-" if report.mean_dice is None else f"{report.mean_dice:.3f}"
    print_table(f"{report.title}: mean Dice {mean}", columns, rows)
    if report.lesion_free is not None:
        print(describe_lesion_free(report.lesion_free))
    print(report.provenance)
    print(f"report: {folder / 'report.html'}")
