"""Exact changes to a plan, `KEY=VALUE`: checked by the plan's own model, and what follows from them worked out."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from interactivepet.core.artefact import explain_refusal
from interactivepet.core.geometry import to_triple
from interactivepet.core.plan import (
    PREPROCESSING_FIELDS,
    Architecture,
    Budget,
    Configuration,
    ConfigurationPlan,
    Plans,
    UNetPlan,
)
from interactivepet.dataset.files.json_text import parse_json
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS, find_most_gb, get_memory_gb
from interactivepet.planning.cost import Cost, estimate_cost
from interactivepet.planning.sizing import ModelLayers, NetworkSpec, cover_shape

__all__ = ["apply_overrides", "explain_excess"]

logger = logging.getLogger(__name__)

GRID_KEYS = frozenset({"spacing_mm", "patch_size", "median_shape", "target_shape", "network"})
"""Configurations differ in these: without a configuration's name they are set in the default one (and its cascade)."""

SHAPING_KEYS = frozenset({"spacing_mm", "patch_size", "network.architecture"})
"""The network follows from these by the planner's rules, unless it is set as well."""


@dataclass(frozen=True, slots=True)
class _Override:
    """One `[CONFIGURATION:]KEY=VALUE`.

    Attributes:
        text: as it was given.
        configuration: None for all that the key concerns.
        path: the parts of the dotted key.
        value: parsed.
    """

    text: str
    configuration: str | None
    path: tuple[str, ...]
    value: object

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.path)

    @property
    def shapes(self) -> bool:
        """Whether the network follows from it."""
        return self.key in SHAPING_KEYS or self.path[0] in SHAPING_KEYS


def apply_overrides(plans: Plans, overrides: Sequence[str]) -> Plans:
    """Set values of a plan, then work out what follows from them.

    When patch, spacing or architecture is set and nothing else of the network, its strides, kernels and widths are
    chosen again by the rules, but for a plan that has the layers of a model, which it keeps; the median shape follows
    the spacing; the memory of a step is estimated again. Logs a warning for each configuration whose training step
    exceeds the budget, whoever edited it.

    Args:
        plans: to change.
        overrides: `KEY=VALUE` or `CONFIGURATION:KEY=VALUE`. Keys are dotted, as `training.batch_size`; a value is
            JSON, a list with commas, or a word. What preprocessing of `3d_fullres` follows is set in `3d_cascade` too.

    Raises:
        PlanError: a key or configuration is not known, the values are impossible together, or a training step needs
            more memory than any machine for the budget has.
    """
    parsed = [_parse(text, plans) for text in overrides]
    changed: dict[Configuration, ConfigurationPlan] = {}
    touched: set[Configuration] = set()
    for name in plans.configurations:
        own = [override for override in parsed if _concerns(override, name, plans)]
        changed[name] = _change(plans, name, own) if own else plans.configurations[name]
        touched |= {name} if own else set()
    content = {**plans.model_dump(), "configurations": {name: own.model_dump() for name, own in changed.items()}}
    try:
        result = Plans.model_validate(content)
    except ValidationError as error:
        raise PlanError(f"{' '.join(overrides)}: {explain_refusal(error, Plans, content=content)}") from error
    for name, configuration in result.configurations.items():
        excess = explain_excess(configuration, plans.budget)
        if excess is None:
            continue
        limit_gb = find_most_gb(plans.budget)
        if name in touched and get_memory_gb(_estimate(configuration), BUDGETS[plans.budget]) > limit_gb:
            raise PlanError(f"{name}: {excess}; no plan above {limit_gb:.0f} GB is written")
        logger.warning("%s: %s", name, excess)
    return result


def explain_excess(own: ConfigurationPlan, budget: Budget) -> str | None:
    """Say by how much a training step exceeds the memory of the budget; None where it does not.

    The step is estimated anew, since the estimate in a plan that was edited by hand is that of before.
    """
    needed_gb, limit_gb = get_memory_gb(_estimate(own), BUDGETS[budget]), BUDGETS[budget].memory_gb
    if needed_gb <= limit_gb:
        return None
    return (
        f"patch {own.patch_size} and batch {own.training.batch_size} need about {needed_gb:.1f} GB a training step, "
        f"the budget {budget} has {limit_gb:g} GB; lower patch_size or training.batch_size, or give another --budget"
    )


def _estimate(own: ConfigurationPlan) -> Cost:
    training = own.training
    return estimate_cost(own.patch_size, own.network, batch_size=training.batch_size, optimizer=training.optimizer)


def _parse(text: str, plans: Plans) -> _Override:
    left, equals, right = text.partition("=")
    path = tuple(left.rpartition(":")[2].strip().split("."))
    if not equals or not all(path):
        raise PlanError(f"{text} is not KEY=VALUE, such as training.batch_size=4")
    configuration, colon, _ = left.strip().rpartition(":")
    if colon and configuration not in plans.configurations:
        raise PlanError(f"{text}: {configuration} was not planned; there is {', '.join(plans.configurations)}")
    if path[0] == "target_shape":
        raise PlanError(f"{text}: spacing, median shape and patch follow from it; use --target-shape I J K")
    return _Override(text, configuration or None, path, _parse_value(right.strip()))


def _parse_value(text: str) -> object:
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        try:
            return parse_json(attempt)
        except ValueError:
            continue
    return text


