"""The body that a dose spreads in: its mass, lean mass, ideal mass or surface, from weight, height and sex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from interactivepet.core.suv import SuvVariant
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = ["SIZE_OF_VARIANT", "Body", "BodySize", "list_body_tags", "measure_body"]

LARGEST_WEIGHT_KG = 500
"""A larger number is a weight in grams."""
SMALLEST_WEIGHT_KG = 0.01
"""Less than any mouse."""
LARGEST_HEIGHT_M = 3
"""A larger number is a height in centimetres."""

BodySize = Literal["BW", "LBM", "LBMJAMES128", "LBMJANMA", "IBW", "BSA"]
"""What uptake may be taken relative to, as SUVType (0054,1006) names it."""
SIZE_OF_VARIANT: dict[SuvVariant, BodySize] = {"bw": "BW", "lbm": "LBMJANMA", "bsa": "BSA", "ibw": "IBW"}

Formula = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Body:
    """A body and what uptake is taken relative to.

    Attributes:
        size: g for body weight, lean and ideal body mass, cm2 for body surface.
        formula: how `size` was found.
        weight_kg: in kg, also where the file has g.
        height_m: in m, also where the file has cm; None when it was not needed.
        sex: M, F or O; None when it was not needed.
        warnings: values that were taken in another unit, and a sex without a formula of its own.
    """

    size: float
    formula: str
    weight_kg: float
    height_m: float | None = None
    sex: str | None = None
    warnings: tuple[str, ...] = ()


_MASSES: dict[BodySize, tuple[str, Formula, Formula]] = {
    "LBM": (
        "lean body mass of Morgan 1994 (DICOM's LBM)",
        lambda w, h: 1.10 * w - 120 * (w / h) ** 2,
        lambda w, h: 1.07 * w - 148 * (w / h) ** 2,
    ),
    "LBMJAMES128": (
        "lean body mass of James 1976 with factor 128 (DICOM's LBMJAMES128)",
        lambda w, h: 1.10 * w - 128 * (w / h) ** 2,
        lambda w, h: 1.07 * w - 148 * (w / h) ** 2,
    ),
    "LBMJANMA": (
        "lean body mass of Janmahasatian 2005",
        lambda w, h: 9270 * w / (6680 + 216 * w / (h / 100) ** 2),
        lambda w, h: 9270 * w / (8780 + 244 * w / (h / 100) ** 2),
    ),
    "IBW": (
        "ideal body weight (DICOM's IBW)",
        lambda _, h: 48.0 + 1.06 * (h - 152),
        lambda _, h: 45.5 + 0.91 * (h - 152),
    ),
}
"""Name, and the mass in kg of men and of women from weight in kg and height in cm."""


def list_body_tags(size: BodySize) -> tuple[str, ...]:
    """Name the attributes of `PetTags` that a size is computed from."""
    return {"BW": ("weight",), "BSA": ("weight", "height")}.get(size, ("weight", "height", "sex"))


def measure_body(tags: PetTags, size: BodySize) -> Body:
    """Find what uptake is taken relative to.

    The formulas are those of DICOM (PS3.3 C.8.9.1.1.3, after Sugawara et al. 1999, Radiology 213:521). Lean body mass
    follows Janmahasatian et al. 2005 (Clin Pharmacokinet 44:1051), which EANM's guideline for FDG (Boellaard et al.
    2015) recommends, unless the series itself uses another. Body surface follows Du Bois and Du Bois 1916, in cm2 as
    DICOM's unit for this SUV is cm2/ml. For PatientSex O it is the mean of both formulas (IBSI's manual for SUV).

    Raises:
        CaseError: weight or height cannot be true, or the formula gives no mass for this body.
    """
    weight, warnings = _read_weight(tags.weight or 0.0)
    if size == "BW":
        return Body(1000 * weight, "body weight", weight, warnings=warnings)
    height, more = _read_height(tags.height or 0.0)
    warnings += more
    if size == "BSA":
        surface_m2 = 0.007184 * weight**0.425 * (100 * height) ** 0.725
        return Body(1e4 * surface_m2, "body surface of Du Bois 1916", weight, height, None, warnings)
    name, of_men, of_women = _MASSES[size]
    masses = {"M": of_men(weight, 100 * height), "F": of_women(weight, 100 * height)}
    mass = masses.get(tags.sex or "", sum(masses.values()) / 2)
    if mass <= 0:
        raise CaseError(
            f"the {name} is {mass:.1f} kg for a weight of {weight:g} kg and a height of {height:g} m; "
            "choose --suv bw, or correct PatientWeight (0010,1030) and PatientSize (0010,1020)"
        )
    if tags.sex not in masses:
        warnings += (f"PatientSex {tags.sex} has no formula for {name}: the mean of both sexes was taken",)
    return Body(1000 * mass, name, weight, height, tags.sex, warnings)


def _read_weight(weight: float) -> tuple[float, tuple[str, ...]]:
    kilograms = weight / 1000 if weight > LARGEST_WEIGHT_KG else weight
    if not SMALLEST_WEIGHT_KG <= kilograms <= LARGEST_WEIGHT_KG:
        raise CaseError(f"PatientWeight (0010,1030) {weight:g} is a weight neither in kg nor in g; correct it")
    note = f"PatientWeight {weight:g} was taken as grams: {kilograms:g} kg"
    return kilograms, (note,) if kilograms != weight else ()


def _read_height(height: float) -> tuple[float, tuple[str, ...]]:
    metres = height / 100 if height > LARGEST_HEIGHT_M else height
    if not 0.2 <= metres <= LARGEST_HEIGHT_M:
        raise CaseError(f"PatientSize (0010,1020) {height:g} is a height neither in m nor in cm; correct it")
    return metres, (f"PatientSize {height:g} was taken as centimetres: {metres:g} m",) if metres != height else ()
