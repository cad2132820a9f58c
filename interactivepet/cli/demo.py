"""`interactivepet_demo`: the whole walk on digital patients, into a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import make_parser, not_negative, positive, report_errors
from interactivepet.cli.evaluate import print_report

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; no environment variable is read."""
    parser = make_parser("demo", "Make digital PET patients and run the whole walk on them; the same command resumes.")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo"), help="where everything goes (default: demo)"
    )
    parser.add_argument("-e", "--epochs", type=positive, help="number of epochs of each fold (default: 6)")
    parser.add_argument("--iterations", type=positive, help="training steps per epoch (default: 40)")
    parser.add_argument("--n-training", type=positive, help="digital patients to train on (default: 15)")
    parser.add_argument("--n-test", type=positive, help="digital patients to test on (default: 10)")
    parser.add_argument(
        "--n-model", type=positive, help="further digital patients, for the small nnInteractive model (default: 40)"
    )
    parser.add_argument(
        "--model-iterations", type=positive, help="training steps of the small nnInteractive model (default: 800)"
    )
    parser.add_argument(
        "--seed", type=not_negative, default=2026, help="random seed of patients, folds and training (default: 2026)"
    )
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.demo import DemoSize, run_demo
    from interactivepet.settings import count_processors

    size = {name: value for name, value in vars(arguments).items() if name not in ("folder", "seed") and value}
    workspace, reports = run_demo(
        arguments.folder.absolute(), DemoSize(**size), seed=arguments.seed, n_cores=count_processors()
    )
    for mode in ("none", "extreme", "corrected"):
        print_report(reports[mode], workspace.results / "crossvalidation" / mode)
    print_report(reports["test"], workspace.predictions)
    return 0
