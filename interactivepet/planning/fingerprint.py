"""Measure a task: grids, intensities, and the size and uptake of every object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.fingerprint import CaseFingerprint, ChannelStatistics, Fingerprint, ObjectStatistics
from interactivepet.core.geometry import BoundingBox, Geometry

__all__ = [
    "COMPONENT_CONNECTIVITY",
    "SAMPLES_PER_CASE",
    "CaseMeasurement",
    "extract_fingerprint",
    "find_body_box",
    "measure_case",
]

SAMPLES_PER_CASE = 20_000
"""Voxels kept of each case, with the same number from each so that a large patient does not outvote the rest."""

COMPONENT_CONNECTIVITY: Final = 26
"""Voxels that touch by a corner belong to one object, as in the challenges' lesion counts."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CaseMeasurement:
    """One case's numbers and a sample of its intensities.

    Attributes:
        fingerprint: what is kept.
        foreground: (C, n) float32 intensities of labelled voxels; n may be 0.
        body: (C, m) float32 intensities of voxels in the kept box.
    """

    fingerprint: CaseFingerprint
    foreground: Samples
    body: Samples


def find_body_box(image: npt.NDArray[np.float32]) -> BoundingBox:
    """Find the box outside of which every channel holds only its background value.

    The background value is each channel's minimum: 0 in PET, SPECT and MR, the padding value in CT.
    nnU-Net crops to non-zero voxels, which keeps all of a CT.

    Args:
        image: (C, I, J, K).

    Returns:
        The box; the whole grid for a constant image.
    """
    minima = image.min(axis=(1, 2, 3), keepdims=True)
    box = BoundingBox.of((image > minima).any(axis=0))
    return box if box is not None else BoundingBox((0, 0, 0), (image.shape[1], image.shape[2], image.shape[3]))


def measure_case(case: Case, labels: Mapping[str, int], *, seed: int = 0) -> CaseMeasurement:
    """Measure one case.

    Args:
        case: with its label; a case without a label counts as one without objects.
        labels: name -> value.
        seed: of the sampling of intensities.
    """
    rng = np.random.default_rng(seed)
    box = find_body_box(case.image)
    n_channels = case.image.shape[0]
    body = case.image[(slice(None), *box.slices)].reshape(n_channels, -1)
    label = case.label if case.label is not None else np.zeros(case.geometry.shape, np.uint8)
    foreground = case.image[:, np.isin(label, list(labels.values()))]
    fingerprint = CaseFingerprint(
        id=case.id,
        shape=case.geometry.shape,
        spacing_mm=case.geometry.spacing_mm,
        crop_shape=box.shape,
        foreground=describe_channels(foreground) if foreground.shape[1] else (),
        body=describe_channels(body),
        objects=_measure_objects(case.image[0], label, geometry=case.geometry, values=list(labels.values())),
    )
    return CaseMeasurement(fingerprint, _sample(foreground, rng), _sample(body, rng))


def extract_fingerprint(
    measurements: Iterable[CaseMeasurement],
    task: str,
    *,
    channels: Sequence[str],
    labels: Mapping[str, int],
    made_from: str = "",
) -> Fingerprint:
    """Join the measurements of all cases into the task's fingerprint."""
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
    )


def describe_channels(values: Samples) -> tuple[ChannelStatistics, ...]:
    """Describe (C, n) intensities channel by channel; n must be at least 1."""
    return tuple(_describe(channel) for channel in values)


def _describe(values: Samples) -> ChannelStatistics:
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return ChannelStatistics(
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        minimum=float(values.min()),
        percentile_00_5=float(low),
        median=float(median),
        percentile_99_5=float(high),
        maximum=float(values.max()),
    )


def _sample(values: Samples, rng: np.random.Generator) -> Samples:
    """Draw `SAMPLES_PER_CASE` columns with replacement; none from nothing."""
    if values.shape[1] == 0:
        return values
    chosen: Samples = values[:, rng.integers(values.shape[1], size=SAMPLES_PER_CASE)]
    return chosen


def _measure_objects(
    uptake: npt.NDArray[np.float32],
    label: npt.NDArray[np.uint8],
    *,
    geometry: Geometry,
    values: Sequence[int],
) -> tuple[ObjectStatistics, ...]:
    """Measure every connected component of every label; uptake and label are (I, J, K)."""
    import cc3d

    found: list[ObjectStatistics] = []
    for value in values:
        components = cc3d.connected_components(label == value, connectivity=COMPONENT_CONNECTIVITY)
        statistics = cc3d.statistics(components)
        for index in range(1, len(statistics["voxel_counts"])):
            box = statistics["bounding_boxes"][index]
            inside = uptake[box][components[box] == index]
            edges = [(s.stop - s.start) * mm for s, mm in zip(box, geometry.spacing_mm, strict=True)]
            found.append(
                ObjectStatistics(
                    label=value,
                    volume_ml=float(inside.size * geometry.voxel_volume_ml),
                    extent_mm=(edges[0], edges[1], edges[2]),
                    uptake_mean=float(inside.mean()),
                    uptake_max=float(inside.max()),
                )
            )
    return tuple(found)
