"""What a candidate region is taken for: rules that name themselves, the first that applies decides.

| rule | status | region |
|---|---|---|
| name of an organ | physiological | half of it lies in the organ; one far hotter than liver or bowel is none of it |
| `outside` | unsure | it lies in the air, or in an arm, where the tracer is injected |
| `background` | physiological | it is no hotter than the liver: Deauville 3 or less |
| `cut` | unsure | it is at the first or last slice, where noise is high, and hardly in the image |
| `symmetry` | physiological | its mirror image is as hot: muscle, brown fat, glands; unsure when hot below the chest |
| `ureter` | unsure | small and hot, between kidneys and bladder, beside the spine |
| `marrow` | physiological | part of a band along the spine, and moderately hot |
| `throat` | unsure | in neck and face, and moderately hot |
| `bowel` | unsure | in front of the spine in abdomen and pelvis, moderately hot, and not compact |
| `contrast` | unsure | hardly hotter than its surroundings |
| `lesion` | lesion | none of these |

Moderately hot is less than PERCIST asks of a lesion, 1.5 times the liver and two standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from interactivepet.core.region import RegionStatus
from interactivepet.detection.body import Body
from interactivepet.detection.candidates import Candidate
from interactivepet.detection.organs import Place, locate
from interactivepet.detection.reference import Liver, Reference, percist_threshold
from interactivepet.detection.scan import BoolVolume, Scan, Volume

__all__ = ["Surroundings", "Verdict", "judge"]

MOST_BY_ORGAN = {
    "liver": 1.6,
    "spleen": 3.0,
    "stomach": 2.5,
    "bowel": 2.5,
    "muscle": 2.5,
}
"""Uptake up to which an organ explains a region, as a multiple of the liver; any uptake in the others, which hold
urine or burn sugar."""

BLURRED_ML, BLURRED_CONTRAST = 3.0, 4.0
"""Blur takes up to half of the uptake of regions up to this volume (16 mm across): with such a contrast they count."""

URINE = 2.0
"""Uptake of urine in a ureter at least, as a multiple of the liver."""

COMPACT, LONGEST_MM = 0.6, 45.0
"""Share of the ellipsoid in its box that a compact region fills, and its longest edge; bowel and muscles are longer."""

ARM_MM = 200.0
"""Further from the body's middle lie arms."""

MIRROR_MM = 15.0
"""How far from its mirror image a region's counterpart may lie."""

SYMMETRY = 0.65
"""Uptake of the counterpart at least, as a share of the region's, and at most as the inverse."""

ASIDE_MM = 20.0
"""Nearer to the body's middle a region is its own mirror image."""

LEAST_CONTRAST = 2.0
"""Peak over the surroundings that a lesion has at least."""

BAND_MM = 100.0
"""Length of the band along the spine that is marrow."""

NECK_MM = 200.0
"""Height above the liver from which neck and face begin."""

HILUM = ((20.0, 60.0), (0.3, 0.7), (70.0, 190.0))
"""Where nodes of both lung hila lie, which are symmetrical in disease."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Status, rule and its words."""

    status: RegionStatus
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What rules know besides the region.

    Attributes:
        scan: gives the size of voxels.
        values: (X, Y, Z) smoothed uptake.
        body: of the scan.
        organ: the liver, from which places are measured.
        liver: uptake of the liver, or of what takes its place.
        organs: name -> (X, Y, Z) bool.
        candidates: all of the scan.
    """

    scan: Scan
    values: Volume
    body: Body
    organ: Liver
    liver: Reference
    organs: Mapping[str, BoolVolume]
    candidates: tuple[Candidate, ...]

    @property
    def weak(self) -> float:
        """Uptake that the liver's own noise reaches."""
        return self.liver.mean + 2.0 * self.liver.spread

    @property
    def strong(self) -> float:
        """PERCIST's threshold."""
        return percist_threshold(self.liver)


Rule = Callable[[Candidate, Place, Surroundings], Verdict | None]


def judge(candidate: Candidate, around: Surroundings) -> Verdict:
    """Say what a candidate is taken for.

    Args:
        candidate: the region.
        around: organs, liver, body and the other candidates.
    """
    place = locate(around.scan, around.body, around.organ, voxel=candidate.voxel)
    for rule in RULES:
        verdict = rule(candidate, place, around)
        if verdict is not None:
            return verdict
    ratio = candidate.peak / around.liver.mean
    return Verdict("lesion", "lesion", f"{ratio:.1f} times the liver, and no rule of normal uptake applies")


def _is_organ(candidate: Candidate, _: Place, around: Surroundings) -> Verdict | None:
    ratio = candidate.peak / around.liver.mean
    for name, share in _list_organs(candidate, around):
        most = MOST_BY_ORGAN.get(name, float("inf"))
        if ratio <= most:
            return Verdict("physiological", name, f"{share:.0%} of it lies in the {name}")
        if name in ("stomach", "bowel"):
            return Verdict("unsure", name, f"in the {name}, but {ratio:.1f} times the liver")
    return None


def _list_organs(candidate: Candidate, around: Surroundings) -> list[tuple[str, float]]:
    """List the organs that hold a region's maximum or half of it, with the share of it that they hold."""
    shares = {name: float(mask[candidate.box.slices][candidate.mask].mean()) for name, mask in around.organs.items()}
    return [(name, share) for name, share in shares.items() if share >= 0.5 or around.organs[name][candidate.voxel]]


