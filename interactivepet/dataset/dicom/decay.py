"""When the activity of a PET image was measured and when it was injected: the times behind decay correction.

The rules are those of QIBA's vendor-neutral pseudo-code for SUV (RSNA QIBA FDG-PET/CT Profile, appendix G),
with the dates that de-identification shifts taken into account.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = [
    "LONGEST_START",
    "LONGEST_UPTAKE_HALF_LIVES",
    "LONGEST_WAIT",
    "Injection",
    "Reference",
    "find_injection",
    "find_reference",
]

LONGEST_UPTAKE_HALF_LIVES = 10
"""No scan starts later after injection: a thousandth of the activity is left (18 hours for fluorine-18)."""
LONGEST_WAIT = timedelta(minutes=30)
"""A series that starts longer before its first slice was measured is noted ..."""
LONGEST_START = timedelta(hours=3)
"""... and one that starts this much before is refused: the time is not of this scan."""
ONE_DAY = timedelta(days=1)
UNKNOWN_DAY = date(1900, 1, 1)
"""Stands for the day of a scan without dates; only differences of times are used."""


@dataclass(frozen=True, slots=True)
class Reference:
    """When the activity in the voxels was as the file gives it.

    Attributes:
        times: one for all slices, or one a slice in the order of the headers.
        reason: why these.
        warnings: what was unusual.
    """

    times: tuple[datetime, ...]
    reason: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Injection:
    """When the dose had the activity that the file gives.

    Attributes:
        moment: in the scanner's local time.
        warnings: what was unusual.
    """

    moment: datetime
    warnings: tuple[str, ...] = ()


def find_reference(tags: PetTags) -> Reference:
    """Find the time that the voxels refer to, for a series with DecayCorrection START or NONE.

    START refers to the start of the scan. That is SeriesTime, unless a workstation or scanner wrote a later one
    (a reconstruction made afterwards): then GE's private start of the scan, then the earliest AcquisitionTime.

    Args:
        tags: with SeriesTime (for START) and every AcquisitionTime.

    Raises:
        CaseError: a scan without dates has times more than twelve hours apart, so their order is open.
    """
    acquired, warnings = _acquisitions(tags)
    earliest = min(acquired)
    if tags.decay_correction == "NONE":
        warnings += ("decay between the start of each slice's frame and its middle is not corrected",)
        return Reference(acquired, "AcquisitionTime of each slice, as decay was not corrected", warnings)
    if tags.series_time is None:
        raise CaseError("SeriesTime (0008,0031) is missing")
    series = datetime.combine(tags.series_date or earliest.date(), tags.series_time)
    if earliest - series > ONE_DAY:
        warnings += (
            f"SeriesDate {series.date()} is days before AcquisitionDate {earliest.date()}: dates were shifted",
        )
        series = datetime.combine(earliest.date(), series.time())
    if series <= earliest:
        if earliest - series > LONGEST_START:
            raise CaseError(
                f"SeriesTime {series.time()} is {_span(earliest - series)} before the first slice was measured "
                f"({earliest.time()}), so one of the two is not of this scan; restore SeriesTime (0008,0031)"
            )
        if earliest - series > LONGEST_WAIT:
            warnings += (
                f"the series starts {_span(earliest - series)} before its earliest AcquisitionTime: check both",
            )
        return Reference((series,), "SeriesTime, which is not later than the earliest AcquisitionTime", warnings)
    start = _scan_start(tags, earliest)
    if start is not None:
        return Reference((start,), "GE's private scan start (0009,100D), as SeriesTime is after acquisition", warnings)
    return Reference((earliest,), "earliest AcquisitionTime, as SeriesTime is after it", warnings)


def find_injection(tags: PetTags, reference: datetime, *, half_life_s: float) -> Injection:
    """Find when the dose was injected.

    Args:
        tags: with a date and time of injection, or a time of day.
        reference: the earliest time that voxels refer to.
        half_life_s: of the radionuclide, in seconds.

    Raises:
        CaseError: there is no plausible moment before the scan.
    """
    longest = LONGEST_UPTAKE_HALF_LIVES * timedelta(seconds=half_life_s)
    dated, clock = tags.injected, tags.injected_time
    if dated is not None and timedelta(0) <= reference - dated <= longest:
        differs = clock is not None and abs(_seconds(dated.time()) - _seconds(clock)) > 60
        note = f"RadiopharmaceuticalStartDateTime {dated} was used, although RadiopharmaceuticalStartTime is {clock}"
        return Injection(dated, (note,) if differs else ())
    if clock is None and dated is not None:
        clock = dated.time()
    if clock is None:
        raise CaseError("RadiopharmaceuticalStartTime (0018,1072) is missing")
    if half_life_s > ONE_DAY.total_seconds():
        raise CaseError(
            f"a half-life of {half_life_s / 3600:.1f} h needs the date of injection, found {dated or clock} for a scan "
            f"at {reference}; correct RadiopharmaceuticalStartDateTime (0018,1078)"
        )
    moment = datetime.combine(reference.date(), clock)
    if moment > reference:
        moment -= ONE_DAY
    if reference - moment > longest:
        raise CaseError(
            f"injection at {dated or clock} for a scan at {reference}, expected it at most "
            f"{LONGEST_UPTAKE_HALF_LIVES} half-lives ({_span(longest)}) before; correct RadiopharmaceuticalStartTime "
            "(0018,1072) or StartDateTime (0018,1078)"
        )
    return Injection(moment, _notes(dated, moment, reference=reference, longest=longest))


def _notes(dated: datetime | None, moment: datetime, *, reference: datetime, longest: timedelta) -> tuple[str, ...]:
    notes: list[str] = []
    if dated is not None:
        notes.append(
            f"injection dated {dated} for a scan at {reference}: dates were shifted, so its time of day was used"
        )
    if moment.date() != reference.date():
        notes.append("injection was before midnight, the scan after it")
    if dated is None and longest > ONE_DAY:
        notes.append("injection has no date; it was taken to be within a day before the scan")
    return tuple(notes)


def _acquisitions(tags: PetTags) -> tuple[tuple[datetime, ...], tuple[str, ...]]:
    """Give the moment of every slice, and what was unusual."""
    day = tags.series_date or next((found for found in tags.acquisition_dates if found), UNKNOWN_DAY)
    clocks = [clock for clock in tags.acquisition_times if clock is not None]
    if not clocks or len(clocks) != len(tags.acquisition_times):
        raise CaseError("AcquisitionTime (0008,0032) is missing")
    moments = tuple(
        datetime.combine(found or day, clock) for found, clock in zip(tags.acquisition_dates, clocks, strict=True)
    )
    if all(tags.acquisition_dates):
        return moments, ()
    if tags.series_time is not None and all(_seconds(tags.series_time) - _seconds(clock) > 43200 for clock in clocks):
        moments = tuple(moment + ONE_DAY for moment in moments)
        return moments, (
            "AcquisitionDate is missing; the slices were measured after midnight, the series began before",
        )
    if max(moments) - min(moments) > ONE_DAY / 2:
        raise CaseError(
            f"slices without AcquisitionDate (0008,0022) were measured from {min(clocks)} to {max(clocks)}, "
            "so their order across midnight is open; restore AcquisitionDate"
        )
    return moments, ("AcquisitionDate is missing; all times were taken to be of one day",)


def _scan_start(tags: PetTags, earliest: datetime) -> datetime | None:
    """Give GE's start of the scan on the day of acquisition, None when it has no sense."""
    if tags.scan_start is None:
        return None
    start = tags.scan_start
    if abs(earliest - start) > ONE_DAY:
        start = datetime.combine(earliest.date(), start.time())
    return start if timedelta(0) <= earliest - start <= LONGEST_START else None


def _seconds(clock: time) -> int:
    return 3600 * clock.hour + 60 * clock.minute + clock.second


def _span(duration: timedelta) -> str:
    hours, minutes = divmod(round(duration.total_seconds() / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
