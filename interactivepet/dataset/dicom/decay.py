"""The time that the activity in a PET image refers to.

The rules are those of IBSI's manual for SUV (option B) and, where the frames do not tell, of QIBA's vendor-neutral
pseudo-code (RSNA QIBA FDG-PET/CT Profile, appendix G), with the dates that de-identification shifts taken into
account.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from interactivepet.dataset.dicom.frame_times import (
    FrameEstimate,
    estimate_from_frames,
    find_mean_time,
    is_same_decay,
)
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = [
    "LONGEST_START",
    "LONGEST_UPTAKE_HALF_LIVES",
    "LONGEST_WAIT",
    "ONE_DAY",
    "Reference",
    "describe_span",
    "find_reference",
    "to_seconds",
]

LONGEST_UPTAKE_HALF_LIVES = 6
"""Few scans start later after injection: 1.6 % of the activity is left (11 hours for fluorine-18)."""
LONGEST_WAIT = timedelta(minutes=30)
"""A series that starts longer before its first slice was measured is noted ..."""
LONGEST_START = timedelta(hours=3)
"""... and one that starts this much before is refused: the time is not of this scan."""
ONE_DAY = timedelta(days=1)
UNKNOWN_DAY = date(1900, 1, 1)
"""Stands for the day of a scan without dates; only differences of times are used."""

FRAMES = "AcquisitionTime, FrameReferenceTime and ActualFrameDuration"
EXPLICIT = "DecayCorrectionDateTime (0018,9701)"
SERIES = "SeriesTime"
GE_START = "GE's private scan start (0009,100D)"
EARLIEST = "earliest AcquisitionTime"


@dataclass(frozen=True, slots=True)
class Reference:
    """When the activity in the voxels was as the file gives it.

    Attributes:
        times: one for all slices, or one a slice in the order of the headers.
        reason: why these.
        warnings: what was unusual.
        candidates: every time that the header offers, by where it comes from; the earliest and the latest where
            slices differ.
    """

    times: tuple[datetime, ...]
    reason: str
    warnings: tuple[str, ...] = ()
    candidates: dict[str, tuple[datetime, ...]] = field(default_factory=dict)


def find_reference(tags: PetTags, *, half_life_s: float) -> Reference:
    """Find the time that the voxels refer to, for a series with DecayCorrection START or NONE.

    NONE refers to the mean time of each slice's own frame. START refers to the start of the scan. The frames give it
    themselves (`estimate_from_frames`); SeriesTime and GE's private start are the cross-check, as workstations and
    anonymisers overwrite them. Where the frames do not give it, it is SeriesTime, unless that is later than the
    acquisition (a reconstruction made afterwards): then GE's private start, then the earliest AcquisitionTime.

    Args:
        tags: with every AcquisitionTime and, for START without complete frame times, SeriesTime.
        half_life_s: of the radionuclide, in seconds.

    Raises:
        CaseError: a scan without dates has times more than twelve hours apart, so their order is open; or SeriesTime
            is needed and not of this scan.
    """
    acquired, warnings = _acquisitions(tags)
    if tags.decay_correction == "NONE":
        return _find_frame_means(tags, acquired, warnings, half_life_s=half_life_s)
    frames = estimate_from_frames(tags, acquired, half_life_s=half_life_s)
    candidates = _list_candidates(tags, min(acquired), frames)
    if frames.moment is not None:
        others = {name: found[0] for name, found in candidates.items() if name in (EXPLICIT, SERIES, GE_START)}
        warnings += tuple(
            f"SUV by {name} ({_round(moment)}) would differ by more than 1 % from that by the frames' own times "
            f"({_round(frames.moment)}), which was used"
            for name, moment in others.items()
            if not is_same_decay(frames.moment, moment, half_life_s=half_life_s)
        )
        return Reference((frames.moment,), f"{FRAMES}, on which all slices agree", warnings, candidates)
    if frames.found and not frames.is_explained:
        warnings += (f"{frames.doubt}, so they were not used for the reference time",)
    found = _find_without_frames(tags, min(acquired))
    return replace(
        found,
        reason=f"{found.reason}; {frames.doubt}",
        warnings=warnings + found.warnings,
        candidates=candidates,
    )


def describe_span(duration: timedelta) -> str:
    """Write a duration in hours and minutes."""
    hours, minutes = divmod(round(duration.total_seconds() / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def to_seconds(clock: time) -> int:
    """Give the whole seconds since midnight."""
    return 3600 * clock.hour + 60 * clock.minute + clock.second


def _round(moment: datetime) -> datetime:
    """Round to a second, for messages."""
    return (moment + timedelta(seconds=0.5)).replace(microsecond=0)


def _find_frame_means(
    tags: PetTags, acquired: tuple[datetime, ...], warnings: tuple[str, ...], *, half_life_s: float
) -> Reference:
    """Without decay correction, each slice has the activity of its frame's mean time."""
    durations = [ms / 1000 for ms in tags.frame_durations if ms is not None]
    if len(durations) != len(acquired):
        warnings += (
            "ActualFrameDuration (0018,1242) is missing, so decay between the start of each slice's frame and its "
            "middle is not corrected",
        )
        return Reference(acquired, "AcquisitionTime of each slice, as decay was not corrected", warnings)
    times = tuple(
        start + timedelta(seconds=find_mean_time(duration, half_life_s))
        for start, duration in zip(acquired, durations, strict=True)
    )
    reason = "mean time of each slice's frame by AcquisitionTime and ActualFrameDuration, as decay was not corrected"
    return Reference(times, reason, warnings)


