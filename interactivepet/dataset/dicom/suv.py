"""PET voxels -> SUV: which rule a series follows, what is missing for it, and the factor that it gives.

The rules are those of QIBA's vendor-neutral pseudo-code for SUV (RSNA QIBA FDG-PET/CT Profile, appendix G).
"""

from __future__ import annotations

from typing import Any

from interactivepet.core.suv import SuvRule, SuvVariant
from interactivepet.dataset.dicom.body import Body, measure_body
from interactivepet.dataset.dicom.decay import find_injection, find_reference
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = ["find_missing_tags", "find_suv_factors"]

SMALLEST_DOSE_BQ, LARGEST_DOSE_BQ = 1e6, 1e11
"""Injected doses from below a mouse's to above any therapy's; others are in another unit."""
LARGEST_DOSE_MBQ = 1e4
"""A number from 1 to this is a dose in MBq, written where Bq belong."""

SUV_TYPES: dict[str, SuvVariant] = {"BW": "bw", "LBMJANMA": "lbm", "BSA": "bsa"}
"""SUVType (0054,1006) of a GML series -> variant. Without one it is BW (DICOM PS3.3 C.8.9.1)."""

TAGS = {
    "units": "Units (0054,1001): whether voxels hold Bq/ml, counts or SUV",
    "philips": "Philips' SUV factor (7053,1000) or activity concentration factor (7053,1009): what a count is worth",
    "decay_correction": "DecayCorrection (0054,1102): the time that the voxels' activity refers to",
    "series_time": "SeriesTime (0008,0031): start of the scan, to which decay was corrected",
    "acquisition_times": "AcquisitionTime (0008,0032): when each slice was measured",
    "has_radiopharmaceutical": "RadiopharmaceuticalInformationSequence (0054,0016): "
    "the radiopharmaceutical, its dose, injection and half-life",
    "dose": "RadionuclideTotalDose (0018,1074): injected activity in Bq",
    "half_life": "RadionuclideHalfLife (0018,1075): decay from injection to scan, in s",
    "injection": "RadiopharmaceuticalStartDateTime (0018,1078) or RadiopharmaceuticalStartTime (0018,1072): "
    "when the dose was injected",
    "weight": "PatientWeight (0010,1030): body weight in kg",
    "height": "PatientSize (0010,1020): body height in m",
    "sex": "PatientSex (0010,0040): M or F, for the lean body mass",
}
"""What a rule may need -> the tag and its purpose, for the error message."""
BODY_TAGS: dict[SuvVariant, tuple[str, ...]] = {
    "bw": ("weight",),
    "lbm": ("weight", "height", "sex"),
    "bsa": ("weight", "height"),
}

Factors = tuple[float, ...]
"""One for all slices, or one a slice in the order of the headers."""


def find_missing_tags(tags: PetTags, *, variant: SuvVariant) -> tuple[str, ...]:
    """List every tag that SUV needs and that is missing, empty or zero, with its purpose."""
    present: dict[str, object] = {
        "philips": tags.philips_suv_factor or tags.philips_activity_factor,
        "acquisition_times": tags.acquisition_times and None not in tags.acquisition_times,
        "injection": tags.injected or tags.injected_time,
        "sex": tags.sex in ("M", "F"),
    }
    needed = _list_needed(tags, variant)
    return tuple(TAGS[name] for name in needed if not (present[name] if name in present else getattr(tags, name)))


def find_suv_factors(tags: PetTags, *, variant: SuvVariant) -> tuple[Factors, SuvRule]:
    """Find what turns rescaled voxels into SUV.

    Args:
        tags: of one series, with nothing missing (`find_missing_tags`).
        variant: relative to body weight, lean body mass or body surface.

    Returns:
        The factors, and what was used. SUV is in g/ml, relative to the body surface in cm2/ml.

    Raises:
        CaseError: units, decay correction or SUV type without a rule, or a value that cannot be true.
    """
    if tags.units == "GML":
        factors, found = _keep_suv(tags, variant)
    elif tags.units == "CNTS" and tags.philips_suv_factor:
        factors, found = _scale_body_weight_suv(tags, variant, scale=tags.philips_suv_factor)
        found["rule"] = "counts times Philips' SUV factor (7053,1000)"
    elif tags.units == "CNTS" and tags.philips_activity_factor:
        factors, found = _divide_by_dose(tags, variant, scale=tags.philips_activity_factor)
        found["rule"] = (
            "counts times Philips' activity concentration factor (7053,1009) gives Bq/ml, "
            "times body size over the dose at the reference time"
        )
    elif tags.units == "BQML":
        factors, found = _divide_by_dose(tags, variant, scale=1.0)
        found["rule"] = "Bq/ml times body size over the dose at the reference time"
    else:
        raise CaseError(
            f"Units (0054,1001) {tags.units}, expected BQML, CNTS with Philips' factors, or GML; "
            "export the series in Bq/ml"
        )
    found["warnings"] = (*_find_doubts(tags), *found.get("warnings", ()))
    slice_factors = factors if len(set(factors)) > 1 else ()
    return factors, SuvRule(
        variant=variant,
        units=tags.units,
        decay_correction=tags.decay_correction,
        factor=factors[0],
        slice_factors=slice_factors,
        **found,
    )


