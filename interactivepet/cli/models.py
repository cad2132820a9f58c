"""`interactivepet_models`: what is installed, with labels, channels, scores and licence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interactivepet.cli.common import make_parser, report_errors

if TYPE_CHECKING:
    from interactivepet.model.description import ModelDescription
    from interactivepet.model.folder import ModelFolder
    from interactivepet.model.scores import ModelScore

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("models", "List the installed models, and those that come with the package.")
    parser.parse_args(argv)

    from interactivepet.model.folder import open_model
    from interactivepet.model.installed import list_installed, list_shipped
    from interactivepet.settings import load_machine_settings

    store = load_machine_settings().models
    models = list_installed(store)
    if not models:
        print(f"no model is installed in {store}; install one with interactivepet_install_model FILE")
    for model in models:
        print(_describe(model, name=model.path.name))
    for name, path in list_shipped().items():
        with open_model(path) as model:
            is_hidden = name in {known.path.name for known in models}
            origin = "comes with the package" + ("; the installed model of this name is used" if is_hidden else "")
            print(_describe(model, name=f"{name} ({origin})"))
    return 0


def _describe(model: ModelFolder, *, name: str) -> str:
    from interactivepet.model.scores import describe_curve, describe_promptable

    description = model.description
    labels = ", ".join(f"{name} = {value}" for name, value in description.plans.labels.items())
    lines = [
        name,
        f"labels: {labels}",
        f"channels: {', '.join(description.plans.channels)}",
        f"Dice to expect: {_list_scores(description) or 'not estimated'}",
        *map(describe_curve, description.curves),
        *([told] if (told := describe_promptable(description)) else []),
        f"licence: {description.licence.splitlines()[0]}",
    ]
    return "\n  ".join(lines)


def _list_scores(description: ModelDescription) -> str:
    """Give the score of what is in the file for each kind of clicks."""
    from interactivepet.model.scores import list_scores

    return "; ".join(
        f"{score.clicks}: {_describe_score(score, is_alone=description.lacks_promptable and score.share > 0)}"
        for score in list_scores(description)
    )


def _describe_score(score: ModelScore, *, is_alone: bool) -> str:
    if not is_alone:
        return f"{score.nested:.3f}"
    alone = "unknown" if score.alone is None else f"{score.alone:.3f} on the cases of the choice"
    return f"{alone} ({score.nested:.3f} with nnInteractive)"
