"""The header values that SUV depends on, as plain Python; absent, empty, zero and unreadable all become None."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["PetTags", "find_mixed_tags", "parse_date", "parse_datetime", "parse_time", "read_pet_tags"]

GE_PET = (0x0009, "GEMS_PETD_01")
"""Group and creator of GE's private block; element 0D holds the start of the scan."""
PHILIPS_PET = (0x7053, "Philips PET Private Group")
"""Group and creator of Philips' private block; 00 holds the SUV factor, 09 the activity concentration factor."""

_TIME = re.compile(r"(\d{2}):?(\d{2}):?(\d{2})?(?:\.(\d{1,6}))?")
_DATETIME = re.compile(r"(\d{8})(\d{4}(?:\d{2}(?:\.\d{1,6})?)?)(?:([+-])(\d{2})(\d{2}))?")


@dataclass(frozen=True, slots=True)
class PetTags:
    """What the headers of one PET series say, in the units of the file.

    Attributes:
        acquisition_dates: one a slice, like `acquisition_times`, in the order of the headers.
        scan_start: GE's private start of the scan, to which it corrects decay.
        philips_suv_factor: SUV by body weight for a rescaled value of 1.
        philips_activity_factor: Bq/ml for a rescaled value of 1.
        injected: date and time of injection in the scanner's local time.
        injected_time: time of day of injection.
        dose: Bq by the standard.
        half_life: seconds.
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
    scan_start: datetime | None = None
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    has_radiopharmaceutical: bool = False
    injected: datetime | None = None
    injected_time: time | None = None
    dose: float | None = None
    half_life: float | None = None
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
    times = tuple(parse_time(_text(header, "AcquisitionTime")) for header in headers)
    if all(clock == time(0) for clock in times):
        # Midnight to the second in every slice is what de-identification leaves, no measurement.
        times = (None,) * len(times)
    return PetTags(
        **values[0],
        acquisition_dates=tuple(parse_date(_text(header, "AcquisitionDate")) for header in headers),
        acquisition_times=times,
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
        "scan_start": parse_datetime(_private(header, GE_PET, 0x0D)),
        "philips_suv_factor": _positive(_private(header, PHILIPS_PET, 0x00)),
        "philips_activity_factor": _positive(_private(header, PHILIPS_PET, 0x09)),
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
        }
    return values


def _text(header: Dataset, keyword: str) -> str | None:
    value = header.get(keyword)
    text = "" if value is None else str(value).strip("\0 ")
    return text or None


def _texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    value = header.get(keyword) or ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _private(header: Dataset, block: tuple[int, str], element: int) -> str | None:
    """Read a private element; explicit files that a tool did not understand give it as bytes."""
    try:
        value = header.private_block(*block)[element].value
    except KeyError:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ") or None


def _positive(text: str | None) -> float | None:
    """Read a number; what cannot scale anything (zero, negative, infinite, no number) counts as missing."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
