"""Names of the methods without training that clinics use, beside which networks are measured."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["CLASSICAL_METHODS", "ClassicalMethod"]

ClassicalMethod = Literal[
    "threshold41", "threshold50", "suv2.5", "suv4", "percist", "nestle", "watershed", "randomwalker", "ellipsoid"
]
"""A share of the maximum, a fixed SUV, a threshold that follows liver or contrast, two region methods, or a shape."""

CLASSICAL_METHODS: tuple[ClassicalMethod, ...] = get_args(ClassicalMethod)
