"""The time that decay was corrected to, from the frames of a PET series themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interactivepet.dataset.dicom.pet_tags import PetTags

__all__ = ["FrameEstimate", "estimate_from_frames", "find_mean_time", "is_same_decay"]

LARGEST_DIFFERENCE = 0.01
"""Times whose decay differs by more than this part are not the same: SUV would differ as much."""
EARLIEST_MEAN = 0.9
"""FrameReferenceTime is at least this part of the mean time of its own frame: the frame cannot start before START."""
ROUNDING_S = 1.0
DECAY_TOLERANCE = 0.002
"""Relative accuracy of DecayFactor in headers, for a frame of some minutes."""
LONGEST_SCAN = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class FrameEstimate:
    """The time that decay was corrected to, as the frames give it.

    Attributes:
        moment: None when the frames give none.
        found: what each slice gives, earliest and latest; empty when tags are missing.
        doubt: why `moment` is None; empty when it is there.
        is_explained: DecayFactor shows what the scanner wrote instead, so that the doubt is no surprise.
    """

    moment: datetime | None
    found: tuple[datetime, ...] = ()
    doubt: str = ""
    is_explained: bool = False


def find_mean_time(duration_s: float, half_life_s: float) -> float:
    """Find when within a frame the activity is as high as on average over the frame, in seconds from its start.

    T_ave = ln(lambda T / (1 - exp(-lambda T))) / lambda (IBSI's manual for SUV).
    """
    decay = math.log(2) / half_life_s
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay


def estimate_from_frames(tags: PetTags, acquired: Sequence[datetime], *, half_life_s: float) -> FrameEstimate:
    """Compute the reference time of a series with DecayCorrection START as IBSI's manual for SUV proposes (option B).

    reference = AcquisitionTime + T_ave - FrameReferenceTime, where T_ave is `find_mean_time`. All slices must agree,
    as scanners differ in what they write: some give the scan's start as every AcquisitionTime, or count
    FrameReferenceTime to the frame's start. The latter is told by DecayFactor, which then holds the decay of
    FrameReferenceTime + T_ave.

    Args:
        tags: of the series.
        acquired: moment of each slice's AcquisitionTime.
        half_life_s: of the radionuclide.
    """
    offsets = [ms / 1000 for ms in tags.frame_reference_times if ms is not None]
    durations = [ms / 1000 for ms in tags.frame_durations if ms is not None]
    if not len(offsets) == len(durations) == len(acquired):
        return FrameEstimate(None, doubt="FrameReferenceTime (0054,1300) or ActualFrameDuration (0018,1242) is missing")
    means = [find_mean_time(duration, half_life_s) for duration in durations]
    moments = sorted(
        start + timedelta(seconds=mean - offset) for start, mean, offset in zip(acquired, means, offsets, strict=True)
    )
    found = tuple(dict.fromkeys((moments[0], moments[-1])))
    if _counts_to_start(tags.decay_factors, offsets, means, half_life_s=half_life_s):
        doubt = "FrameReferenceTime counts to the start of each frame, as DecayFactor shows"
        return FrameEstimate(None, found, doubt, is_explained=True)
    doubt = ""
    if any(offset < EARLIEST_MEAN * mean - ROUNDING_S for offset, mean in zip(offsets, means, strict=True)):
        doubt = "FrameReferenceTime lies before the middle of its own frame"
    elif not is_same_decay(moments[0], moments[-1], half_life_s=half_life_s):
        doubt = "AcquisitionTime and FrameReferenceTime of the slices contradict each other"
    elif min(acquired) - moments[0] > LONGEST_SCAN:
        doubt = "FrameReferenceTime is longer than any scan"
    return FrameEstimate(None if doubt else moments[len(moments) // 2], found, doubt)


def is_same_decay(one: datetime, other: datetime, *, half_life_s: float) -> bool:
    """Whether SUV is the same to 1 %, whichever of two times the voxels refer to."""
    half_lives = abs((one - other).total_seconds()) / half_life_s
    return half_lives < 1 and 2**half_lives - 1 <= LARGEST_DIFFERENCE


def _counts_to_start(
    factors: Sequence[float | None], offsets: Sequence[float], means: Sequence[float], *, half_life_s: float
) -> bool:
    """Whether every DecayFactor is the decay of FrameReferenceTime + T_ave, and none that of FrameReferenceTime."""
    decay = math.log(2) / half_life_s
    for factor, offset, mean in zip(factors, offsets, means, strict=True):
        if factor is None or decay * mean <= 2 * DECAY_TOLERANCE:
            return False
        if abs(math.log(factor) - decay * (offset + mean)) > DECAY_TOLERANCE:
            return False
    return True
