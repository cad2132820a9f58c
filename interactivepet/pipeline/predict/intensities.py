"""Whether an image is in the unit that the networks were trained in."""

from __future__ import annotations

import logging

from interactivepet.core.case import Case
from interactivepet.core.intensities import FACTOR_LIMIT, measure_range
from interactivepet.errors import CaseError
from interactivepet.pipeline.predict.models import Models

__all__ = ["check_intensities"]

logger = logging.getLogger(__name__)

FIXED_SCHEMES = ("ct", "suv")
"""Schemes of normalisation that take intensities as they are; the others divide by what each image holds."""


def check_intensities(case: Case, models: Models, *, any_intensity: bool) -> None:
    """Compare an image with what training saw, in the channels that have a unit.

    Args:
        case: image (C, I, J, K) in the unit of its files.
        models: what it is to be predicted with.
        any_intensity: warn of an image in another unit instead of refusing it.

    Raises:
        CaseError: a channel is more than `FACTOR_LIMIT` times stronger or weaker than that of any training case.
    """
    plan = models.plans.plan(models.plans.default)
    seen = models.intensities or (None,) * len(plan.channels)
    for channel, name, rule, known in zip(case.image, plan.channels, plan.normalisation, seen, strict=True):
        found = measure_range(channel) if known is not None and rule.scheme in FIXED_SCHEMES else None
        if found is None or known is None:
            continue
        described = f"{case.id}: {name} {found}, in the training cases {known}"
        factor = found.factor(known)
        if factor > FACTOR_LIMIT and not any_intensity:
            how = "more" if found.is_stronger(known) else "less"
            raise CaseError(
                f"{described}: {factor:.0f} times {how} than in any of them, so it is in another unit; convert the "
                "image, or predict it as it is with --any-intensity"
            )
        if factor > FACTOR_LIMIT or found.is_outside(known):
            logger.warning("%s; if it is in another unit its mask is wrong: convert the image", described)
