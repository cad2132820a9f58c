"""PET voxels -> SUV: which rule a series follows, what is missing for it, and the factor that it gives.

The rules are those of IBSI's manual for SUV (Vacha et al. 2026) and of QIBA's vendor-neutral pseudo-code (RSNA QIBA
FDG-PET/CT Profile, appendix G).
"""

from __future__ import annotations

from typing import Any

from interactivepet.core.suv import SuvRule, SuvVariant
from interactivepet.dataset.dicom.body import SIZE_OF_VARIANT, Body, BodySize, list_body_tags, measure_body
from interactivepet.dataset.dicom.decay import find_reference
from interactivepet.dataset.dicom.injection import find_injection
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = ["find_missing_tags", "find_suv_factors"]

SMALLEST_DOSE_BQ, LARGEST_DOSE_BQ = 1e6, 1e11
"""Injected doses from below a mouse's to above any therapy's; others are in another unit."""
LARGEST_DOSE_MBQ = 1e4
"""A number from 1 to this is a dose in MBq, written where Bq belong."""

SUV_UNITS: dict[str, tuple[BodySize, ...]] = {
    "GML": ("BW", "LBM", "LBMJAMES128", "LBMJANMA", "IBW"),
    "CM2ML": ("BSA",),
}
"""Units of a series that is SUV already -> its possible SUVType (0054,1006), the first where that is empty."""
COUNT_UNITS = ("CNTS", "CPS")
COUNT_CORRECTIONS = ("NORM", "DTIM", "ATTN", "SCAT", "RAN")
"""Without all of these, counts are not proportional to activity."""

TAGS = {
    "units": "Units (0054,1001): whether voxels hold Bq/ml, counts or SUV",
    "philips": "Philips' SUV factor (7053,1000) or activity concentration factor (7053,1009): what a count is worth",
    "calibration": "DoseCalibrationFactor (0054,1322), or DCAL in CorrectedImage (0028,0051): Bq of a count/s",
    "voxel_volumes_ml": "PixelSpacing (0028,0030) and SliceThickness (0018,0050): volume of a voxel",
    "frame_durations": "ActualFrameDuration (0018,1242): duration of each slice's frame in ms",
    "decay_correction": "DecayCorrection (0054,1102): the time that the voxels' activity refers to",
    "series_time": "SeriesTime (0008,0031), or FrameReferenceTime (0054,1300) and ActualFrameDuration (0018,1242): "
    "start of the scan, to which decay was corrected",
    "acquisition_times": "AcquisitionTime (0008,0032): when each slice was measured",
    "has_radiopharmaceutical": "RadiopharmaceuticalInformationSequence (0054,0016): "
    "the radiopharmaceutical, its dose, injection and half-life",
    "dose": "RadionuclideTotalDose (0018,1074): injected activity in Bq",
    "half_life": "RadionuclideHalfLife (0018,1075): decay from injection to scan, in s",
    "injection": "RadiopharmaceuticalStartDateTime (0018,1078) or RadiopharmaceuticalStartTime (0018,1072): "
    "when the dose was injected",
    "weight": "PatientWeight (0010,1030): body weight in kg",
    "height": "PatientSize (0010,1020): body height in m",
    "sex": "PatientSex (0010,0040): M, F or O, for the lean or ideal body mass",
}
"""What a rule may need -> the tag and its purpose, for the error message."""

Factors = tuple[float, ...]
"""One for all slices, or one a slice in the order of the headers."""


def find_missing_tags(tags: PetTags, *, variant: SuvVariant) -> tuple[str, ...]:
    """List every tag that SUV needs and that is missing, empty or zero, with its purpose."""
    present: dict[str, object] = {
        "philips": tags.philips_suv_factor or tags.philips_activity_factor,
        "calibration": _is_calibrated(tags),
        "voxel_volumes_ml": _is_complete(tags.voxel_volumes_ml),
        "frame_durations": _is_complete(tags.frame_durations),
        "series_time": tags.series_time or tags.decay_corrected_to or _has_frame_times(tags),
        "acquisition_times": _is_complete(tags.acquisition_times),
        "injection": tags.injected or tags.injected_time,
        "half_life": tags.half_life or tags.half_life_of_code,
        "sex": tags.sex in ("M", "F", "O"),
    }
    needed = _list_needed(tags, SIZE_OF_VARIANT[variant])
    return tuple(TAGS[name] for name in needed if not (present[name] if name in present else getattr(tags, name)))


