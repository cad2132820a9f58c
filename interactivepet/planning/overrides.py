"""Exact changes to a plan, `KEY=VALUE`: checked by the plan's own model, and what follows from them worked out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from interactivepet.core.artefact import explain_refusal
from interactivepet.core.plan import PREPROCESSING_FIELDS, Configuration, ConfigurationPlan, Plans
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.sizing import NetworkSpec, cover_shape

__all__ = ["apply_overrides"]

GRID_KEYS = frozenset({"spacing_mm", "patch_size", "median_shape", "target_shape", "network"})
"""Configurations differ in these: without a configuration's name they are set in the default one (and its cascade)."""

SHAPING_KEYS = ("spacing_mm", "patch_size", "network.architecture")
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
        return self.key in SHAPING_KEYS


def apply_overrides(plans: Plans, overrides: Sequence[str]) -> Plans:
    """Set values of a plan, then work out what follows from them.

    When patch, spacing or architecture is set and nothing else of the network, its strides, kernels and widths are
    chosen again by the rules; the median shape follows the spacing; the memory of a step is estimated again.

    Args:
        plans: to change.
        overrides: `KEY=VALUE` or `CONFIGURATION:KEY=VALUE`. Keys are dotted, as `training.batch_size`; a value is
            JSON, a list with commas, or a word. What preprocessing of `3d_fullres` follows is set in `3d_cascade` too.

    Raises:
        PlanError: a key or configuration is not known, or the values are impossible together.
    """
    parsed = [_parse(text, plans) for text in overrides]
    changed: dict[Configuration, ConfigurationPlan] = {}
    for name in plans.configurations:
        own = [override for override in parsed if _concerns(override, name, plans)]
        changed[name] = _change(plans, name, own) if own else plans.configurations[name]
    content = {**plans.model_dump(), "configurations": {name: own.model_dump() for name, own in changed.items()}}
    try:
        return Plans.model_validate(content)
    except ValidationError as error:
        raise PlanError(f"{' '.join(overrides)}: {explain_refusal(error, Plans)}") from error


def _parse(text: str, plans: Plans) -> _Override:
    left, equals, right = text.partition("=")
    if not equals:
        raise PlanError(f"{text} is not KEY=VALUE, such as training.batch_size=4")
    configuration, colon, key = left.strip().rpartition(":")
    if colon and configuration not in plans.configurations:
        raise PlanError(f"{text}: {configuration} was not planned; there is {', '.join(plans.configurations)}")
    return _Override(text, configuration or None, tuple(key.strip().split(".")), _parse_value(right.strip()))


def _parse_value(text: str) -> object:
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        try:
            return json.loads(attempt)
        except json.JSONDecodeError:
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
    keys = {override.key for override in overrides}
    if "spacing_mm" in keys and "median_shape" not in keys:
        content["median_shape"] = _scale_shape(before, _read_triple(content, "spacing_mm"))
    sets_network = any(o.path[0] == "network" and not o.shapes for o in overrides)
    try:
        if any(o.shapes for o in overrides) and not sets_network:
            content["network"] = _shape_network(plans, content)
        changed = ConfigurationPlan.model_validate(content)
    except ValidationError as error:
        reason = explain_refusal(error, ConfigurationPlan)
        raise PlanError(f"{name}: {' '.join(o.text for o in overrides)}: {reason}") from error
    if any(o.path[0] == "memory" for o in overrides):
        return changed
    training = changed.training
    cost = estimate_cost(
        changed.patch_size, changed.network, batch_size=training.batch_size, optimizer=training.optimizer
    )
    return changed.model_copy(update={"memory": cost.memory})


def _set(content: dict[str, Any], override: _Override) -> None:
    place: Any = content
    for depth, part in enumerate(override.path):
        key: Any = int(part) if isinstance(place, list) and part.isdigit() else part
        known = [*place] if isinstance(place, Mapping) else [*range(len(place))] if isinstance(place, list) else []
        if key not in known:
            raise PlanError(f"{override.text}: {_describe_unknown(override.path[: depth + 1], known, content)}")
        if depth == len(override.path) - 1:
            place[key] = override.value
        else:
            place = place[key]


def _describe_unknown(path: tuple[str, ...], known: Sequence[object], content: Mapping[str, Any]) -> str:
    wrong, parents = ".".join(path), path[:-1]
    here = [".".join((*parents, str(name))) for name in known]
    exact = [key for key in _list_keys(content) if key.rpartition(".")[2] == path[-1]]
    near = exact or difflib.get_close_matches(wrong, here, n=1) or _find_elsewhere(path[-1], content)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(here) or 'nothing, it is a value'}"
    return f"{wrong}: no such key, {hint}"


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
    if not is_triple or not all(isinstance(edge, int | float) and edge > 0 for edge in value):
        raise PlanError(f"{name}={value!r} is not three numbers above 0, along i, j and k, such as 64,64,48")
    i, j, k = value
    return (i, j, k)


def _scale_shape(before: ConfigurationPlan, spacing: Sequence[float]) -> list[int]:
    return [
        n if n == 1 else max(1, round(n * old / new))
        for n, old, new in zip(before.median_shape, before.spacing_mm, spacing, strict=True)
    ]


def _shape_network(plans: Plans, content: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the network for the patch and spacing that were set.

    Raises:
        PlanError: no network of the rules divides the patch.
    """
    spec = NetworkSpec(
        content["network"]["architecture"],
        n_inputs=content["network"]["input_channels"],
        n_outputs=content["network"]["output_channels"],
        budget=BUDGETS[plans.budget],
    )
    i, j, k = (int(edge) for edge in _read_triple(content, "patch_size"))
    spacing = _read_triple(content, "spacing_mm")
    whole = cover_shape((i, j, k), spacing, spec=spec)
    if whole != (i, j, k):
        nearest = ",".join(map(str, whole))
        raise PlanError(f"patch_size={i},{j},{k} is not what the network halves; the next that is: {nearest}")
    return spec.make_network(whole, spacing).model_dump()
