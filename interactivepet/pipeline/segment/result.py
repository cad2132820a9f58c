"""The regions of an image with their masks and measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.measures import MeasuredRegion, Value
from interactivepet.core.region import Region, RegionStatus
from interactivepet.core.segmented import RegionCheck, RegionOrigin
from interactivepet.core.summary import PatientSummary, RegionSummary
from interactivepet.core.uptake import UptakeUnit, name_uptake, name_volume
from interactivepet.quantification.case import measure_regions

__all__ = ["SegmentedImage", "SegmentedRegion", "find_margins", "find_voxel_near", "make_image", "name_region"]

GROUP_MEASURES = ("n_lesions", "dmax_mm", "spread_mm")
"""Of several lesions; a region is one."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedRegion:
    """One region.

    Attributes:
        id: its value in the map of all regions, from 1; that of normal uptake is in no map.
        status: `lesion`, `unsure` or `physiological`, as the rules of the detection say.
        rule: the rule that decided.
        reasons: that rule in words, and the checks that failed.
        box: where it lies in the image.
        voxels: (i, j, k) bool within the box.
        shape: of the image.
        clicks_mm: where it was clicked on, in RAS+ mm; none for normal uptake, which is not segmented.
        checks: of the mask.
        measures: name with its unit -> value; None where a measure is not defined.
        quality: predicted Dice; None, as nothing predicts it yet.
    """

    id: int
    status: RegionStatus
    rule: str
    reasons: tuple[str, ...]
    box: BoundingBox
    voxels: npt.NDArray[np.bool_]
    shape: Shape
    clicks_mm: tuple[tuple[float, float, float], ...] = ()
    checks: tuple[RegionCheck, ...] = ()
    measures: Mapping[str, Value] = field(default_factory=dict)
    quality: float | None = None

    @property
    def is_segmented(self) -> bool:
        """Whether the mask is a segmenter's; else it is the bright region."""
        return bool(self.clicks_mm)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Where it is, (I, J, K) bool on the grid of the image."""
        mask = np.zeros(self.shape, np.bool_)
        mask[self.box.slices] = self.voxels
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedImage:
    """What was found in one image.

    Attributes:
        case_id: the case's identifier.
        image: (I, J, K) uptake in `unit`.
        geometry: the grid.
        unit: of the uptake.
        regions: lesions, then unsure ones, then normal uptake, each by rank.
        lesions: measures of the lesions' components, of each lesion as a label and of the patient.
        notes: what a reader should know.
    """

    case_id: str
    image: npt.NDArray[np.float32]
    geometry: Geometry
    unit: UptakeUnit
    regions: tuple[SegmentedRegion, ...]
    lesions: tuple[MeasuredRegion, ...]
    notes: tuple[str, ...]

    @property
    def totals(self) -> dict[str, Value]:
        """Measures of all lesions together, without unsure regions and normal uptake."""
        totals = dict(self.lesions[-1].values)
        return totals | {"n_lesions": sum(region.status == "lesion" for region in self.regions)}

    @property
    def numbers(self) -> npt.NDArray[np.uint8]:
        """The map of all regions that were segmented, lesions and unsure ones: (I, J, K), 0 or the region's `id`."""
        return _draw([region for region in self.regions if region.is_segmented], self.geometry.shape).astype(np.uint8)

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """All lesions, without unsure regions and normal uptake: (I, J, K), 0 or 1."""
        lesions = [region for region in self.regions if region.status == "lesion"]
        return (_draw(lesions, self.geometry.shape) > 0).astype(np.uint8)

    @property
    def every_region(self) -> npt.NDArray[np.uint16]:
        """The map that a page draws: (I, J, K), 0 or the region's `id`, normal uptake below everything else."""
        return _draw(sorted(self.regions, key=lambda region: region.is_segmented), self.geometry.shape)

    def summarise(self, *, settings: Mapping[str, str], versions: Mapping[str, str]) -> PatientSummary:
        """Say what the page says."""
        return PatientSummary(
            case=self.case_id,
            unit=self.unit,
            regions=tuple(
                RegionSummary(
                    id=str(region.id),
                    status=region.status,
                    reasons=region.reasons,
                    quality=region.quality,
                    measures=dict(region.measures),
                )
                for region in self.regions
            ),
            totals=self.totals,
            notes=self.notes,
            settings=dict(settings),
            versions=dict(versions),
        )

    def list_origins(self) -> tuple[RegionOrigin, ...]:
        """Say where the regions come from."""
        return tuple(
            RegionOrigin(
                id=region.id,
                rule=region.rule,
                is_segmented=region.is_segmented,
                clicks_mm=region.clicks_mm,
                checks=region.checks,
            )
            for region in self.regions
        )


