"""`interactivepet_export_model`: write trained folds and the choice as one file that predicts anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import add_task, make_parser, open_workspace, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("export_model", "Write trained folds and the choice as one file that predicts anywhere.")
    add_task(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.zip", help="must not exist yet")
    parser.add_argument("--folds", type=int, nargs="+", default=[], help="folds to write (default: all complete ones)")
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.predict.model_export import run_model_export
    from interactivepet.settings import load_settings

    workspace = open_workspace(arguments.task, load_settings())
    description = run_model_export(workspace, arguments.output, folds=arguments.folds)
    for configuration, records in description.folds.items():
        print(f"{arguments.output}: {configuration}, folds {', '.join(str(record.fold) for record in records)}")
    print(f"{arguments.output.stat().st_size / 1e6:.1f} MB; licence: {description.licence.splitlines()[0]}")
    return 0
