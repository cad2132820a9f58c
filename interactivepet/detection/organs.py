"""Organs of normal uptake, found without CT: by where they lie relative to liver and body, and how hot they are.

Positions are those of adults; the zones leave room for tall and short ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.detection.body import Body
from interactivepet.detection.reference import Liver
from interactivepet.detection.scan import BoolVolume, Scan, Volume

__all__ = ["Place", "find_organs", "locate"]

Range = tuple[float, float]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a voxel lies in the patient.

    Attributes:
        right_mm: from the body's middle to the patient's right; negative to the left.
        depth: 0 at the back, 1 at the front.
        up_mm: from the middle of the liver to the head; negative towards the feet.
    """

    right_mm: float
    depth: float
    up_mm: float


@dataclass(frozen=True, slots=True)
class _Zone:
    """Where an organ lies and what it looks like.

    Attributes:
        name: of the organ.
        right_mm: range.
        depth: range.
        up_mm: range.
        hot: uptake from which a voxel can be its, as a multiple of the liver.
        least_ml: volume of its main part at least.
        least_width_mm: from left to right.
        join_mm: further parts up to this distance belong to it.
    """

    name: str
    right_mm: Range
    depth: Range
    up_mm: Range
    hot: float
    least_ml: float
    least_width_mm: float = 0.0
    join_mm: float = 12.0


ZONES = (
    _Zone("brain", (-95, 95), (-0.5, 1.5), (230, 700), 1.5, 20.0, least_width_mm=60.0, join_mm=30.0),
    _Zone("heart", (-110, 0), (0.4, 1.0), (15, 130), 1.1, 25.0),
    _Zone("right kidney", (22, 110), (0.05, 0.6), (-190, 10), 1.2, 5.0),
    _Zone("left kidney", (-110, -22), (0.05, 0.6), (-190, 10), 1.2, 5.0),
    _Zone("bladder", (-50, 50), (0.2, 1.0), (-450, -180), 1.3, 5.0),
    _Zone("spleen", (-160, -45), (0.0, 0.55), (-70, 70), 0.7, 60.0),
)
"""In the order in which a voxel is given to them; a kidney comes before the spleen that it touches."""

LEFT_LOBE = 1.3
"""Uptake up to which what is near the core is liver rather than heart, as a multiple of the liver."""

LIVER_MM = 30.0
"""How far around the evenly bright core of the liver its outer part reaches."""


def locate(scan: Scan, body: Body, liver: Liver, *, voxel: tuple[int, int, int]) -> Place:
    """Say where a voxel (x, y, z) of the scan lies in the patient."""
    x, y, z = (index * mm for index, mm in zip(voxel, scan.spacing_mm, strict=True))
    k = voxel[2]
    depth = (y - body.back_mm[k]) / max(float(body.depth_mm[k]), 1.0)
    return Place(float(x - body.middle_mm[k]), float(depth), z - liver.centre_mm[2])


def find_organs(scan: Scan, values: Volume, *, body: Body, liver: Liver) -> Mapping[str, BoolVolume]:
    """Find the organs of `ZONES` and the liver.

    Args:
        scan: gives the size of voxels.
        values: (X, Y, Z) smoothed uptake.
        body: of the scan.
        liver: of the scan.

    Returns:
        Name -> (X, Y, Z) bool, of those that are seen.
    """
    places = right, depth, up = _measure_places(scan, body, liver)
    found: dict[str, BoolVolume] = {}
    around_core = _grow_liver(scan, values, liver)
    taken = around_core & (values < LEFT_LOBE * liver.reference.mean)
    for zone in ZONES:
        within = _is_in(right, zone.right_mm)[:, None, :] & _is_in(depth, zone.depth)[None]
        hot = within & _is_in(up, zone.up_mm)[None, None] & (values >= zone.hot * liver.reference.mean) & ~taken
        organ = _take_likeliest(hot, values, scan, zone, places=places)
        if organ is not None:
            found[zone.name] = organ
            taken |= organ
    found["liver"] = around_core & ~reduce(np.logical_or, found.values(), np.zeros_like(taken))
    return found


def _measure_places(scan: Scan, body: Body, liver: Liver) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Measure `Place` for all voxels: (X, Z), (Y, Z) and (Z,)."""
    x, y, z = (np.arange(n) * mm for n, mm in zip(scan.values.shape, scan.spacing_mm, strict=True))
    depth = (y[:, None] - body.back_mm) / np.maximum(body.depth_mm, 1.0)
    return x[:, None] - body.middle_mm, depth, z - liver.centre_mm[2]


def _is_in(values: FloatArray, limits: Range) -> BoolVolume:
    return np.asarray((values >= limits[0]) & (values <= limits[1]))


def _take_likeliest(
    hot: BoolVolume, values: Volume, scan: Scan, zone: _Zone, *, places: tuple[FloatArray, FloatArray, FloatArray]
) -> BoolVolume | None:
    """Take the part with most uptake near the middle of the zone, and those near it; None when all are too small."""
    import edt

    parts, n = find_components(hot, connectivity=6)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    large = [number for number in range(1, n + 1) if sizes[number] * scan.voxel_ml >= zone.least_ml]
    weights = np.bincount(parts.ravel(), weights=values.ravel())
    scores = {number: weights[number] * _weigh(parts == number, zone, places) for number in large}
    for number in sorted(large, key=lambda number: -scores[number])[:1]:
        chosen = parts == number
        columns = np.flatnonzero(chosen.any(axis=(1, 2)))
        if (columns[-1] - columns[0] + 1) * scan.spacing_mm[0] < zone.least_width_mm:
            return None
        distance = edt.edt(~chosen, anisotropy=scan.spacing_mm)
        near = np.unique(parts[hot & (distance <= zone.join_mm)])
        return np.asarray(np.isin(parts, near[near > 0]))
    return None


def _weigh(part: BoolVolume, zone: _Zone, places: tuple[FloatArray, FloatArray, FloatArray]) -> float:
    """Weigh a part by how far its middle lies from that of the zone, in half widths of the zone: 1 in the middle."""
    right, depth, up = places
    x, y, z = np.argwhere(part).mean(axis=0).round().astype(int)
    found = (right[x, z], depth[y, z], up[z])
    limits = (zone.right_mm, zone.depth, zone.up_mm)
    offsets = [(value - (a + b) / 2) / ((b - a) / 2) for value, (a, b) in zip(found, limits, strict=True)]
    return float(np.exp(-np.square(offsets).sum()))


def _grow_liver(scan: Scan, values: Volume, liver: Liver) -> BoolVolume:
    """Give the core and what lies around it, up to half of its uptake."""
    import edt

    distance = edt.edt(~liver.core, anisotropy=scan.spacing_mm)
    return np.asarray((distance <= LIVER_MM) & (values >= 0.5 * liver.reference.mean))