def _list_candidates(tags: PetTags, earliest: datetime, frames: FrameEstimate) -> dict[str, tuple[datetime, ...]]:
    """List every time that the header offers as reference."""
    single = {
        EXPLICIT: _on_day(tags.decay_corrected_to, earliest),
        SERIES: _series_start(tags, earliest),
        GE_START: _on_day(tags.scan_start, earliest),
        EARLIEST: earliest,
    }
    found = {name: (moment,) for name, moment in single.items() if moment is not None}
    return {FRAMES: frames.found, **found} if frames.found else {**found}


def _find_without_frames(tags: PetTags, earliest: datetime) -> Reference:
    """Find the start of the scan by what the series says of itself."""
    explicit = _on_day(tags.decay_corrected_to, earliest)
    if explicit is not None:
        return Reference((explicit,), EXPLICIT)
    series = _series_start(tags, earliest)
    if series is None:
        raise CaseError("SeriesTime (0008,0031) is missing")
    warnings: tuple[str, ...] = ()
    if tags.series_date not in (None, series.date()):
        warnings = (
            f"SeriesDate {tags.series_date} is days before AcquisitionDate {earliest.date()}: dates were shifted",
        )
    if series <= earliest:
        return Reference(
            (series,),
            "SeriesTime, which is not later than the earliest AcquisitionTime",
            warnings + _check_wait(series, earliest),
        )
    start = _on_day(tags.scan_start, earliest)
    if start is not None and timedelta(0) <= earliest - start <= LONGEST_START:
        return Reference((start,), f"{GE_START}, as SeriesTime is after acquisition", warnings)
    return Reference((earliest,), f"{EARLIEST}, as SeriesTime is after it", warnings)


def _series_start(tags: PetTags, earliest: datetime) -> datetime | None:
    """Give SeriesDate and SeriesTime, on the day of acquisition where the date was shifted by days."""
    if tags.series_time is None:
        return None
    series = datetime.combine(tags.series_date or earliest.date(), tags.series_time)
    return datetime.combine(earliest.date(), series.time()) if earliest - series > ONE_DAY else series


def _check_wait(series: datetime, earliest: datetime) -> tuple[str, ...]:
    """Note or refuse a SeriesTime long before the first slice was measured."""
    wait = describe_span(earliest - series)
    if earliest - series > LONGEST_START:
        raise CaseError(
            f"SeriesTime {series.time()} is {wait} before the first slice was measured "
            f"({earliest.time()}), so one of the two is not of this scan; restore SeriesTime (0008,0031)"
        )
    if earliest - series > LONGEST_WAIT:
        return (f"the series starts {wait} before its earliest AcquisitionTime: check both",)
    return ()


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
    if tags.series_time is not None and all(
        to_seconds(tags.series_time) - to_seconds(clock) > 43200 for clock in clocks
    ):
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


def _on_day(moment: datetime | None, earliest: datetime) -> datetime | None:
    """Give a moment on the day of acquisition where its date was shifted by days."""
    if moment is None or abs(earliest - moment) <= ONE_DAY:
        return moment
    return datetime.combine(earliest.date(), moment.time())