def make_image(
    case_id: str,
    image: npt.NDArray[np.float32],
    *,
    geometry: Geometry,
    unit: UptakeUnit,
    segmented: Sequence[SegmentedRegion],
    normal: Sequence[Region],
    notes: tuple[str, ...],
) -> SegmentedImage:
    """Number the regions and measure them.

    Args:
        case_id: of the image.
        image: (I, J, K) uptake in `unit`, finite.
        geometry: its grid.
        unit: of the uptake.
        segmented: lesions, then unsure regions, without voxels in common.
        normal: regions of normal uptake.
        notes: what a reader should know.
    """
    numbered = [replace(region, id=number) for number, region in enumerate(segmented, start=1)]
    measured: list[SegmentedRegion] = []
    rows: dict[str, tuple[MeasuredRegion, ...]] = {}
    for status in ("lesion", "unsure"):
        own = [region for region in numbered if region.status == status]
        labels = {name_region(region): region.id for region in own}
        drawn = _draw(own, geometry.shape).astype(np.uint8)
        rows[status] = measure_regions(image, drawn, geometry=geometry, labels=labels, unit=unit)
        measured += [replace(region, measures=_take_measures(rows[status], name_region(region))) for region in own]
    known = [
        _describe_normal(region, len(measured) + n, unit=unit, shape=geometry.shape)
        for n, region in enumerate(normal, start=1)
    ]
    return SegmentedImage(case_id, image, geometry, unit, (*measured, *known), rows["lesion"], notes)


def name_region(region: SegmentedRegion) -> str:
    """Name a region in files."""
    return f"{region.status} {region.id}"


def find_voxel_near(region: Region, geometry: Geometry) -> Shape:
    """Give the voxel at a region's hottest place, or the voxel of the region that is nearest to it."""
    places = np.argwhere(region.mask) + np.asarray(region.box.start)
    offsets = (places - geometry.to_voxel(region.peak_mm)) * np.asarray(geometry.spacing_mm)
    return to_triple(int(index) for index in places[np.argmin((offsets**2).sum(axis=1))])


def find_margins(region: Region) -> tuple[Shape, ...]:
    """Give a voxel of the region at each of its six ends along the axes, from the middle of those that are as far."""
    places = np.argwhere(region.mask)
    ends = []
    for axis in range(3):
        for end in (places[:, axis].min(), places[:, axis].max()):
            at_end = places[places[:, axis] == end]
            ends.append(at_end[len(at_end) // 2] + np.asarray(region.box.start))
    return tuple(to_triple(int(index) for index in place) for place in ends)


def _draw(regions: Sequence[SegmentedRegion], shape: Shape) -> npt.NDArray[np.uint16]:
    numbers = np.zeros(shape, np.uint16)
    for region in regions:
        numbers[region.box.slices][region.voxels] = region.id
    return numbers


def _take_measures(rows: Sequence[MeasuredRegion], name: str) -> dict[str, Value]:
    """Take the measures of a region: of its only component, or of all of them together, which have no shape."""
    components = [row for row in rows if row.label == name and row.level == "lesion"]
    if len(components) == 1:
        return dict(components[0].values)
    (whole,) = (row for row in rows if row.label == name and row.level == "label")
    return {key: value for key, value in whole.values.items() if key not in GROUP_MEASURES}


def _describe_normal(region: Region, number: int, *, unit: UptakeUnit, shape: Shape) -> SegmentedRegion:
    """Describe a region of normal uptake, which is not segmented, by the bright region itself."""
    measures: dict[str, Value] = {
        name_uptake("max", unit): region.maximum,
        name_uptake("mean", unit): region.mean,
        name_volume(unit): region.volume_ml,
    }
    return SegmentedRegion(
        id=number,
        status=region.status,
        rule=region.rule,
        reasons=(region.reason,),
        box=region.box,
        voxels=region.mask,
        shape=shape,
        measures=measures,
    )
