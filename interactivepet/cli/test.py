"""`interactivepet_test`: predict the labelled test cases and score them."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.cli.common import add_processes, add_task, make_parser, open_workspace, report_errors
from interactivepet.cli.evaluate import print_report
from interactivepet.cli.predict import add_prediction, make_prediction_options

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "test", "Predict imagesTs, with clicks from labelsTs where none are there, and score the masks."
    )
    add_task(parser)
    add_prediction(parser)
    add_processes(parser)
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.stages import run_test
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    report = run_test(
        workspace,
        options=make_prediction_options(arguments, settings),
        n_proc=arguments.n_proc or settings.n_proc,
    )
    print_report(report, workspace.predictions)
    return 0
