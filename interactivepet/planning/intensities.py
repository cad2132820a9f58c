"""What training saw of each channel's intensities, to tell an image that is in another unit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from interactivepet.core.fingerprint import CaseFingerprint, Fingerprint
from interactivepet.core.intensities import IntensityRange

__all__ = ["find_seen_ranges", "join_ranges"]


def join_ranges(cases: Iterable[tuple[IntensityRange | None, ...]]) -> tuple[IntensityRange, ...] | None:
    """Join the ranges of all cases channel by channel; None where a channel has contrast in no case."""
    joined = []
    for channel in zip(*cases, strict=True):
        known = [found for found in channel if found is not None]
        if not known:
            return None
        joined.append(reduce(IntensityRange.joined, known))
    return tuple(joined) or None


def find_seen_ranges(fingerprint: Fingerprint) -> tuple[IntensityRange, ...] | None:
    """Give what training saw, per channel.

    A fingerprint from before ranges were measured has percentiles over the kept boxes, air included: wider downwards,
    and sharp enough to tell another unit by its factor. None where it has neither, as one made from nnU-Net's.
    """
    if fingerprint.intensities is not None:
        return fingerprint.intensities
    return join_ranges(_take_body(case) for case in fingerprint.cases if case.body) if fingerprint.cases else None


def _take_body(case: CaseFingerprint) -> tuple[IntensityRange | None, ...]:
    # where most of the box is empty even the 99.5th percentile is 0
    return tuple(
        IntensityRange.of(channel.percentile_00_5, channel.percentile_99_5 or channel.maximum) for channel in case.body
    )
