"""Each rule on made regions: where they lie, how hot and large they are, and what they are taken for."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Shape
from interactivepet.detection.body import Body
from interactivepet.detection.candidates import Candidate
from interactivepet.detection.organs import locate
from interactivepet.detection.reference import Liver, Reference, percist_threshold
from interactivepet.detection.rules import Surroundings, judge
from interactivepet.detection.scan import Scan

SHAPE = (120, 60, 220)
MM = 4.0
MIDDLE, BACK, DEPTH, LIVER_Z = 60, 10, 40, 110
LIVER = Reference("liver", 2.0, 0.2)
WEAK, STRONG = 2.0 + 0.4, percist_threshold(LIVER)


def at(right_mm: float, depth: float, up_mm: float) -> Shape:
    return (round(MIDDLE + right_mm / MM), round(BACK + depth * DEPTH), round(LIVER_Z + up_mm / MM))


def make_candidate(
    voxel: Shape, peak: float, *, edges: Shape = (5, 5, 5), fill: float = 0.8, contrast: float = 6.0
) -> Candidate:
    """Make a region around a voxel, of which the ellipsoid in its box is filled to a share."""
    offset = (np.moveaxis(np.indices(edges), 0, -1) - (np.asarray(edges) - 1) / 2) / (np.asarray(edges) / 2)
    mask = (offset**2).sum(axis=-1) <= 1
    drop = np.flatnonzero(mask)[:: max(2, round(1 / max(1 - fill, 1e-3)))] if fill < 0.8 else []
    mask.ravel()[drop] = False
    start = tuple(v - n // 2 for v, n in zip(voxel, edges, strict=True))
    mask[tuple(n // 2 for n in edges)] = True
    return Candidate(BoundingBox.at(start, edges), mask, voxel, peak, peak / contrast, mask.sum() * MM**3 / 1000)


def make_surroundings(*others: Candidate, organs: dict[str, np.ndarray] | None = None) -> Surroundings:
    values = np.full(SHAPE, 0.6, np.float32)
    mask = np.zeros(SHAPE, np.bool_)
    mask[MIDDLE - 45 : MIDDLE + 46, BACK - 2 : BACK + DEPTH + 2] = True
    full = [np.full(SHAPE[2], value * MM) for value in (MIDDLE, BACK, DEPTH)]
    scan = Scan(values, (MM, MM, MM), (0, 1, 2), (False, False, False), (1, 1, 1), SHAPE)
    core = np.zeros(SHAPE, np.bool_)
    core[at(60, 0.5, 0)] = True
    liver = Liver(LIVER, core, (80 * MM, 30 * MM, LIVER_Z * MM))
    return Surroundings(scan, values, Body(mask, full[0], full[1], full[2], 0.6), liver, LIVER, organs or {}, others)


def box_mask(voxel: Shape, margin: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, np.bool_)
    mask[tuple(slice(v - margin, v + margin + 1) for v in voxel)] = True
    return mask


LUNG, ABDOMEN, NECK, THIGH = at(80, 0.5, 150), at(60, 0.6, -150), at(60, 0.5, 260), at(-60, 0.4, -400)
URETER = at(36, 0.55, -220)
LONG = (4, 4, 14)

TABLE = [
    ("hot in the lung", make_candidate(LUNG, 6.0), "lesion", "lesion"),
    ("moderately hot in the lung", make_candidate(LUNG, 3.0), "lesion", "lesion"),
    ("hot in the thigh", make_candidate(THIGH, 6.0), "lesion", "lesion"),
    ("hot in the abdomen", make_candidate(ABDOMEN, STRONG + 0.1, edges=LONG), "lesion", "lesion"),
    ("compact in the abdomen", make_candidate(ABDOMEN, 3.0), "lesion", "lesion"),
    ("a loop in the abdomen", make_candidate(ABDOMEN, 3.0, edges=LONG), "unsure", "bowel"),
    ("ragged in the abdomen", make_candidate(ABDOMEN, 3.0, edges=(9, 9, 9), fill=0.5), "unsure", "bowel"),
    ("as the liver", make_candidate(LUNG, WEAK - 0.1), "physiological", "background"),
    ("as the liver, with contrast", make_candidate(LUNG, WEAK - 0.1, contrast=9.0), "physiological", "background"),
    ("as the liver, small, with contrast", make_candidate(LUNG, 2.0, edges=(3, 3, 3)), "lesion", "lesion"),
    ("as the liver, small", make_candidate(LUNG, 2.0, edges=(3, 3, 3), contrast=3.0), "physiological", "background"),
    ("hardly hotter than around", make_candidate(LUNG, 6.0, contrast=1.6), "unsure", "contrast"),
    ("in the air", make_candidate(at(0, 1.15, 0), 6.0), "unsure", "outside"),
    ("in an arm", make_candidate((MIDDLE + 52, 30, 150), 30.0), "unsure", "outside"),
    ("at the first slice", make_candidate((90, 30, 0), 6.0, edges=(5, 5, 1)), "unsure", "cut"),
    ("at the last slice", make_candidate((30, 30, 219), 6.0, edges=(5, 5, 1)), "unsure", "cut"),
    ("large at the first slice", make_candidate((90, 30, 3), 6.0, edges=(7, 7, 7)), "lesion", "lesion"),
    ("small and hot beside the spine", make_candidate(URETER, 8.0, edges=(3, 3, 5)), "unsure", "ureter"),
    ("large and hot beside the spine", make_candidate(URETER, 8.0, edges=(9, 9, 9)), "lesion", "lesion"),
    ("small and moderately hot beside the spine", make_candidate(URETER, 3.0, edges=(3, 3, 3)), "lesion", "lesion"),
    ("in the throat", make_candidate(at(0, 0.6, 260), 5.5), "unsure", "throat"),
    ("hot in the throat", make_candidate(at(0, 0.6, 260), 6.5), "lesion", "lesion"),
    ("in a gland", make_candidate(NECK, 3.0), "unsure", "throat"),
    ("hot in the neck", make_candidate(NECK, 4.5), "lesion", "lesion"),
]


@pytest.mark.parametrize(("candidate", "status", "rule"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_region_is_taken_for(candidate: Candidate, status: str, rule: str) -> None:
    verdict = judge(candidate, make_surroundings(candidate))
    assert (verdict.status, verdict.rule) == (status, rule), verdict.reason
    assert verdict.reason


@pytest.mark.parametrize(
    ("organ", "peak", "status", "rule"),
    [
        ("bladder", 40.0, "physiological", "bladder"),
        ("brain", 12.0, "physiological", "brain"),
        ("heart", 12.0, "physiological", "heart"),
        ("left kidney", 12.0, "physiological", "left kidney"),
        ("liver", 3.0, "physiological", "liver"),
        ("liver", 3.4, "lesion", "lesion"),
        ("spleen", 5.9, "physiological", "spleen"),
        ("spleen", 6.1, "lesion", "lesion"),
        ("bowel", 4.9, "physiological", "bowel"),
        ("bowel", 5.1, "unsure", "bowel"),
        ("stomach", 9.0, "unsure", "stomach"),
        ("muscle", 4.9, "physiological", "muscle"),
        ("muscle", 9.0, "lesion", "lesion"),
    ],
)
def test_organs_explain_regions_up_to_a_limit(organ: str, peak: float, status: str, rule: str) -> None:
    candidate = make_candidate(LUNG, peak)
    verdict = judge(candidate, make_surroundings(organs={organ: box_mask(LUNG)}))
    assert (verdict.status, verdict.rule) == (status, rule)


def test_a_region_beside_an_organ_is_none_of_it() -> None:
    x, y, z = LUNG
    beside = make_surroundings(organs={"heart": box_mask((x + 6, y, z))})
    assert judge(make_candidate(LUNG, 6.0), beside).status == "lesion"
    over = make_surroundings(organs={"heart": box_mask((x + 5, y, z), margin=5)})
    assert judge(make_candidate(LUNG, 6.0), over).rule == "heart"


@pytest.mark.parametrize(
    ("place", "peak", "other", "status"),
    [
        ((90, 0.4, 180), 5.0, 4.6, "physiological"),
        ((90, 0.4, 180), 5.0, 2.0, "lesion"),
        ((60, 0.4, -400), 3.0, 3.2, "physiological"),
        ((60, 0.4, -400), 5.0, 5.2, "unsure"),
        ((40, 0.5, 130), 5.0, 5.0, "lesion"),
        ((12, 0.5, 180), 5.0, 5.0, "lesion"),
    ],
    ids=["brown fat", "one side", "muscle", "both groins", "hila", "in the middle"],
)
def test_what_is_on_both_sides(place: tuple[float, float, float], peak: float, other: float, status: str) -> None:
    right, depth, up = place
    first = make_candidate(at(right, depth, up), peak)
    second = make_candidate(at(-right + 8, depth, up - 4), other)
    assert judge(first, make_surroundings(first, second)).status == status


def test_a_band_along_the_spine_is_marrow() -> None:
    voxel = at(4, 0.2, -60)
    candidate = make_candidate(voxel, 3.0, edges=(7, 7, 9))
    around = make_surroundings(candidate)
    assert judge(candidate, around).rule == "lesion"
    x, y, z = voxel
    around.values[x - 3 : x + 4, y - 3 : y + 4, z - 20 : z + 21] = 2.5
    assert judge(candidate, around).rule == "marrow"
    hot = make_candidate(voxel, STRONG + 1, edges=(7, 7, 9))
    assert judge(hot, around).rule == "lesion"


def test_places_are_measured_from_liver_and_body() -> None:
    around = make_surroundings()
    place = locate(around.scan, around.body, around.organ, voxel=at(-40, 0.25, 120))
    assert (place.right_mm, place.depth, place.up_mm) == pytest.approx((-40, 0.25, 120))
