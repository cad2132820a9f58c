"""The body that a dose spreads in: its mass, lean mass or surface, from weight, height and sex of the header."""

from __future__ import annotations

from dataclasses import dataclass

from interactivepet.core.suv import SuvVariant
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = ["Body", "measure_body"]

LARGEST_WEIGHT_KG = 500
"""A larger number is a weight in grams."""
SMALLEST_WEIGHT_KG = 0.01
"""Less than any mouse."""
LARGEST_HEIGHT_M = 3
"""A larger number is a height in centimetres."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body and what uptake is taken relative to.

    Attributes:
        size: g for body weight and lean body mass, cm2 for body surface.
        formula: how `size` was found.
        weight_kg: after mending.
        height_m: after mending; None when it was not needed.
        sex: M or F; None when it was not needed.
        warnings: what was mended.
    """

    size: float
    formula: str
    weight_kg: float
    height_m: float | None = None
    sex: str | None = None
    warnings: tuple[str, ...] = ()


def measure_body(tags: PetTags, variant: SuvVariant) -> Body:
    """Find what uptake is taken relative to.

    Lean body mass follows Janmahasatian et al. 2005 (Clin Pharmacokinet 44:1051), which EANM's guideline for FDG
    (Boellaard et al. 2015) recommends: James' formula, which it replaces, falls again with rising weight in the
    obese. Body surface follows Du Bois and Du Bois 1916, in cm2 as DICOM's unit for this SUV is cm2/ml.

    Raises:
        CaseError: weight or height cannot be true.
    """
    weight, warnings = _mend_weight(tags.weight or 0.0)
    if variant == "bw":
        return Body(1000 * weight, "body weight", weight, warnings=warnings)
    height, more = _mend_height(tags.height or 0.0)
    if variant == "bsa":
        surface_m2 = 0.007184 * weight**0.425 * (100 * height) ** 0.725
        return Body(1e4 * surface_m2, "body surface of Du Bois 1916", weight, height, None, warnings + more)
    body_mass_index = weight / height**2
    divisor = 6680 + 216 * body_mass_index if tags.sex == "M" else 8780 + 244 * body_mass_index
    lean_kg = 9270 * weight / divisor
    return Body(1000 * lean_kg, "lean body mass of Janmahasatian 2005", weight, height, tags.sex, warnings + more)


def _mend_weight(weight: float) -> tuple[float, tuple[str, ...]]:
    kilograms = weight / 1000 if weight > LARGEST_WEIGHT_KG else weight
    if not SMALLEST_WEIGHT_KG <= kilograms <= LARGEST_WEIGHT_KG:
        raise CaseError(f"PatientWeight (0010,1030) {weight:g} is a weight neither in kg nor in g; correct it")
    mended = f"PatientWeight {weight:g} was taken as grams: {kilograms:g} kg"
    return kilograms, (mended,) if kilograms != weight else ()


def _mend_height(height: float) -> tuple[float, tuple[str, ...]]:
    metres = height / 100 if height > LARGEST_HEIGHT_M else height
    if not 0.2 <= metres <= LARGEST_HEIGHT_M:
        raise CaseError(f"PatientSize (0010,1020) {height:g} is a height neither in m nor in cm; correct it")
    return metres, (f"PatientSize {height:g} was taken as centimetres: {metres:g} m",) if metres != height else ()
