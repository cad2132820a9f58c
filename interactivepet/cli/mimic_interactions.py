"""`interactivepet_mimic_interactions`: clicks from labels, as a user would place them."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.cli.common import (
    add_processes,
    add_task,
    length_mm,
    make_parser,
    not_negative,
    open_workspace,
    report_errors,
)

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        "mimic_interactions",
        "Synthesise clicks from the labels: by default six interior margin points for every object of every label.",
    )
    add_task(parser)
    add_processes(parser)
    parser.add_argument("--no-extreme", action="store_true", help="leave the interior margin points out")
    parser.add_argument("--centre", action="store_true", help="add each object's deepest point")
    parser.add_argument(
        "--random", type=not_negative, default=0, metavar="N", help="add N random points inside each object"
    )
    parser.add_argument(
        "--boundary", type=not_negative, default=0, metavar="N", help="add N points on each object's inner boundary"
    )
    parser.add_argument(
        "--negative", type=not_negative, default=0, metavar="N", help="add N negative points beside each object"
    )
    parser.add_argument(
        "--noise-mm", type=length_mm, default=0.0, help="standard deviation of each click's displacement"
    )
    parser.add_argument("--inward-mm", type=length_mm, help="how far margin points move inwards (default: 1.5 voxels)")
    parser.add_argument("-s", "--seed", type=not_negative, default=0, help="of clicks and noise (default: 0)")
    parser.add_argument("--test", action="store_true", help="for labelsTs instead of labelsTr")
    parser.add_argument("--overwrite", action="store_true", help="replace click files that are there")
    arguments = parser.parse_args(argv)

    from interactivepet.guidance.simulate import ClickOptions
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.prepare.steps import run_mimic_interactions
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = ClickOptions(
        extreme=not arguments.no_extreme,
        centre=arguments.centre,
        n_random=arguments.random,
        n_boundary=arguments.boundary,
        n_negative=arguments.negative,
        noise_mm=arguments.noise_mm,
        inward_mm=arguments.inward_mm,
    )
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        n_written = run_mimic_interactions(
            workspace,
            executor,
            options=options,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
            test=arguments.test,
        )
    print(f"{workspace.clicks_folder(test=arguments.test)}: {n_written} click files written")
    return 0
