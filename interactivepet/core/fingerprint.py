"""What a task's images and labels look like, in numbers: the planner's only input."""

from __future__ import annotations

from typing import ClassVar

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.axes import AxisOrder
from interactivepet.core.intensities import IntensityRange

__all__ = ["CaseFingerprint", "ChannelStatistics", "Fingerprint", "ObjectStatistics"]


class ChannelStatistics(Record):
    """Distribution of one channel's intensities in the channel's own unit."""

    mean: float
    std: float
    minimum: float
    percentile_00_5: float
    median: float
    percentile_99_5: float
    maximum: float


class ObjectStatistics(Record):
    """One connected component of one label."""

    label: int
    volume_ml: float
    extent_mm: tuple[float, float, float]
    """Edges of its bounding box along (i, j, k)."""
    uptake_mean: float
    """Mean of channel 0 inside the object, in that channel's unit."""
    uptake_max: float


class CaseFingerprint(Record):
    """One case: its grid, its intensities and its objects."""

    id: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    crop_shape: tuple[int, int, int]
    """Shape of the box that is kept: what lies outside is background in every channel."""
    foreground: tuple[ChannelStatistics, ...]
    """Per channel, over the voxels of all labels; empty for a case without any."""
    body: tuple[ChannelStatistics, ...]
    """Per channel, over the voxels of the kept box; empty where it was not measured."""
    objects: tuple[ObjectStatistics, ...] | None
    """None: they were not measured, as in a fingerprint of nnU-Net; empty: there are none."""


class Fingerprint(Artefact):
    """The whole task. `made_from` is the manifest's hash."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"axis_order", "intensities"})

    task: str
    channels: tuple[str, ...]
    labels: dict[str, int]
    cases: tuple[CaseFingerprint, ...]
    foreground: tuple[ChannelStatistics, ...]
    """Per channel, over a sample of every case's foreground with equal weight a case."""
    body: tuple[ChannelStatistics, ...]
    """Per channel, over a sample of every case's kept box with equal weight a case; empty where not measured."""
    axis_order: AxisOrder | None = None
    """The order of voxel axes that most cases have, and in which shapes and spacings are given; None where it was not
    measured, and every case is taken as it is stored."""
    intensities: tuple[IntensityRange, ...] | None = None
    """Per channel, over all cases; None where it was not measured."""