def _is_outside(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    if not around.body.mask[candidate.voxel]:
        return Verdict("unsure", "outside", "outside of the body")
    if abs(place.right_mm) > ARM_MM:
        return Verdict("unsure", "outside", "in an arm, perhaps where the tracer was injected")
    return None


def _is_background(candidate: Candidate, _: Place, around: Surroundings) -> Verdict | None:
    contrast = candidate.peak / max(candidate.background, 1e-6)
    if candidate.peak > around.weak or (candidate.volume_ml <= BLURRED_ML and contrast >= BLURRED_CONTRAST):
        return None
    ratio = candidate.peak / around.liver.mean
    return Verdict("physiological", "background", f"{ratio:.1f} times the liver, which is within its noise")


def _is_cut(candidate: Candidate, _: Place, around: Surroundings) -> Verdict | None:
    low, high = candidate.box.start[2], candidate.box.stop[2]
    thick = (high - low) * around.scan.spacing_mm[2]
    if (low > 0 and high < around.values.shape[2]) or thick > 10:
        return None
    return Verdict("unsure", "cut", f"cut by the end of the image, {thick:.0f} mm of it are seen")


def _is_symmetric(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    if abs(place.right_mm) < ASIDE_MM or _is_at(place, HILUM):
        return None
    x, y, z = candidate.voxel
    spacing = np.asarray(around.scan.spacing_mm)
    mirrored = np.array([2 * around.body.middle_mm[z] - x * spacing[0], y * spacing[1], z * spacing[2]])
    pairs = [
        other
        for other in around.candidates
        if np.linalg.norm(np.asarray(other.voxel) * spacing - mirrored) <= MIRROR_MM
        and SYMMETRY <= other.peak / candidate.peak <= 1 / SYMMETRY
    ]
    if not pairs or _list_organs(pairs[0], around):
        return None
    told = f"its mirror image has {pairs[0].peak / candidate.peak:.0%} of its uptake"
    if candidate.peak > around.strong and place.up_mm < 60:
        return Verdict("unsure", "symmetry", f"{told}: muscle, or nodes on both sides")
    return Verdict("physiological", "symmetry", f"{told}: muscle, brown fat or glands")


def _is_ureter(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    if candidate.volume_ml > 6 or candidate.peak < URINE * around.liver.mean:
        return None
    if not _is_at(place, ((12.0, 60.0), (0.35, 0.75), (-290.0, -120.0))):
        return None
    return Verdict("unsure", "ureter", f"{candidate.volume_ml:.1f} ml where the ureter runs")


def _is_marrow(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    if candidate.peak > around.strong or not _is_at(place, ((0.0, 30.0), (0.0, 0.5), (-300.0, 250.0))):
        return None
    x, y, z = candidate.voxel
    reach = round(BAND_MM / around.scan.spacing_mm[2])
    near = around.values[max(0, x - 2) : x + 3, max(0, y - 2) : y + 3, max(0, z - reach) : z + reach + 1]
    hot = (near.max(axis=(0, 1)) >= 0.55 * candidate.peak).sum() * around.scan.spacing_mm[2]
    if hot < BAND_MM:
        return None
    return Verdict("physiological", "marrow", f"part of {hot:.0f} mm of even uptake along the spine")


def _is_throat(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    most = max(around.strong, 3 * around.liver.mean) if abs(place.right_mm) <= 35 else around.strong
    if place.up_mm < NECK_MM or abs(place.right_mm) > 90 or candidate.peak > most:
        return None
    return Verdict("unsure", "throat", "in neck or face, where mouth, tonsils, glands and larynx take tracer up")


def _is_bowel(candidate: Candidate, place: Place, around: Surroundings) -> Verdict | None:
    is_compact = _is_compact(candidate, around.scan)
    if candidate.peak > around.strong or is_compact or not _is_at(place, ((0.0, 130.0), (0.35, 1.0), (-400.0, -20.0))):
        return None
    return Verdict("unsure", "bowel", "moderate uptake where bowel and urinary tract lie")


def _has_little_contrast(candidate: Candidate, _: Place, __: Surroundings) -> Verdict | None:
    contrast = candidate.peak / max(candidate.background, 1e-6)
    if contrast >= LEAST_CONTRAST:
        return None
    return Verdict("unsure", "contrast", f"only {contrast:.1f} times its surroundings")


def _is_compact(candidate: Candidate, scan: Scan) -> bool:
    """Whether a region is short and fills most of the ellipsoid within its box."""
    edges = [n * mm for n, mm in zip(candidate.mask.shape, scan.spacing_mm, strict=True)]
    share = candidate.volume_ml / (np.pi / 6 * np.prod(edges) / 1000)
    return max(edges) <= LONGEST_MM and bool(share >= COMPACT)


def _is_at(place: Place, zone: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]) -> bool:
    """Whether a place is within distances from the middle, depths and heights."""
    found = (abs(place.right_mm), place.depth, place.up_mm)
    return all(low <= value <= high for value, (low, high) in zip(found, zone, strict=True))


RULES: tuple[Rule, ...] = (
    _is_organ,
    _is_outside,
    _is_background,
    _is_cut,
    _is_symmetric,
    _is_ureter,
    _is_marrow,
    _is_throat,
    _is_bowel,
    _has_little_contrast,
)
