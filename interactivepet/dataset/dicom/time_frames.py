"""Dynamic and gated PET series: which slices make a volume of one time, and which of these stands for the case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.dicom.series import SAME_POSITION_MM, arrange_slices
from interactivepet.dataset.dicom.slices import Slice
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["choose_frames", "split_by_time"]

KEYWORDS = (
    "AcquisitionDate",
    "AcquisitionTime",
    "FrameReferenceTime",
    "TemporalPositionIndex",
    "TemporalPositionTimeOffset",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "ImageIndex",
)
"""What tells frames at one position apart and gives their order, the first that differs."""
SHOWN = 12
"""Frames that an error message describes."""

Indices = tuple[int, ...]


def split_by_time(slices: Sequence[Slice]) -> tuple[Indices, ...]:
    """Divide a series into volumes of one time each, in temporal order.

    Slices at one position that differ in time, gate or index are different frames. Every position must have the
    same number of them; else, and for copies of one slice, the series stays whole, and `arrange_slices` refuses it.

    Args:
        slices: with positions and orientations (`find_missing_slice_tags`).

    Returns:
        Indices into `slices`, one tuple per frame; a single one for a static series.
    """
    whole = (tuple(range(len(slices))),)
    stacks = _group_by_position(slices)
    n_frames = len(stacks[0])
    if n_frames == 1 or any(len(stack) != n_frames for stack in stacks):
        return whole
    ordered: list[list[int]] = []
    for stack in stacks:
        keys = {index: _read_key(slices[index].header) for index in stack}
        if len(set(keys.values())) < n_frames:
            return whole
        ordered.append(sorted(stack, key=keys.__getitem__))
    return tuple(zip(*ordered, strict=True))


def choose_frames(
    slices: Sequence[Slice], frames: Sequence[Indices], time_frame: TimeFrame | None
) -> tuple[list[Indices], list[float]]:
    """Choose the frames whose weighted sum stands for the case.

    Args:
        slices: of the series.
        frames: of `split_by_time`.
        time_frame: what was asked for; None accepts a static series alone.

    Returns:
        The frames and their weights, which sum up to 1; the mean weighs each by ActualFrameDuration.

    Raises:
        CaseError: there are several frames and none was asked for, or not the one that was. Both name the frames.
    """
    n_frames = len(frames)
    if time_frame == "mean":
        durations = [float(slices[frame[0]].header.get("ActualFrameDuration") or 0.0) for frame in frames]
        weights = np.asarray(durations if all(duration > 0 for duration in durations) else [1.0] * n_frames)
        return list(frames), [float(weight) for weight in weights / weights.sum()]
    if time_frame is None and n_frames > 1:
        raise CaseError(
            f"a dynamic or gated series of {n_frames} frames; choose one by number, their mean or the last with "
            f"--time-frame N, mean or last:{_describe(slices, frames)}"
        )
    number = n_frames if time_frame == "last" else time_frame or 1
    if number > n_frames == 1:
        # Slices that cannot be divided into frames are refused as such.
        arrange_slices([one.header for one in slices], [one.path for one in slices])
        raise CaseError(f"--time-frame {number}, but there is one frame; leave --time-frame out")
    if number > n_frames:
        raise CaseError(
            f"--time-frame {number}, but there are {n_frames} frames; choose 1 to {n_frames}, mean or last:"
            f"{_describe(slices, frames)}"
        )
    return [frames[number - 1]], [1.0]


def _group_by_position(slices: Sequence[Slice]) -> list[list[int]]:
    """Group slices at the same depth along the first one's normal."""
    rows = np.asarray(slices[0].header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    normal = np.cross(rows[0], rows[1])
    depths = np.array([[float(x) for x in one.header.ImagePositionPatient] for one in slices]) @ normal
    order = np.argsort(depths, kind="stable")
    starts = np.flatnonzero(np.diff(depths[order]) >= SAME_POSITION_MM) + 1
    return [[int(index) for index in group] for group in np.split(order, starts)]


def _read_key(header: Dataset) -> tuple[float, ...]:
    """Give what orders a slice among those at its position."""
    numbered: tuple[str, ...] = KEYWORDS
    kind = str(header.get("SeriesType") or "")
    if "DYNAMIC" in kind or "GATED" in kind:
        # Copies have numbers of their own as well, so that the number tells only what is known to be several frames.
        numbered += ("InstanceNumber",)
    return tuple(_to_number(header.get(keyword)) for keyword in numbered)


def _to_number(value: object) -> float:
    try:
        return float(str(value).replace(":", ""))
    except ValueError:
        return 0.0


def _describe(slices: Sequence[Slice], frames: Sequence[Indices]) -> str:
    """Describe frames by what differs between them, one line each."""
    headers = [slices[frame[0]].header for frame in frames]
    differing = [keyword for keyword in KEYWORDS if len({str(header.get(keyword)) for header in headers}) > 1]
    shown = list(_list_lines(headers[:SHOWN], [*differing[:2], "ActualFrameDuration"]))
    more = f"\n  and {len(frames) - SHOWN} more" if len(frames) > SHOWN else ""
    return "".join(shown) + more


def _list_lines(headers: Sequence[Dataset], keywords: Sequence[str]) -> Iterator[str]:
    for number, header in enumerate(headers, start=1):
        values = ", ".join(
            f"{keyword} {header.get(keyword)}" for keyword in keywords if header.get(keyword) is not None
        )
        yield f"\n  {number}: {values or 'no times'}"
