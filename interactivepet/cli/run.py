"""`interactivepet_run`: everything, from raw images to scored masks; the same command resumes."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.cli.common import (
    add_processes,
    add_task,
    choose_promptable,
    make_parser,
    make_tracker,
    open_workspace,
    report_errors,
)
from interactivepet.cli.evaluate import print_report
from interactivepet.cli.plan_and_process import add_planning, make_planning
from interactivepet.cli.postprocessing import (
    add_corrections,
    add_promptable,
    add_registration,
    check_registration,
)
from interactivepet.cli.train import add_training, make_training_options
from interactivepet.cli.verify import print_issues

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "run", "The whole walk: verify, plan, train all folds, choose, test. The same command resumes."
    )
    add_task(parser)
    add_planning(parser)
    add_training(parser)
    add_promptable(parser)
    add_corrections(parser)
    add_registration(parser)
    add_processes(parser)
    arguments = parser.parse_args(argv)
    check_registration(parser, arguments)

    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.pipeline.stages import RunOptions, run_all
    from interactivepet.settings import count_processors, load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    n_cores = count_processors()
    options = RunOptions(
        planning=make_planning(arguments, settings),
        training=make_training_options(arguments, settings, seed=arguments.seed or 0),
        prediction=PredictionOptions(
            tta=arguments.tta,
            device=arguments.device or settings.device,
            n_threads=settings.n_threads or n_cores,
            promptable=choose_promptable(arguments.nninteractive, settings),
        ),
        tracker=make_tracker(workspace, settings),
        n_cores=n_cores,
        with_corrections=arguments.corrections,
        with_registration=arguments.register,
        champion=arguments.champion,
    )
    reports = run_all(workspace, options=options, show_issues=print_issues)
    for name, report in reports.items():
        folder = workspace.predictions if name == "test" else workspace.results / "crossvalidation" / name
        print_report(report, folder)
    return 0
