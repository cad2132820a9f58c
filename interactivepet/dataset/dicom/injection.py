"""When the dose of a PET image was injected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from interactivepet.dataset.dicom.decay import LONGEST_UPTAKE_HALF_LIVES, ONE_DAY, describe_span, to_seconds
from interactivepet.dataset.dicom.pet_tags import PetTags
from interactivepet.errors import CaseError

__all__ = ["Injection", "find_injection"]

SHORTEST_LIMIT = timedelta(hours=1)
"""An hour from injection to scan is always possible, however short the half-life is."""
LATEST_INJECTION = timedelta(hours=1)
"""On request, the dose may be injected this long after the time that voxels refer to: during a dynamic scan."""


@dataclass(frozen=True, slots=True)
class Injection:
    """When the dose had the activity that the file gives.

    Attributes:
        moment: in the scanner's local time.
        warnings: what was unusual.
    """

    moment: datetime
    warnings: tuple[str, ...] = ()


def find_injection(tags: PetTags, reference: datetime, *, half_life_s: float, long_uptake: bool = False) -> Injection:
    """Find when the dose was injected.

    Args:
        tags: with a date and time of injection, or a time of day.
        reference: the earliest time that voxels refer to.
        half_life_s: of the radionuclide, in seconds.
        long_uptake: accept an injection up to a day before the scan, or six half-lives where these are longer, and up
            to an hour after the scan's start.

    Raises:
        CaseError: there is no plausible moment before the scan.
    """
    longest = _find_longest(half_life_s, long_uptake=long_uptake)
    latest = reference + LATEST_INJECTION if long_uptake else reference
    dated, clock = tags.injected, tags.injected_time
    if dated is not None and reference - longest <= dated <= latest:
        differs = clock is not None and abs(to_seconds(dated.time()) - to_seconds(clock)) > 60
        note = f"RadiopharmaceuticalStartDateTime {dated} was used, although RadiopharmaceuticalStartTime is {clock}"
        return Injection(dated, ((note,) if differs else ()) + _note_late(dated, reference))
    if clock is None and dated is not None:
        clock = dated.time()
    if clock is None:
        raise CaseError("RadiopharmaceuticalStartTime (0018,1072) is missing")
    if half_life_s > ONE_DAY.total_seconds():
        raise CaseError(
            f"a half-life of {half_life_s / 3600:.1f} h needs the date of injection, found {dated or clock} for a scan "
            f"at {reference}; correct RadiopharmaceuticalStartDateTime (0018,1078)"
        )
    same_day = datetime.combine(reference.date(), clock)
    moment = max(day for day in (same_day - ONE_DAY, same_day, same_day + ONE_DAY) if day <= latest)
    if reference - moment > longest:
        limit = f"{LONGEST_UPTAKE_HALF_LIVES} half-lives" if longest > SHORTEST_LIMIT else "an hour"
        raise CaseError(
            f"injection at {dated or clock} for a scan at {reference}, expected it at most {limit} "
            f"({describe_span(longest)}) before; correct RadiopharmaceuticalStartTime (0018,1072) or StartDateTime "
            "(0018,1078), or accept it with --long-uptake"
        )
    return Injection(moment, _notes(dated, moment, reference=reference, longest=longest))


def _find_longest(half_life_s: float, *, long_uptake: bool) -> timedelta:
    """Give the longest time from injection to scan that is accepted."""
    longest = max(LONGEST_UPTAKE_HALF_LIVES * timedelta(seconds=half_life_s), SHORTEST_LIMIT)
    return max(longest, ONE_DAY) if long_uptake else longest


def _notes(dated: datetime | None, moment: datetime, *, reference: datetime, longest: timedelta) -> tuple[str, ...]:
    notes: list[str] = []
    if dated is not None:
        notes.append(
            f"injection dated {dated} for a scan at {reference}: dates were shifted, so its time of day was used"
        )
    if moment.date() < reference.date():
        notes.append("injection was before midnight, the scan after it")
    if dated is None and longest > ONE_DAY:
        notes.append("injection has no date; it was taken to be within a day before the scan")
    return tuple(notes) + _note_late(moment, reference)


def _note_late(moment: datetime, reference: datetime) -> tuple[str, ...]:
    """Note a negative uptake."""
    if moment <= reference:
        return ()
    return (f"injection is {(moment - reference).total_seconds():.0f} s after the time that the voxels refer to",)