def find_suv_factors(tags: PetTags, *, variant: SuvVariant, long_uptake: bool = False) -> tuple[Factors, SuvRule]:
    """Find what turns rescaled voxels into SUV.

    Args:
        tags: of one series, with nothing missing (`find_missing_tags`).
        variant: relative to body weight, lean body mass, body surface or ideal body weight.
        long_uptake: accept an injection up to a day before the scan, or an hour after its start.

    Returns:
        The factors, and what was used. SUV is in g/ml, relative to the body surface in cm2/ml.

    Raises:
        CaseError: units, decay correction or SUV type without a rule, or a value that cannot be true.
    """
    size = SIZE_OF_VARIANT[variant]
    if tags.units in SUV_UNITS:
        factors, found = _convert_suv(tags, _find_suv_type(tags), size)
    elif tags.units == "CNTS" and tags.philips_suv_factor:
        factors, found = _convert_suv(tags, "BW", size)
        factors = _multiply(factors, (tags.philips_suv_factor,))
        found["rule"] = f"counts times Philips' SUV factor (7053,1000) are {found['rule']}"
    else:
        scales, rule, warnings = _find_activity(tags)
        factors, found = _divide_by_dose(tags, size, scales=scales, long_uptake=long_uptake)
        found |= {
            "rule": f"{rule}, times body size over the dose at the reference time",
            "warnings": (*warnings, *found["warnings"]),
        }
    found["warnings"] = (*_find_doubts(tags), *found.get("warnings", ()))
    slice_factors = factors if len(set(factors)) > 1 else ()
    return factors, SuvRule(
        variant=variant,
        units=tags.units or "",
        decay_correction=tags.decay_correction,
        factor=factors[0],
        slice_factors=slice_factors,
        **found,
    )


def _list_needed(tags: PetTags, size: BodySize) -> tuple[str, ...]:
    """Name what the series' rule needs; without units, what Bq/ml would need."""
    if tags.units in SUV_UNITS:
        return _list_for_ratio(_find_suv_type(tags), size)
    if tags.units == "CNTS" and tags.philips_suv_factor:
        return _list_for_ratio("BW", size)
    if tags.units not in (None, "BQML", *COUNT_UNITS):
        return ()
    counts: tuple[str, ...] = ()
    if tags.units in COUNT_UNITS and not (tags.units == "CNTS" and tags.philips_activity_factor):
        if tags.units == "CNTS" and not _is_calibrated(tags):
            return ("philips",)
        counts = ("calibration", "voxel_volumes_ml", *(("frame_durations",) if tags.units == "CNTS" else ()))
    times = {"ADMIN": (), "NONE": ("acquisition_times",)}.get(
        tags.decay_correction or "", ("series_time", "acquisition_times")
    )
    decay = () if tags.decay_correction == "ADMIN" else ("half_life", "injection")
    drug = ("has_radiopharmaceutical", "dose", *decay)
    return ("units", *counts, "decay_correction", *times, *drug, *list_body_tags(size))


def _list_for_ratio(found: BodySize, wanted: BodySize) -> tuple[str, ...]:
    """Name what it takes to go from SUV relative to one size to another."""
    if found == wanted:
        return ()
    return tuple(dict.fromkeys((*list_body_tags(found), *list_body_tags(wanted))))


def _find_suv_type(tags: PetTags) -> BodySize:
    """Give what SUV in the file is relative to; body weight where GML does not say (DICOM PS3.3 C.8.9.1)."""
    possible = SUV_UNITS[tags.units or ""]
    named = (tags.suv_type or possible[0]).upper()
    for size in possible:
        if size == named:
            return size
    raise CaseError(
        f"SUVType (0054,1006) {tags.suv_type} with Units (0054,1001) {tags.units}, expected {' or '.join(possible)}; "
        "export the series by body weight or in Bq/ml"
    )


def _convert_suv(tags: PetTags, found: BodySize, wanted: BodySize) -> tuple[Factors, dict[str, Any]]:
    """Go from SUV relative to one size of the body to another."""
    if found == wanted:
        return (1.0,), {"rule": f"SUV of type {found} as it is"}
    before, after = measure_body(tags, found), measure_body(tags, wanted)
    used = _describe(after) | {
        "rule": f"SUV of type {found} times {after.formula} over {before.formula}",
        "sex": after.sex or before.sex,
        "height_m": after.height_m or before.height_m,
        "warnings": tuple(dict.fromkeys(before.warnings + after.warnings)),
    }
    return (after.size / before.size,), used


def _find_activity(tags: PetTags) -> tuple[Factors, str, tuple[str, ...]]:
    """Find what turns rescaled voxels into Bq/ml; with the rule in words and what is unusual."""
    if tags.units == "BQML":
        return (1.0,), "Bq/ml", ()
    if tags.units == "CNTS" and tags.philips_activity_factor:
        rule = "counts times Philips' activity concentration factor (7053,1009) give Bq/ml"
        return (tags.philips_activity_factor,), rule, ()
    if tags.units in COUNT_UNITS:
        return _calibrate_counts(tags)
    raise CaseError(
        f"Units (0054,1001) {tags.units}, expected BQML, GML, CM2ML, CNTS with Philips' factors, or calibrated CNTS or "
        "CPS; export the series in Bq/ml"
    )


