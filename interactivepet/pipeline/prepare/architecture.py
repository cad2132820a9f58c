"""The architecture that a plan is asked for: a family of networks, or the layers of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from interactivepet.core.plan import Architecture, UNetPlan
from interactivepet.errors import ModelError, PlanError
from interactivepet.model.folder import ModelFolder, open_model
from interactivepet.model.installed import find_model
from interactivepet.planning.sizing import ModelLayers

__all__ = ["find_architecture", "find_layers"]


def find_architecture(text: str | None, store: Path) -> Architecture | ModelLayers | None:
    """Find what `--architecture` names.

    Args:
        text: a family, or what `--model` takes: a zip file, a folder or an installed model's name.
        store: folder of the installed models.

    Raises:
        PlanError: it is none of these, or a model whose layers do not suit other tasks.
    """
    families = get_args(Architecture)
    if text is None or text in families:
        return cast(Architecture | None, text)
    try:
        with open_model(find_model(text, store)) as model:
            return find_layers(model)
    except ModelError as error:
        raise PlanError(f"--architecture is none of {', '.join(families)} and no model: {error}") from error


def find_layers(model: ModelFolder) -> ModelLayers:
    """Give the layers of the configuration that a model predicts with first.

    Raises:
        PlanError: the network is a transformer.
    """
    network = model.description.plans.configurations[model.description.needed[0]].network
    if not isinstance(network, UNetPlan):
        raise PlanError(
            f"{model.source} is a {network.architecture}, whose layers follow from the patch; plan with "
            f"--architecture {network.architecture}"
        )
    return ModelLayers(model.manifest.name, network)
