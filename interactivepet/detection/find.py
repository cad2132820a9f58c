"""Find the bright regions of an image and say which are normal uptake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.region import Region, RegionMethod
from interactivepet.detection.body import Body, cut_to_body, find_body
from interactivepet.detection.candidates import Candidate, find_candidates, smooth
from interactivepet.detection.join import join_lesions, leave_liver
from interactivepet.detection.organs import find_organs
from interactivepet.detection.reference import (
    Liver,
    Reference,
    find_blood_pool,
    find_liver,
    measure_sphere,
    percist_threshold,
    take_liver,
)
from interactivepet.detection.rules import Surroundings, Verdict, judge
from interactivepet.detection.scan import BoolVolume, Scan, Volume, make_scan
from interactivepet.errors import CaseError

__all__ = ["Detection", "RegionOptions", "find_regions"]

ORDER = {"lesion": 0, "unsure": 1, "physiological": 2}
"""Order in which regions are shown."""


NO_LIVER = Verdict("unsure", "no liver", "no liver is seen, so normal uptake cannot be told apart")


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """Where candidates begin.

    Attributes:
        method: `percentile` of the body's voxels, a fixed `suv`, or PERCIST's threshold by `liver` or `bloodpool`.
        percentile: of `percentile`, above 0 and below 100.
        suv: of `suv`.
        sphere_mm: centre of a sphere of 3 cm in RAS+ mm, whose uptake takes the place of the liver's; with `bloodpool`
            that of the blood pool's.
        least_ml: smaller regions are only counted.
    """

    method: RegionMethod = "percentile"
    percentile: float = 90.0
    suv: float = 2.5
    sphere_mm: tuple[float, float, float] | None = None
    least_ml: float = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The regions of an image.

    Attributes:
        regions: lesions first, then unsure and physiological ones, each by uptake times volume.
        threshold: from which candidates begin, in the unit of the image.
        reference: uptake of the liver, or of the user's sphere; None where there is no liver.
        n_small: candidates below the least volume, which are not among the regions.
    """

    regions: tuple[Region, ...]
    threshold: float
    reference: Reference | None
    n_small: int


def find_regions(
    image: Volume,
    geometry: Geometry,
    *,
    case_id: str,
    options: RegionOptions | None = None,
    organs: Mapping[str, BoolVolume] | None = None,
) -> Detection:
    """Find the bright regions of a PET and say which are normal uptake.

    Args:
        image: (I, J, K) float32; SUV for the method `suv`, else any unit that is linear in uptake.
        geometry: its grid.
        case_id: for messages.
        options: where candidates begin.
        organs: name -> (I, J, K) bool of organs that are known, which replace those that are found here by name.

    Raises:
        CaseError: no body is seen, or the method needs a liver or blood pool that is not in the image.
    """
    options = options or RegionOptions()
    full = make_scan(image, geometry)
    seen = find_body(full)
    if seen is None:
        raise CaseError(f"{case_id}: no body is brighter than the air, expected a PET; check the image")
    scan, body = cut_to_body(full, seen)
    known = {name: scan.from_grid(mask) for name, mask in (organs or {}).items()}
    liver = take_liver(scan, known["liver"]) if "liver" in known else None
    liver = liver or find_liver(scan, body)
    sphere = _measure_sphere(image, geometry, options=options, case_id=case_id)
    threshold = _find_threshold(scan, body, liver=liver, sphere=sphere, options=options, case_id=case_id)
    values = smooth(scan)
    found = find_candidates(scan, values, threshold=threshold, mask=body.mask)
    large = [candidate for candidate in found if candidate.volume_ml >= options.least_ml]
    reference = None if liver is None else liver.reference
    judged = [(candidate, NO_LIVER) for candidate in large]
    if liver is not None:
        reference = sphere if sphere is not None and options.method != "bloodpool" else liver.reference
        all_organs = {**find_organs(scan, values, body=body, liver=liver), **known}
        bounded = tuple(leave_liver(candidate, scan, values, liver=liver) for candidate in large)
        around = Surroundings(scan, values, body, liver, reference, all_organs, bounded)
        judged = join_lesions([(candidate, judge(candidate, around)) for candidate in bounded], around)
    regions = [_describe(candidate, verdict, scan, image=image, geometry=geometry) for candidate, verdict in judged]
    return Detection(_rank(regions), threshold, reference, len(found) - len(large))


def _measure_sphere(image: Volume, geometry: Geometry, *, options: RegionOptions, case_id: str) -> Reference | None:
    """Measure the user's sphere, where there is one."""
    if options.sphere_mm is None:
        return None
    name = "blood pool" if options.method == "bloodpool" else "liver"
    sphere = measure_sphere(image, geometry, centre_mm=options.sphere_mm, name=name)
    if sphere is None:
        x, y, z = options.sphere_mm
        raise CaseError(f"{case_id}: the sphere at {x:g}, {y:g}, {z:g} mm is outside of the image; place it inside")
    return sphere


def _find_threshold(
    scan: Scan, body: Body, *, liver: Liver | None, sphere: Reference | None, options: RegionOptions, case_id: str
) -> float:
    """Find the uptake from which candidates begin."""
    if options.method == "suv":
        return options.suv
    if options.method == "percentile":
        return float(np.percentile(scan.values[body.mask], options.percentile))
    reference = sphere
    if reference is None and liver is not None:
        reference = liver.reference if options.method == "liver" else find_blood_pool(scan, body, liver)
    if reference is None:
        tissue = "liver" if options.method == "liver" else "blood pool"
        raise CaseError(
            f"{case_id}: no {tissue} is seen in the image, expected one for its threshold; name a reference sphere, or "
            "choose percentile or suv"
        )
    return percist_threshold(reference)


def _describe(candidate: Candidate, verdict: Verdict, scan: Scan, *, image: Volume, geometry: Geometry) -> Region:
    """Bring a region to the voxels of the image."""
    box, mask = scan.to_grid(candidate.box, candidate.mask)
    held = image[box.slices][mask]
    point, _ = scan.to_grid(BoundingBox.of_voxel(candidate.voxel), np.ones((1, 1, 1), np.bool_))
    middle = (np.asarray(point.start) + np.asarray(point.stop) - 1) / 2
    x, y, z = geometry.to_mm(middle).tolist()
    return Region(
        id=0,
        box=box,
        mask=mask,
        peak_mm=(x, y, z),
        peak=candidate.peak,
        maximum=float(held.max()),
        mean=float(held.mean()),
        volume_ml=float(mask.sum()) * geometry.voxel_volume_ml,
        contrast=candidate.peak / max(candidate.background, 1e-6),
        status=verdict.status,
        rule=verdict.rule,
        reason=verdict.reason,
    )


def _rank(regions: Sequence[Region]) -> tuple[Region, ...]:
    ordered = sorted(regions, key=lambda region: (ORDER[region.status], -region.mean * region.volume_ml))
    return tuple(replace(region, id=number) for number, region in enumerate(ordered, start=1))
