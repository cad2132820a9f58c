"""One image without a user: its bright regions are found, each is clicked on, and the masks are joined and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.core.region import Region
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.checks import is_pet
from interactivepet.detection.find import Detection, find_regions
from interactivepet.errors import CaseError
from interactivepet.pipeline.segment.checks import check_mask
from interactivepet.pipeline.segment.events import Events
from interactivepet.pipeline.segment.options import SegmentOptions
from interactivepet.pipeline.segment.result import (
    SegmentedImage,
    SegmentedRegion,
    find_margins,
    find_voxel_near,
    make_image,
)
from interactivepet.pipeline.segment.segmenters import Position, RegionSegmenter, SegmentClicks

__all__ = ["segment_image"]

SAME_SHARE = 0.5
"""Two masks are one lesion when they share this part of the smaller one."""

BoolVolume = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What a segmenter made of a bright region.

    Attributes:
        region: that was clicked on.
        clicks_mm: where.
        voxel: its hottest one, which was clicked on.
        box: around the mask.
        mask: (i, j, k) within the box.
        n_components: of the answer, before any was dropped.
    """

    region: Region
    clicks_mm: tuple[Position, ...]
    voxel: Shape
    box: BoundingBox
    mask: BoolVolume
    n_components: int


def segment_image(
    case: Case,
    segmenter: RegionSegmenter,
    *,
    unit: UptakeUnit,
    channels: Sequence[str] = ("PET",),
    options: SegmentOptions | None = None,
    events: Events | None = None,
) -> SegmentedImage:
    """Find the regions of an image and segment those that are not normal uptake, one click each.

    A click lies at the hottest place of a region; a method without training is shown the six voxels where the region
    ends along the axes as well. Of the answer the parts stay that hold the click or voxels of the
    region, the largest first and at most `options.max_components`. Masks of which one holds the
    other's hottest voxel, or that share half of the smaller one, are one lesion that was clicked on twice, and are
    joined. Of masks that share less, the voxels stay with the first, lesions before unsure regions.

    Args:
        case: image (C, I, J, K); regions are found in its PET channel, the first one without a name that tells.
        segmenter: what segments.
        unit: of the PET channel.
        channels: names of the channels.
        options: how regions are found, and how many are segmented.
        events: takes note of every step.

    Raises:
        CaseError: the image has no body, the method needs SUV, a liver or a blood pool that is not there, or the
            segmenter refuses the image.
        SegmenterError: the segmenter failed.
    """
    options, events = options or SegmentOptions(), events or Events(case.id)
    image = case.image[next((n for n, name in enumerate(channels) if is_pet(name)), 0)]
    if options.regions == "suv" and not unit.startswith(("suv", "sul")):
        raise CaseError(f"{case.id}: the unit is {unit}, expected SUV for --regions suv; choose percentile")
    if not np.isfinite(image).all():
        raise CaseError(f"{case.id}: the image holds voxels that are not finite; correct or export it again")
    with events.step("detect"):
        found = find_regions(image, case.geometry, case_id=case.id, options=options.find_options())
    wanted = [region for region in found.regions if region.status != "physiological"]
    with events.step("segment"), segmenter.open(case) as segment:
        answers = [
            _segment(region, segment, case=case, options=options, with_margins=segmenter.takes_margins)
            for region in wanted[: options.max_regions]
        ]
    normal = [region for region in found.regions if region.status == "physiological"]
    groups = _join(answers)
    regions = [_make_region(group, image=image, normal=normal, options=options) for group in groups]
    regions = _separate(sorted(regions, key=lambda region: region.status != "lesion"))
    with events.step("measure"):
        return make_image(
            case.id,
            image,
            geometry=case.geometry,
            unit=unit,
            segmented=regions,
            normal=normal,
            notes=_write_notes(found, n_left=len(wanted) - len(answers), n_joined=len(answers) - len(groups)),
        )


def _segment(
    region: Region, segment: SegmentClicks, *, case: Case, options: SegmentOptions, with_margins: bool
) -> _Answer:
    """Click on a region."""
    geometry = case.geometry
    voxel = find_voxel_near(region, geometry)
    voxels = dict.fromkeys([*(find_margins(region) if with_margins else ()), voxel])
    clicks_mm = tuple(_to_position(geometry.to_mm(one)) for one in voxels)
    mask = segment(clicks_mm).copy()
    mask[voxel] = True
    box = BoundingBox.of(mask) or region.box
    kept, n_components = _keep_own(mask[box.slices], box, region=region, voxel=voxel, most=options.max_components)
    inner = BoundingBox.of(kept)
    if inner is None:
        raise CaseError(f"{case.id}: region {region.id} has no voxel")
    own = BoundingBox.at(to_triple(a + b for a, b in zip(box.start, inner.start, strict=True)), inner.shape)
    return _Answer(region, clicks_mm, voxel, own, kept[inner.slices].copy(), n_components)


