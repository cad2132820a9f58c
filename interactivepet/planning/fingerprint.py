"""Measure a task: grids, intensities, and the size and uptake of every object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import AxisOrder
from interactivepet.core.case import Case, find_body_box
from interactivepet.core.components import find_components
from interactivepet.core.fingerprint import CaseFingerprint, ChannelStatistics, Fingerprint, ObjectStatistics
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.intensities import IntensityRange, measure_range
from interactivepet.planning.intensities import join_ranges

__all__ = [
    "SAMPLES_PER_CASE",
    "CaseMeasurement",
    "extract_fingerprint",
    "measure_case",
]

SAMPLES_PER_CASE = 20_000
"""Voxels kept of each case, with the same number from each so that a large patient does not outvote the rest."""

PART = 1 << 20
"""Values that a sum in double precision takes at a time."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CaseMeasurement:
    """One case's numbers and a sample of its intensities.

    Attributes:
        fingerprint: what is kept.
        foreground: (C, n) float32 intensities of labelled voxels; n may be 0.
        body: (C, m) float32 intensities of voxels in the kept box.
        ranges: per channel.
    """

    fingerprint: CaseFingerprint
    foreground: Samples
    body: Samples
    ranges: tuple[IntensityRange | None, ...]


def measure_case(case: Case, labels: Mapping[str, int], *, seed: int = 0) -> CaseMeasurement:
    """Measure one case.

    Args:
        case: with its label, its axes in the task's order; a case without a label counts as one without objects.
        labels: name -> value.
        seed: of the sampling of intensities.
    """
    rng = np.random.default_rng(seed)
    box = find_body_box(case.image)
    foreground = _take_foreground(case, list(labels.values()))
    foreground_sample = foreground[:, _draw(foreground.shape[1], rng)]
    drawn = _draw(math.prod(box.shape), rng)
    body: list[ChannelStatistics] = []
    body_sample = np.empty((len(case.image), len(drawn)), np.float32)
    for index, channel in enumerate(case.image):
        # One channel at a time, since each is copied out of its image.
        values = channel[box.slices].ravel()
        body_sample[index] = values[drawn]
        body.append(_describe(values))
    ranges = tuple(measure_range(channel) for channel in case.image)
    fingerprint = CaseFingerprint(
        id=case.id,
        shape=case.geometry.shape,
        spacing_mm=case.geometry.spacing_mm,
        crop_shape=box.shape,
        foreground=describe_channels(foreground) if foreground.shape[1] else (),
        body=tuple(body),
        objects=_measure_objects(case, list(labels.values())),
    )
    return CaseMeasurement(fingerprint, foreground_sample, body_sample, ranges)


def extract_fingerprint(
    measurements: Iterable[CaseMeasurement],
    task: str,
    *,
    channels: Sequence[str],
    labels: Mapping[str, int],
    axis_order: AxisOrder | None = None,
    made_from: str = "",
) -> Fingerprint:
    """Join the measurements of all cases, whose axes are in one order, into the task's fingerprint."""
    measured = sorted(measurements, key=lambda m: m.fingerprint.id)
    body = np.concatenate([m.body for m in measured], axis=1)
    foreground = np.concatenate([m.foreground for m in measured], axis=1)
    return Fingerprint(
        made_from=made_from,
        task=task,
        channels=tuple(channels),
        labels=dict(labels),
        cases=tuple(m.fingerprint for m in measured),
        foreground=describe_channels(foreground) if foreground.shape[1] else (),
        body=describe_channels(body),
        axis_order=axis_order,
        intensities=join_ranges(m.ranges for m in measured),
    )


def describe_channels(values: Samples) -> tuple[ChannelStatistics, ...]:
    """Describe (C, n) intensities channel by channel; n must be at least 1."""
    return tuple(_describe(channel) for channel in values)


def _describe(values: Samples) -> ChannelStatistics:
    """Describe (n,) intensities."""
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    mean = float(values.mean(dtype=np.float64))
    # In parts, since a deviation in double precision would copy all of a large image at twice its size.
    parts = (values[start : start + PART] for start in range(0, values.size, PART))
    squares = sum(float(np.square(part.astype(np.float64) - mean).sum()) for part in parts)
    return ChannelStatistics(
        mean=mean,
        std=math.sqrt(squares / values.size),
        minimum=float(values.min()),
        percentile_00_5=float(low),
        median=float(median),
        percentile_99_5=float(high),
        maximum=float(values.max()),
    )


def _draw(n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw `SAMPLES_PER_CASE` of n voxels with replacement; none from nothing."""
    return rng.integers(n, size=SAMPLES_PER_CASE) if n else np.empty(0, np.int64)


def _take_foreground(case: Case, values: Sequence[int]) -> Samples:
    """Give the intensities (C, n) of the voxels that have one of the label values."""
    box = None if case.label is None else BoundingBox.of(case.label > 0)
    if case.label is None or box is None:
        return np.empty((len(case.image), 0), np.float32)
    taken: Samples = case.image[(slice(None), *box.slices)][:, np.isin(case.label[box.slices], values)]
    return taken


def _measure_objects(case: Case, values: Sequence[int]) -> tuple[ObjectStatistics, ...]:
    """Measure every connected component of every label value."""
    import cc3d

    found: list[ObjectStatistics] = []
    whole = None if case.label is None else BoundingBox.of(case.label > 0)
    if case.label is None or whole is None:
        return ()
    label, uptake = case.label[whole.slices], case.image[0][whole.slices]
    for value in values:
        components, _ = find_components(label == value)
        statistics = cc3d.statistics(components)
        for index in range(1, len(statistics["voxel_counts"])):
            box = statistics["bounding_boxes"][index]
            inside = uptake[box][components[box] == index]
            found.append(_describe_object(inside, box, value=value, geometry=case.geometry))
    return tuple(found)


def _describe_object(
    uptake: Samples, box: tuple[slice, slice, slice], *, value: int, geometry: Geometry
) -> ObjectStatistics:
    i, j, k = ((edge.stop - edge.start) * mm for edge, mm in zip(box, geometry.spacing_mm, strict=True))
    return ObjectStatistics(
        label=value,
        volume_ml=float(uptake.size * geometry.voxel_volume_ml),
        extent_mm=(i, j, k),
        uptake_mean=float(uptake.mean()),
        uptake_max=float(uptake.max()),
    )
