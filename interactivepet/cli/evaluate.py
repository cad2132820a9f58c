"""`interactivepet_evaluate`: score masks against labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_processes, add_task, make_parser, open_workspace, report_errors
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.report import Report

__all__ = ["main", "print_report"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "evaluate",
        "Score masks against labels; without -p, the final out-of-fold masks of the cross-validation.",
    )
    add_task(parser)
    parser.add_argument("-p", "--predictions", type=Path, help="folder of masks, CASE.nii.gz or another format")
    parser.add_argument(
        "-l", "--labels", type=Path, help="folder of labels (default: the task's labelsTr and labelsTs)"
    )
    parser.add_argument("-o", "--out", type=Path, help="folder of the report (default: the folder of the masks)")
    add_processes(parser)
    arguments = parser.parse_args(argv)
    if arguments.predictions is None and (arguments.labels is not None or arguments.out is not None):
        parser.error("-l and -o need -p")

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
