"""`interactivepet_models`: what is installed, with labels, channels, scores and licence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interactivepet.cli.common import make_parser, report_errors

if TYPE_CHECKING:
    from interactivepet.model.folder import ModelFolder

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("models", "List the installed models.")
    parser.parse_args(argv)

    from interactivepet.model.installed import list_installed
    from interactivepet.settings import load_machine_settings

    store = load_machine_settings().models
    models = list_installed(store)
    if not models:
        print(f"no model is installed in {store}; install one with interactivepet_install_model FILE")
    for model in models:
        print(_describe(model))
    return 0


def _describe(model: ModelFolder) -> str:
    description = model.description
    labels = ", ".join(f"{name} = {value}" for name, value in description.plans.labels.items())
    choices = description.rule.choices if description.rule is not None else {}
    scores = ", ".join(f"{mode} {choice.nested_dice:.3f}" for mode, choice in choices.items()) or "not estimated"
    return (
        f"{model.path.name}\n  labels: {labels}\n  channels: {', '.join(description.plans.channels)}\n"
        f"  Dice to expect, by clicks: {scores}\n  licence: {description.licence.splitlines()[0]}"
    )
