"""Whether an image shows far more than those that the networks were trained on."""

from __future__ import annotations

import logging

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.plan import Plan

__all__ = ["warn_of_size"]

logger = logging.getLogger(__name__)

MOST_GROWTH = 3.0
"""How much longer than the training cases an image may be along an axis before the user is warned: people and beds
differ less, a cut-out and a whole body more."""


def warn_of_size(case: Case, plan: Plan) -> None:
    """Warn of an image that shows far more than those of training did, such as a whole body after cut-outs."""
    if plan.target_shape is not None or plan.crop.region == "clicks":
        return
    # in the order of their length, since an image may lie otherwise
    found = np.sort(np.asarray(case.geometry.shape) * case.geometry.spacing_mm)
    usual = np.sort(np.asarray(plan.median_shape) * plan.spacing_mm)
    if (found / usual).max() > MOST_GROWTH:
        logger.warning(
            "%s measures %s mm, the training cases %s mm in the median: what lies outside of anything that the "
            "networks have seen they may take for a lesion; cut the image as the training cases were",
            case.id,
            " x ".join(f"{mm:.0f}" for mm in found),
            " x ".join(f"{mm:.0f}" for mm in usual),
        )