def _list_needed(tags: PetTags, variant: SuvVariant) -> tuple[str, ...]:
    """Name what the series' rule needs; without units, what Bq/ml would need."""
    body_if_changed = BODY_TAGS[variant] if variant != "bw" else ()
    if tags.units == "GML":
        return body_if_changed if _suv_type(tags) != variant else ()
    if tags.units == "CNTS" and tags.philips_suv_factor:
        return body_if_changed
    if tags.units == "CNTS" and not tags.philips_activity_factor:
        return ("philips",)
    if tags.units not in (None, "CNTS", "BQML"):
        return ()
    times = {"ADMIN": (), "NONE": ("acquisition_times",)}.get(
        tags.decay_correction or "", ("series_time", "acquisition_times")
    )
    decay = () if tags.decay_correction == "ADMIN" else ("half_life", "injection")
    drug = ("has_radiopharmaceutical", "dose", *decay)
    return ("units", "decay_correction", *times, *drug, *BODY_TAGS[variant])


def _keep_suv(tags: PetTags, variant: SuvVariant) -> tuple[Factors, dict[str, Any]]:
    """GML is SUV already, but maybe of another variant."""
    found = _suv_type(tags)
    if found == variant:
        return (1.0,), {"rule": f"GML of type {tags.suv_type or 'BW'} as it is"}
    if found != "bw":
        raise CaseError(
            f"SUVType (0054,1006) {tags.suv_type}, expected BW or the variant asked for ({variant}); "
            "export the series by body weight or in Bq/ml"
        )
    factors, used = _scale_body_weight_suv(tags, variant, scale=1.0)
    return factors, used | {"rule": "GML by body weight, from body weight to the size of the body asked for"}


def _suv_type(tags: PetTags) -> SuvVariant | None:
    return SUV_TYPES.get(tags.suv_type or "BW")


def _scale_body_weight_suv(tags: PetTags, variant: SuvVariant, *, scale: float) -> tuple[Factors, dict[str, Any]]:
    """Go from SUV by body weight to a variant."""
    if variant == "bw":
        return (scale,), {}
    body = measure_body(tags, variant)
    return (scale * body.size / (1000 * body.weight_kg),), _describe(body)


def _divide_by_dose(tags: PetTags, variant: SuvVariant, *, scale: float) -> tuple[Factors, dict[str, Any]]:
    """Go from activity to SUV: times body size, over the dose at the time that the voxels refer to."""
    body = measure_body(tags, variant)
    dose, warnings = _mend_dose(tags.dose or 0.0)
    found = _describe(body) | {"dose_bq": dose, "half_life_s": tags.half_life}
    if tags.decay_correction == "ADMIN":
        found |= {
            "reference_reason": "decay was corrected to the time of injection",
            "warnings": body.warnings + warnings,
        }
        return (scale * body.size / dose,), found
    if tags.decay_correction not in ("START", "NONE"):
        raise CaseError(
            f"DecayCorrection (0054,1102) {tags.decay_correction}, expected START, ADMIN or NONE; correct it"
        )
    half_life = tags.half_life or 0.0
    reference = find_reference(tags)
    earliest = min(reference.times)
    injection = find_injection(tags, earliest, half_life_s=half_life)
    uptakes = [(moment - injection.moment).total_seconds() for moment in reference.times]
    found |= {
        "reference_time": earliest,
        "reference_reason": reference.reason,
        "injection_time": injection.moment,
        "uptake_s": min(uptakes),
        "warnings": body.warnings + warnings + reference.warnings + injection.warnings,
    }
    return tuple(scale * body.size / (dose * 2 ** (-uptake / half_life)) for uptake in uptakes), found


def _describe(body: Body) -> dict[str, Any]:
    return {
        "body": body.formula,
        "weight_kg": body.weight_kg,
        "height_m": body.height_m,
        "sex": body.sex,
        "warnings": body.warnings,
    }


def _mend_dose(dose: float) -> tuple[float, tuple[str, ...]]:
    if 1 <= dose <= LARGEST_DOSE_MBQ:
        return 1e6 * dose, (f"RadionuclideTotalDose {dose:g} was taken as MBq",)
    if not SMALLEST_DOSE_BQ <= dose <= LARGEST_DOSE_BQ:
        raise CaseError(
            f"RadionuclideTotalDose (0018,1074) {dose:g}, expected {SMALLEST_DOSE_BQ:.0e} to {LARGEST_DOSE_BQ:.0e} Bq "
            f"(1 to {LARGEST_DOSE_MBQ:g} is taken as MBq); correct it"
        )
    return dose, ()


def _find_doubts(tags: PetTags) -> tuple[str, ...]:
    """Note corrections that SUV relies on and that the header does not confirm."""
    doubts: list[str] = []
    if "ATTN" not in tags.corrections:
        doubts.append("CorrectedImage (0028,0051) does not name attenuation (ATTN): SUV is only right with it")
    if tags.decay_correction in ("START", "ADMIN") and tags.corrections and "DECY" not in tags.corrections:
        doubts.append(
            f"CorrectedImage (0028,0051) does not name decay (DECY), but DecayCorrection is {tags.decay_correction}"
        )
    return tuple(doubts)
