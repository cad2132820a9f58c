"""The header values that SUV depends on, as plain Python; absent, empty, zero and unreadable all become None."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from interactivepet.dataset.dicom.private_tags import GE_PET, PHILIPS_PET, read_private
from interactivepet.dataset.dicom.radionuclides import find_half_life
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["PetTags", "find_mixed_tags", "parse_date", "parse_datetime", "parse_time", "read_pet_tags"]

_TIME = re.compile(r"(\d{2}):?(\d{2}):?(\d{2})?(?:\.(\d{1,6}))?")
_DATETIME = re.compile(r"(\d{8})(\d{4}(?:\d{2}(?:\.\d{1,6})?)?)(?:([+-])(\d{2})(\d{2}))?")


@dataclass(frozen=True, slots=True)
class PetTags:
    """What the headers of one PET series say, in the units of the file.

    Attributes:
        acquisition_dates: one a slice, like `acquisition_times`, in the order of the headers.
        frame_reference_times: one per slice in ms after the time that decay was corrected to; may be 0.
        frame_durations: one per slice in ms.
        decay_factors: one per slice: by how much decay correction raised it.
        dose_calibrations: one per slice: Bq for a count per second.
        voxel_volumes_ml: one per slice, from PixelSpacing and SliceThickness.
        has_intercept: a slice has a RescaleIntercept other than 0.
        decay_corrected_to: the time that decay was corrected to, where the file says so (enhanced PET).
        scan_start: GE's private start of the scan, to which it corrects decay.
        philips_suv_factor: SUV by body weight for a rescaled value of 1.
        philips_activity_factor: Bq/ml for a rescaled value of 1.
        injected: date and time of injection in the scanner's local time.
        injected_time: time of day of injection.
        dose: Bq by the standard.
        half_life: seconds.
        half_life_of_code: seconds, of the radionuclide's code.
        weight: kg by the standard.
        height: m by the standard.
    """

    units: str | None = None
    suv_type: str | None = None
    decay_correction: str | None = None
    corrections: tuple[str, ...] = ()
    series_date: date | None = None
    series_time: time | None = None
    acquisition_dates: tuple[date | None, ...] = ()
    acquisition_times: tuple[time | None, ...] = ()
    frame_reference_times: tuple[float | None, ...] = ()
    frame_durations: tuple[float | None, ...] = ()
    decay_factors: tuple[float | None, ...] = ()
    dose_calibrations: tuple[float | None, ...] = ()
    voxel_volumes_ml: tuple[float | None, ...] = ()
    has_intercept: bool = False
    decay_corrected_to: datetime | None = None
    scan_start: datetime | None = None
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    has_radiopharmaceutical: bool = False
    injected: datetime | None = None
    injected_time: time | None = None
    dose: float | None = None
    half_life: float | None = None
    half_life_of_code: float | None = None
    weight: float | None = None
    height: float | None = None
    sex: str | None = None


def read_pet_tags(headers: Sequence[Dataset]) -> PetTags:
    """Read what SUV depends on.

    Args:
        headers: of every slice of one series.

    Raises:
        CaseError: the slices contradict each other, or there were several injections.
    """
    values = [_read_constant(header) for header in headers]
    mixed = find_mixed_tags(values)
    if mixed:
        raise CaseError("; ".join(mixed) + "; expected one value in a series: export the series again")
    days, times = zip(*(_read_acquisition(header) for header in headers), strict=True)
    if all(clock == time(0) for clock in times):
        # Midnight to the second in every slice is what de-identification leaves, no measurement.
        times = (None,) * len(times)
    return PetTags(
        **values[0],
        acquisition_dates=days,
        acquisition_times=times,
        frame_reference_times=tuple(_number(_text(header, "FrameReferenceTime")) for header in headers),
        frame_durations=_read_positive(headers, "ActualFrameDuration"),
        decay_factors=_read_positive(headers, "DecayFactor"),
        dose_calibrations=_read_positive(headers, "DoseCalibrationFactor"),
        has_intercept=any(_number(_text(header, "RescaleIntercept")) for header in headers),
        voxel_volumes_ml=tuple(_read_voxel_volume(header) for header in headers),
    )


def find_mixed_tags(values: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Describe every value that is not the same in all slices."""
    found: list[str] = []
    for name in (field.name for field in fields(PetTags)):
        counts: dict[Any, int] = {}
        for value in (slice_values[name] for slice_values in values if name in slice_values):
            counts[value] = counts.get(value, 0) + 1
        if len(counts) > 1:
            parts = ", ".join(f"{value} in {n} slices" for value, n in counts.items())
            found.append(f"mixed {name.replace('_', ' ')}: {parts}")
    return tuple(found)