def _concerns(override: _Override, name: Configuration, plans: Plans) -> bool:
    if override.configuration is not None:
        # the cascade is trained on the cases of the full resolution
        shared = override.configuration == "3d_fullres" and override.path[0] in PREPROCESSING_FIELDS
        return override.configuration == name or (shared and name == "3d_cascade")
    if override.path[0] not in GRID_KEYS:
        return True
    return name == plans.default or (name == "3d_cascade" and plans.default == "3d_fullres")


def _change(plans: Plans, name: Configuration, overrides: Sequence[_Override]) -> ConfigurationPlan:
    before = plans.configurations[name]
    content = before.model_dump(mode="json")
    for override in overrides:
        _set(content, override)
    fields = {override.path[0] for override in overrides}
    # on a fixed grid every case has the target shape, whatever its spacing
    if "spacing_mm" in fields and "median_shape" not in fields and before.target_shape is None:
        content["median_shape"] = _scale_shape(before, _read_triple(content, "spacing_mm"))
    if any(override.key == "network.architecture" for override in overrides):
        content["layers_of"] = ""
    sets_network = any(o.path[0] == "network" and not o.shapes for o in overrides)
    try:
        if any(o.shapes for o in overrides) and not sets_network:
            content["network"] = _shape_network(plans, content)
        changed = ConfigurationPlan.model_validate(content)
    except ValidationError as error:
        raise PlanError(f"{name}: {_blame(error, overrides, content=content)}") from error
    if "memory" in fields:
        return changed
    return changed.model_copy(update={"memory": _estimate(changed).memory})


def _blame(error: ValidationError, overrides: Sequence[_Override], *, content: Mapping[str, Any]) -> str:
    """Say what was refused after the override that set it, or after all where it is none of them alone."""
    reason = explain_refusal(error, ConfigurationPlan, content=content)
    field, _, words = reason.partition(": ")
    for override in overrides:
        if override.key == field:
            return f"{override.text}: {words}"
    return f"{' '.join(override.text for override in overrides)}: {reason}"


def _set(content: dict[str, Any], override: _Override) -> None:
    place: Any = content
    for depth, part in enumerate(override.path):
        key: Any = int(part) if isinstance(place, list) and part.isdigit() else part
        known = [*place] if isinstance(place, Mapping) else [*range(len(place))] if isinstance(place, list) else []
        if key not in known:
            wrong = "" if depth == len(override.path) - 1 else ".".join(override.path[: depth + 1]) + ": "
            hint = _find_hint(override.path[: depth + 1], known, content)
            raise PlanError(f"{override.text}: {wrong}no such key, {hint}")
        if depth == len(override.path) - 1:
            place[key] = override.value
        else:
            place = place[key]


def _find_hint(path: tuple[str, ...], known: Sequence[object], content: Mapping[str, Any]) -> str:
    wrong, parents = ".".join(path), path[:-1]
    here = [".".join((*parents, str(name))) for name in known]
    exact = [key for key in _list_keys(content) if key.rpartition(".")[2] == path[-1]]
    near = exact or difflib.get_close_matches(wrong, here, n=1) or _find_elsewhere(path[-1], content)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(here) or 'nothing, it is a value'}"


def _find_elsewhere(word: str, content: Mapping[str, Any]) -> list[str]:
    """Find the dotted key whose last part is nearest to a word."""
    keys = {key.rpartition(".")[2]: key for key in _list_keys(content)}
    return [keys[name] for name in difflib.get_close_matches(word, keys, n=1)]


def _list_keys(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in content.items():
        keys.append(prefix + name)
        if isinstance(value, Mapping):
            keys += _list_keys(value, f"{prefix}{name}.")
    return keys


def _read_triple(content: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    value = content[name]
    is_triple = isinstance(value, list) and len(value) == 3
    if not is_triple or not all(isinstance(edge, int | float) and 0 < edge < math.inf for edge in value):
        raise PlanError(f"{name}={value!r} is not three numbers above 0, along i, j and k, such as 64,64,48")
    return to_triple(value)


def _scale_shape(before: ConfigurationPlan, spacing: Sequence[float]) -> list[int]:
    return [
        n if n == 1 else max(1, round(n * old / new))
        for n, old, new in zip(before.median_shape, before.spacing_mm, spacing, strict=True)
    ]


def _find_layers(content: Mapping[str, Any]) -> ModelLayers | None:
    """Give the layers of the model whose layers a configuration has."""
    name = content["layers_of"]
    return ModelLayers(name, UNetPlan.model_validate(content["network"])) if name else None


def _shape_network(plans: Plans, content: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the network for the patch and spacing that were set.

    Raises:
        PlanError: no network of the rules divides the patch, or no such architecture is known.
    """
    architecture = content["network"]["architecture"]
    if architecture not in get_args(Architecture):
        raise PlanError(f"network.architecture={architecture}: there is {', '.join(get_args(Architecture))}")
    spec = NetworkSpec(
        architecture,
        n_inputs=content["network"]["input_channels"],
        n_outputs=content["network"]["output_channels"],
        budget=BUDGETS[plans.budget],
        layers=_find_layers(content),
    )
    i, j, k = (int(edge) for edge in _read_triple(content, "patch_size"))
    spacing = _read_triple(content, "spacing_mm")
    whole = cover_shape((i, j, k), spacing, spec=spec)
    if whole != (i, j, k):
        nearest = ",".join(map(str, whole))
        raise PlanError(f"patch_size={i},{j},{k} is not what the network halves; the next that is: {nearest}")
    return spec.make_network(whole, spacing).model_dump()
