"""What is asked of the planner, and whether the plans that are there say it: then people's edits of them are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import Architecture, Budget, ConfigurationPlan, NegativeSampling, Plans, UNetPlan
from interactivepet.planning.overrides import apply_overrides
from interactivepet.planning.plan import DEFAULT_OPTIONS, PlanOptions, make_plans
from interactivepet.planning.sizing import ModelLayers

__all__ = ["DEFAULT_REQUEST", "PlanRequest", "answer_request", "complete_request", "is_planned", "set_negatives"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is asked of the planner.

    Attributes:
        budget: None keeps the present plans', or takes `cpu` when there are none.
        architecture: a family, or the layers of a trained model; None keeps the present plans', or takes `plain`.
        options: what is None in them keeps the present plans' choice, or leaves it to the rules.
        overrides: `KEY=VALUE`, applied last.
    """

    budget: Budget | None = None
    architecture: Architecture | ModelLayers | None = None
    options: PlanOptions = DEFAULT_OPTIONS
    overrides: tuple[str, ...] = ()


DEFAULT_REQUEST = PlanRequest()
"""The present plans are kept, or everything is left to the rules."""


def answer_request(fingerprint: Fingerprint, request: PlanRequest, *, present: Plans | None = None) -> Plans:
    """Give the present plans as long as they are of the fingerprint and say what is asked for, or make new ones.

    New plans take configurations from the rules, and normalisation too unless it is `minmax`.

    Args:
        fingerprint: of the task.
        request: what is asked for.
        present: the plans that are there, perhaps edited by people.

    Raises:
        PlanError: no plan fits, or an override is not understood.
    """
    if present is None or present.made_from != fingerprint.content_hash() or not is_planned(present, request):
        plans = _make_plans(fingerprint, request if present is None else complete_request(request, present))
    else:
        plans = set_negatives(present, request.options.negatives)
    return apply_overrides(plans, request.overrides)


def _make_plans(fingerprint: Fingerprint, request: PlanRequest) -> Plans:
    return make_plans(
        fingerprint, request.budget or "cpu", architecture=request.architecture or "plain", options=request.options
    )


def is_planned(present: Plans, request: PlanRequest) -> bool:
    """Whether the plans are what is asked for; None asks for nothing, and `negatives` never needs another plan."""
    own, options = present.configurations[present.default], request.options
    schemes = {rule.scheme for rule in own.normalisation}
    same = (
        request.budget in (None, present.budget),
        request.architecture is None or _has_architecture(own, request.architecture),
        options.configurations in (None, tuple(present.configurations)),
        options.interactive in (None, own.crop.region == "clicks"),
        options.target_shape in (None, own.target_shape),
        options.normalise is None or schemes == {options.normalise},
    )
    return all(same)


def complete_request(request: PlanRequest, present: Plans) -> PlanRequest:
    """Fill what is not asked for with what the present plans were made with.

    Configurations are left to the rules, since another budget calls for others; so is the normalisation unless it is
    `minmax`, since the plans do not tell what was asked for from what the intensities called for.
    """
    own, options = present.configurations[present.default], request.options
    filled = replace(
        options,
        interactive=own.crop.region == "clicks" if options.interactive is None else options.interactive,
        target_shape=options.target_shape or own.target_shape,
        normalise=options.normalise or ("minmax" if _is_minmax(own) else None),
        negatives=options.negatives or own.training.negatives,
    )
    architecture = request.architecture or _find_architecture(own)
    return replace(request, budget=request.budget or present.budget, architecture=architecture, options=filled)


def _has_architecture(own: ConfigurationPlan, wanted: Architecture | ModelLayers) -> bool:
    """Whether a configuration's network is of a family, or has the layers of a model and says so."""
    if isinstance(wanted, ModelLayers):
        return own.layers_of == wanted.name and wanted.is_of(own.network)
    return not own.layers_of and own.network.architecture == wanted


def _find_architecture(own: ConfigurationPlan) -> Architecture | ModelLayers:
    """Give the family of a configuration's network, or the model whose layers it has."""
    if own.layers_of and isinstance(own.network, UNetPlan):
        return ModelLayers(own.layers_of, own.network)
    return own.network.architecture


def _is_minmax(own: ConfigurationPlan) -> bool:
    """Whether every channel has the one scheme that the rules never choose, so that it must have been asked for."""
    return all(rule.scheme == "minmax" for rule in own.normalisation)


def set_negatives(plans: Plans, negatives: NegativeSampling | None) -> Plans:
    """Set how often cases without any label are drawn, in every configuration; None changes nothing."""
    if negatives is None:
        return plans
    changed = {
        name: own.model_copy(update={"training": own.training.model_copy(update={"negatives": negatives})})
        for name, own in plans.configurations.items()
    }
    return plans.model_copy(update={"configurations": changed})
