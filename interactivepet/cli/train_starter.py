"""`interactivepet_train_starter`: the model that comes with the package, made from digital patients alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import make_parser, not_negative, positive, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; no environment variable is read."""
    parser = make_parser(
        "train_starter",
        "Make digital patients of every kind and train the starter model on them; the same command resumes.",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("starter"), help="where everything goes (default: starter)"
    )
    parser.add_argument("--n-patients", type=positive, help="digital patients (default: 900)")
    parser.add_argument("-e", "--epochs", type=positive, help="number of epochs (default: 80)")
    parser.add_argument("--iterations", type=positive, help="training steps per epoch (default: 100)")
    parser.add_argument(
        "--seed", type=not_negative, default=1, help="random seed of patients, split and training (default: 1)"
    )
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.starter import StarterSize, run_train_starter
    from interactivepet.settings import count_processors

    size = {name: value for name, value in vars(arguments).items() if name not in ("folder", "seed") and value}
    path = run_train_starter(
        arguments.folder.absolute(), StarterSize(**size), seed=arguments.seed, n_cores=count_processors()
    )
    print(path)
    return 0
