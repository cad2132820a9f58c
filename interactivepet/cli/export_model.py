"""`interactivepet_export_model`: write trained folds and the choice as one file that predicts anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import add_device, add_task, make_parser, open_workspace, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("export_model", "Write trained folds and the choice as one file that predicts anywhere.")
    add_task(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.zip", help="must not exist yet")
    parser.add_argument("--folds", type=int, nargs="+", default=[], help="folds to write (default: all complete ones)")
    parser.add_argument(
        "--promptable", action="store_true", help="also write the task's own promptable model, for its share of masks"
    )
    parser.add_argument(
        "--weights",
        choices=("float32", "float16"),
        help="how weights are stored (default: float16 where masks of unseen cases stay the same, else float32)",
    )
    add_device(parser)
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.predict.model_export import ModelExportOptions, run_model_export
    from interactivepet.settings import count_processors, load_settings

    settings = load_settings()
    options = ModelExportOptions(
        promptable=arguments.promptable,
        precision=arguments.weights,
        device=arguments.device or settings.device,
        n_threads=settings.n_threads or count_processors(),
    )
    workspace = open_workspace(arguments.task, settings)
    description = run_model_export(workspace, arguments.output, folds=arguments.folds, options=options)
    for configuration, records in description.folds.items():
        print(f"{arguments.output}: {configuration}, folds {', '.join(str(record.fold) for record in records)}")
    if description.promptable is not None:
        print(
            f"{arguments.output}: the task's own promptable model, trained on {description.promptable.n_training} cases"
        )
    size = f"{arguments.output.stat().st_size / 1e6:.1f} MB, weights as {description.precision}"
    print(f"{size}; licence: {description.licence.splitlines()[0]}")
    return 0
