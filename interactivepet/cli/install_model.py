"""`interactivepet_install_model`: keep a model under a name, for `--model NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import make_parser, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("install_model", "Check a model and keep it under a name, for --model NAME.")
    parser.add_argument("model", type=Path, metavar="FILE|FOLDER", help="of interactivepet_export_model")
    parser.add_argument("--name", help="under which it is installed (default: its own)")
    arguments = parser.parse_args(argv)

    from interactivepet.model.installed import install_model
    from interactivepet.settings import load_machine_settings

    store = load_machine_settings().models
    model = install_model(arguments.model, store, name=arguments.name)
    print(f"{model.path.name}: installed in {store}; use it with --model {model.path.name}")
    print(f"licence: {model.description.licence.splitlines()[0]}")
    return 0
