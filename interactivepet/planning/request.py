"""What a plan that is there says about how it was asked for, so that the same request leaves people's edits alone."""

from __future__ import annotations

from dataclasses import replace

from interactivepet.core.plan import Architecture, Budget, ConfigurationPlan, NegativeSampling, Plans
from interactivepet.planning.plan import PlanOptions

__all__ = ["complete_request", "is_planned", "set_negatives"]


def is_planned(present: Plans, budget: Budget | None, architecture: Architecture | None, options: PlanOptions) -> bool:
    """Whether the plans are what is asked for; None asks for nothing, and `negatives` never needs another plan."""
    own = present.configurations[present.default]
    schemes = {rule.scheme for rule in own.normalisation}
    same = (
        budget in (None, present.budget),
        architecture in (None, own.network.architecture),
        options.configurations in (None, tuple(present.configurations)),
        options.interactive in (None, own.crop.region == "clicks"),
        options.target_shape in (None, own.target_shape),
        options.normalise is None or schemes == {options.normalise},
    )
    return all(same)


def complete_request(
    present: Plans, budget: Budget | None, architecture: Architecture | None, options: PlanOptions
) -> tuple[Budget, Architecture, PlanOptions]:
    """Fill what is not asked for with what the present plans were made with, for the case that they are made anew.

    Configurations are left to the rules, since another budget calls for others; so is the normalisation unless it is
    `minmax`, since the plans do not tell what was asked for from what the intensities called for.
    """
    own = present.configurations[present.default]
    filled = replace(
        options,
        interactive=own.crop.region == "clicks" if options.interactive is None else options.interactive,
        target_shape=options.target_shape or own.target_shape,
        normalise=options.normalise or ("minmax" if _is_minmax(own) else None),
        negatives=options.negatives or own.training.negatives,
    )
    return budget or present.budget, architecture or own.network.architecture, filled


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