def _calibrate_counts(tags: PetTags) -> tuple[Factors, str, tuple[str, ...]]:
    """Turn counts or counts per second into Bq/ml, as IBSI's manual for SUV does without a vendor's factor."""
    absent = [name for name in COUNT_CORRECTIONS if name not in tags.corrections]
    if absent:
        raise CaseError(
            f"Units (0054,1001) {tags.units}, but CorrectedImage (0028,0051) does not name {', '.join(absent)}, so "
            "counts are not proportional to activity; export the series in Bq/ml"
        )
    factors: Factors = tuple(1 / volume for volume in tags.voxel_volumes_ml if volume)
    rule = "counts per second over the voxel's volume"
    if "DCAL" not in tags.corrections:
        factors = _multiply(factors, tuple(factor for factor in tags.dose_calibrations if factor))
        rule = "counts per second times DoseCalibrationFactor (0054,1322) over the voxel's volume"
    if tags.units == "CNTS":
        factors = _multiply(factors, tuple(1000 / duration for duration in tags.frame_durations if duration))
        rule = rule.replace("counts per second", "counts over the frame's duration")
    warning = f"{rule} were taken as Bq/ml, for want of a scale by the vendor: check SUV of a known region"
    return factors, f"{rule} give Bq/ml", (warning,)


def _divide_by_dose(
    tags: PetTags, size: BodySize, *, scales: Factors, long_uptake: bool
) -> tuple[Factors, dict[str, Any]]:
    """Go from activity to SUV: times body size, over the dose at the time that the voxels refer to."""
    body = measure_body(tags, size)
    dose, warnings = _read_dose(tags.dose or 0.0)
    found = _describe(body) | {"dose_bq": dose, "half_life_s": tags.half_life}
    if tags.decay_correction == "ADMIN":
        found |= {
            "reference_reason": "decay was corrected to the time of injection",
            "warnings": body.warnings + warnings,
        }
        return _multiply(scales, (body.size / dose,)), found
    if tags.decay_correction not in ("START", "NONE"):
        raise CaseError(
            f"DecayCorrection (0054,1102) {tags.decay_correction}, expected START, ADMIN or NONE; correct it"
        )
    half_life, more = _find_half_life(tags)
    reference = find_reference(tags, half_life_s=half_life)
    earliest = min(reference.times)
    injection = find_injection(tags, earliest, half_life_s=half_life, long_uptake=long_uptake)
    uptakes = [(moment - injection.moment).total_seconds() for moment in reference.times]
    found |= {
        "half_life_s": half_life,
        "reference_time": earliest,
        "reference_reason": reference.reason,
        "reference_candidates": reference.candidates,
        "injection_time": injection.moment,
        "uptake_s": min(uptakes),
        "warnings": body.warnings + warnings + more + reference.warnings + injection.warnings,
    }
    decayed = tuple(body.size / (dose * 2 ** (-uptake / half_life)) for uptake in uptakes)
    return _multiply(scales, decayed), found


def _multiply(first: Factors, second: Factors) -> Factors:
    """Multiply factors, each of them one for all slices or one a slice."""
    n_factors = max(len(first), len(second))
    stretched = [factors * n_factors if len(factors) == 1 else factors for factors in (first, second)]
    return tuple(a * b for a, b in zip(*stretched, strict=True))


def _find_half_life(tags: PetTags) -> tuple[float, tuple[str, ...]]:
    if tags.half_life:
        return tags.half_life, ()
    found = tags.half_life_of_code or 0.0
    return found, (f"RadionuclideHalfLife is missing: {found:g} s is that of the code in RadionuclideCodeSequence",)


def _is_complete(values: tuple[object, ...]) -> bool:
    return bool(values) and all(value is not None for value in values)


def _is_calibrated(tags: PetTags) -> bool:
    return "DCAL" in tags.corrections or _is_complete(tags.dose_calibrations)


def _has_frame_times(tags: PetTags) -> bool:
    return _is_complete(tags.frame_reference_times) and _is_complete(tags.frame_durations)


def _describe(body: Body) -> dict[str, Any]:
    return {
        "body": body.formula,
        "weight_kg": body.weight_kg,
        "height_m": body.height_m,
        "sex": body.sex,
        "warnings": body.warnings,
    }


def _read_dose(dose: float) -> tuple[float, tuple[str, ...]]:
    if 1 <= dose <= LARGEST_DOSE_MBQ:
        return 1e6 * dose, (f"RadionuclideTotalDose {dose:g} was taken as MBq",)
    if not SMALLEST_DOSE_BQ <= dose <= LARGEST_DOSE_BQ:
        raise CaseError(
            f"RadionuclideTotalDose (0018,1074) {dose:g}, expected {SMALLEST_DOSE_BQ:.0e} to {LARGEST_DOSE_BQ:.0e} Bq "
            f"(1 to {LARGEST_DOSE_MBQ:g} is taken as MBq); correct it"
        )
    return dose, ()


def _find_doubts(tags: PetTags) -> tuple[str, ...]:
    """Note what SUV relies on and what the header does not confirm."""
    doubts: list[str] = []
    if "ATTN" not in tags.corrections:
        doubts.append("CorrectedImage (0028,0051) does not name attenuation (ATTN): SUV is only right with it")
    if tags.decay_correction in ("START", "ADMIN") and tags.corrections and "DECY" not in tags.corrections:
        doubts.append(
            f"CorrectedImage (0028,0051) does not name decay (DECY), but DecayCorrection is {tags.decay_correction}"
        )
    if tags.has_intercept:
        doubts.append("RescaleIntercept (0028,1052) is not 0 as it should be in PET; it was added: check the values")
    return tuple(doubts)
