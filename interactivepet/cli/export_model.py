"""`interactivepet_export_model`: write trained folds and the choice as one file that predicts anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_device, add_task, make_parser, open_workspace, report_errors

if TYPE_CHECKING:
    from interactivepet.pipeline.workspace import Workspace

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("export_model", "Write trained folds and the choice as one file that predicts anywhere.")
    add_task(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", type=Path, metavar="NAME.zip", help="must not exist yet")
    target.add_argument(
        "--grand-challenge", type=Path, metavar="FOLDER", help="write a container for autoPET V instead; must be new"
    )
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
    if arguments.grand_challenge is not None:
        return _write_container(workspace, arguments.grand_challenge, folds=arguments.folds)
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


def _write_container(workspace: Workspace, folder: Path, *, folds: Sequence[int]) -> int:
    from interactivepet.pipeline.predict.container import run_container_export

    run_container_export(workspace, folder, folds=folds)
    print(f"{folder}: a container for autoPET V; its README.md says how to build, test and save it")
    return 0