def parse_date(text: str | None) -> date | None:
    """Read DICOM DA, `20001231` or the old `2000.12.31`."""
    try:
        return datetime.strptime((text or "").replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None


def parse_time(text: str | None) -> time | None:
    """Read DICOM TM with at least hours and minutes, `235959.123456` or the old `23:59:59`."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    hours, minutes, seconds, fraction = match.groups()
    try:
        # A leap second has no place in Python's time.
        return time(int(hours), int(minutes), min(int(seconds or 0), 59), int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def parse_datetime(text: str | None, *, local_offset: str | None = None) -> datetime | None:
    """Read DICOM DT with at least minutes, `20001231235959.123456+0100`.

    Args:
        text: the value.
        local_offset: Timezone Offset From UTC (0008,0201) of the file; a DT with another offset is moved to it.

    Returns:
        Scanner's local time without a time zone, as all other times of the header are.
    """
    match = _DATETIME.fullmatch(text or "")
    day, clock = (parse_date(match[1]), parse_time(match[2])) if match else (None, None)
    if match is None or day is None or clock is None:
        return None
    moment = datetime.combine(day, clock)
    local = re.fullmatch(r"([+-])(\d{2})(\d{2})", local_offset or "")
    if match[3] and local:
        moment += _offset(*local.groups()) - _offset(match[3], match[4], match[5])
    return moment


def _settle_offset(moment: datetime, clock: time) -> datetime:
    """Move a date and time of unknown time zone to the clock time beside it, if a time zone explains the difference.

    Time zones differ by quarters of an hour. The header's other times are local, and so is `clock`.
    """
    possible = [datetime.combine(moment.date() + timedelta(days=n), clock) for n in (-1, 0, 1)]
    near = min(possible, key=lambda other: abs(other - moment))
    return near if (near - moment) % timedelta(minutes=15) == timedelta(0) else moment


def _offset(sign: str, hours: str, minutes: str) -> timedelta:
    span = timedelta(hours=int(hours), minutes=int(minutes))
    return -span if sign == "-" else span


def _read_constant(header: Dataset) -> dict[str, Any]:
    """Read what must be the same in every slice."""
    drugs = header.get("RadiopharmaceuticalInformationSequence") or []
    if len(drugs) > 1:
        raise CaseError(
            f"{len(drugs)} items in RadiopharmaceuticalInformationSequence (0054,0016), expected 1; "
            "SUV after several injections has no rule: remove the item that does not belong to this image"
        )
    local_offset = _text(header, "TimezoneOffsetFromUTC")
    values: dict[str, Any] = {
        "units": _text(header, "Units"),
        "suv_type": _text(header, "SUVType"),
        "decay_correction": _text(header, "DecayCorrection"),
        "corrections": _texts(header, "CorrectedImage"),
        "series_date": parse_date(_text(header, "SeriesDate")),
        "series_time": parse_time(_text(header, "SeriesTime")),
        "decay_corrected_to": parse_datetime(_text(header, "DecayCorrectionDateTime"), local_offset=local_offset),
        "scan_start": parse_datetime(read_private(header, GE_PET, 0x0D)),
        "philips_suv_factor": _positive(read_private(header, PHILIPS_PET, 0x00)),
        "philips_activity_factor": _positive(read_private(header, PHILIPS_PET, 0x09)),
        "has_radiopharmaceutical": bool(drugs),
        "weight": _positive(_text(header, "PatientWeight")),
        "height": _positive(_text(header, "PatientSize")),
        "sex": _text(header, "PatientSex"),
    }
    for drug in drugs:
        start = _text(drug, "RadiopharmaceuticalStartDateTime")
        injected = parse_datetime(start, local_offset=local_offset)
        injected_time = parse_time(_text(drug, "RadiopharmaceuticalStartTime"))
        if injected and injected_time and local_offset is None and re.search(r"[+-]\d{4}$", start or ""):
            injected = _settle_offset(injected, injected_time)
        values |= {
            # Midnight to the second is what de-identification writes in place of a time, so it counts as zero.
            "injected": injected if injected and injected.time() != time(0) else None,
            "injected_time": injected_time if injected_time != time(0) else None,
            "dose": _positive(_text(drug, "RadionuclideTotalDose")),
            "half_life": _positive(_text(drug, "RadionuclideHalfLife")),
            "half_life_of_code": next(
                (find_half_life(_text(code, "CodeValue")) for code in drug.get("RadionuclideCodeSequence") or ()), None
            ),
        }
    return values


def _read_acquisition(header: Dataset) -> tuple[date | None, time | None]:
    """Read when a slice was measured; AcquisitionDateTime (0008,002A) stands in for a missing AcquisitionTime."""
    day, clock = parse_date(_text(header, "AcquisitionDate")), parse_time(_text(header, "AcquisitionTime"))
    offset = _text(header, "TimezoneOffsetFromUTC")
    moment = parse_datetime(_text(header, "AcquisitionDateTime"), local_offset=offset)
    return (moment.date(), moment.time()) if clock is None and moment is not None else (day, clock)


def _text(header: Dataset, keyword: str) -> str | None:
    value = header.get(keyword)
    text = "" if value is None else str(value).strip("\0 ")
    return text or None


def _texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    value = header.get(keyword) or ()
    return (str(value),) if isinstance(value, str | int | float) else tuple(str(part) for part in value)


def _read_positive(headers: Sequence[Dataset], keyword: str) -> tuple[float | None, ...]:
    return tuple(_positive(_text(header, keyword)) for header in headers)


def _read_voxel_volume(header: Dataset) -> float | None:
    """Give the volume in ml; None when a length is missing or zero."""
    lengths = [_positive(text) for text in (*_texts(header, "PixelSpacing"), _text(header, "SliceThickness"))]
    known = [length for length in lengths if length is not None]
    return math.prod(known) / 1000 if len(known) == 3 else None


def _positive(text: str | None) -> float | None:
    """Read a number; what cannot scale anything (zero, negative, infinite, no number) counts as missing."""
    value = _number(text)
    return value if value is not None and value > 0 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
