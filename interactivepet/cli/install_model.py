"""`interactivepet_install_model`: keep a model under a name, for `--model NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from interactivepet.cli.common import locate_model, make_parser, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("install_model", "Check a model and keep it under a name, for --model NAME.")
    parser.add_argument(
        "model",
        metavar="FILE|FOLDER|models:/NAME/VERSION",
        help="of interactivepet_export_model, or registered in MLflow",
    )
    parser.add_argument("--name", help="under which it is installed (default: its own)")
    arguments = parser.parse_args(argv)

    from interactivepet.model.installed import install_model
    from interactivepet.settings import load_machine_settings
    from interactivepet.tracking.registry import is_registered

    machine = load_machine_settings()
    store, source = machine.models, arguments.model
    with locate_model(source, machine) if is_registered(source) else nullcontext(Path(source)) as path:
        model = install_model(path, store, name=arguments.name)
    print(f"{model.path.name}: installed in {store}; use it with --model {model.path.name}")
    print(f"licence: {model.description.licence.splitlines()[0]}")
    return 0