def _keep_own(mask: BoolVolume, box: BoundingBox, *, region: Region, voxel: Shape, most: int) -> tuple[BoolVolume, int]:
    """Keep the components that hold the click or a part of the region, the largest; gives how many there were."""
    components, n = find_components(mask)
    clicked = int(components[tuple(a - b for a, b in zip(voxel, box.start, strict=True))])
    common = box.intersection(region.box)
    touched: set[int] = set()
    if common is not None:
        inside = components[common.slices_in(box)][region.mask[common.slices_in(region.box)]]
        touched = set(np.unique(inside).tolist()) - {0, clicked}
    sizes = np.bincount(components.ravel(), minlength=n + 1)
    others = sorted(touched, key=lambda number: (-int(sizes[number]), number))
    return np.isin(components, [clicked, *others[: most - 1]]), n


def _join(answers: Sequence[_Answer]) -> list[list[_Answer]]:
    """Group answers that show one lesion, directly or through others; in the order of their first members."""
    groups: list[list[_Answer]] = []
    for answer in answers:
        touching = [group for group in groups if any(_show_one(answer, other) for other in group)]
        joined = [member for group in touching for member in group] + [answer]
        place = groups.index(touching[0]) if touching else len(groups)
        groups = [group for group in groups if group not in touching]
        groups.insert(place, joined)
    return groups


def _show_one(one: _Answer, other: _Answer) -> bool:
    """Whether one mask holds the hottest voxel of the other, or they share half of the smaller one."""
    common = one.box.intersection(other.box)
    if common is None:
        return False
    n_shared = int((one.mask[common.slices_in(one.box)] & other.mask[common.slices_in(other.box)]).sum())
    is_half = n_shared >= SAME_SHARE * min(int(one.mask.sum()), int(other.mask.sum()))
    return is_half or _holds(one, other.voxel) or _holds(other, one.voxel)


def _holds(answer: _Answer, voxel: Shape) -> bool:
    inner = answer.box.offset(voxel)
    is_inside = all(0 <= index < n for index, n in zip(inner, answer.mask.shape, strict=True))
    return is_inside and bool(answer.mask[inner])


def _separate(regions: Sequence[SegmentedRegion]) -> list[SegmentedRegion]:
    """Leave voxels that masks share to the first of them; each keeps its clicks, which lie in no other mask."""
    taken = np.zeros(regions[0].shape, np.bool_) if regions else np.zeros((1, 1, 1), np.bool_)
    separate = []
    for region in regions:
        part = taken[region.box.slices]
        separate.append(replace(region, voxels=region.voxels & ~part))
        part |= region.voxels
    return separate


def _make_region(
    group: Sequence[_Answer], *, image: npt.NDArray[np.float32], normal: Sequence[Region], options: SegmentOptions
) -> SegmentedRegion:
    """Make one region of the answers whose masks overlap; a lesion among them makes all of it a lesion."""
    box = group[0].box
    for answer in group[1:]:
        box = box.union(answer.box)
    mask = np.zeros(box.shape, np.bool_)
    for answer in group:
        mask[answer.box.slices_in(box)] |= answer.mask
    checks = check_mask(
        mask,
        box,
        image=image,
        candidates=[answer.region for answer in group],
        normal=normal,
        n_components=max(answer.n_components for answer in group),
        max_components=options.max_components,
    )
    first = min((answer.region for answer in group), key=lambda region: (region.status != "lesion", region.id))
    failed = [f"{check.name}: {check.value:.3g}, expected {check.limit}" for check in checks if not check.passed]
    joined = [f"{len(group)} bright regions whose masks overlap"] if len(group) > 1 else []
    return SegmentedRegion(
        id=0,
        status=first.status,
        rule=first.rule,
        reasons=(first.reason, *joined, *failed),
        box=box,
        voxels=mask,
        shape=_to_shape(image),
        clicks_mm=tuple(place for answer in group for place in answer.clicks_mm),
        checks=checks,
    )


def _to_position(place: npt.NDArray[np.float64]) -> Position:
    x, y, z = place.tolist()
    return (x, y, z)


def _to_shape(image: npt.NDArray[np.float32]) -> Shape:
    i, j, k = image.shape
    return (i, j, k)


def _write_notes(found: Detection, *, n_left: int, n_joined: int) -> tuple[str, ...]:
    """Say what a reader of the page should know."""
    notes = []
    if found.reference is None:
        notes.append("No liver is seen, so normal uptake cannot be told apart, and every region is unsure.")
    if n_left:
        notes.append(f"{n_left} further bright regions were not segmented, as that many are beyond --max-regions.")
    if n_joined:
        notes.append(f"{n_joined} masks showed the lesion of another one and were joined with it.")
    if found.n_small:
        notes.append(f"{found.n_small} bright regions are smaller than --min-volume-ml and were not looked at.")
    return tuple(notes)
