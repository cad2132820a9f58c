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
    parser = make_parser("install_model", "Check a model and keep it under a name, for --model NAME, or remove it.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "model",
        nargs="?",
        metavar="FILE|FOLDER|models:/NAME/VERSION",
        help="of interactivepet_export_model, or registered in MLflow",
    )
    what.add_argument("--remove", metavar="NAME", help="delete the model that is installed under this name")
    parser.add_argument("--name", help="under which it is installed (default: its own)")
    arguments = parser.parse_args(argv)
    if arguments.remove is not None and arguments.name is not None:
        parser.error("--name goes with a FILE or FOLDER; --remove names the model itself")

    from interactivepet.settings import load_machine_settings
    from interactivepet.tracking.registry import is_registered

    machine = load_machine_settings()
    if arguments.remove is not None:
        _remove(arguments.remove, machine.models)
        return 0
    source = arguments.model
    with locate_model(source, machine) if is_registered(source) else nullcontext(Path(source)) as path:
        _install(path, machine.models, name=arguments.name)
    return 0


def _install(source: Path, store: Path, *, name: str | None) -> None:
    from interactivepet.model.installed import install_model, list_shipped

    model = install_model(source, store, name=name)
    print(f"{model.path.name}: installed in {store}; use it with --model {model.path.name}")
    if model.path.name in list_shipped():
        print(f"{model.path.name}: takes the place of the model of this name that comes with the package")
    print(f"licence: {model.description.licence.splitlines()[0]}")


def _remove(name: str, store: Path) -> None:
    from interactivepet.model.installed import list_shipped, remove_model

    remove_model(name, store)
    print(f"{name}: removed from {store}")
    if name in list_shipped():
        print(f"{name}: --model {name} now means the model that comes with the package")
