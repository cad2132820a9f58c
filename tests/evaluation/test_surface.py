"""Surface Dice: shapes whose surface is known, and the package of the paper where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.evaluation.surface import surface_dice

SPACINGS = [(1.0, 1.0, 1.0), (4.07, 4.07, 5.0), (0.7, 2.0, 3.27)]


def make_masks(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Make two blobs that differ, one of them cut by the border of the grid."""
    index = np.indices(shape)
    rng = np.random.default_rng(seed)
    masks = []
    for centre in (np.array(shape) / 2.2, np.array(shape) / 3.1):
        offset = index - centre[:, None, None, None]
        masks.append(np.sqrt((offset**2).sum(axis=0)) + rng.normal(0, 0.4, shape) < min(s for s in shape if s > 1) / 3)
    return masks[0], masks[1]


def test_equal_masks_agree_and_distant_ones_do_not() -> None:
    mask, _ = make_masks(0, (12, 13, 11))
    far = np.zeros((60, 13, 11), bool)
    far[:12] = mask
    assert surface_dice(mask, mask, spacing_mm=(1, 2, 3), tolerances_mm=(0.0, 2.0)) == (1.0, 1.0)
    assert surface_dice(far, np.roll(far, 40, axis=0), spacing_mm=(1, 2, 3), tolerances_mm=(5.0,))[0] == pytest.approx(
        0.0
    )


def test_empty_masks() -> None:
    mask, _ = make_masks(0, (12, 13, 11))
    empty = np.zeros_like(mask)
    assert surface_dice(empty, empty, spacing_mm=(1, 1, 1), tolerances_mm=(2.0, 5.0)) == (None, None)
    assert surface_dice(mask, empty, spacing_mm=(1, 1, 1), tolerances_mm=(2.0,)) == (0.0,)
    assert surface_dice(empty, mask, spacing_mm=(1, 1, 1), tolerances_mm=(2.0,)) == (0.0,)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_a_slab_counts_its_faces_by_area(spacing_mm: tuple[float, float, float]) -> None:
    """A block grown by one voxel on one face: all but that face, and the edges beside it, are where they were."""
    block = np.zeros((40, 42, 20), bool)
    block[5:35, 5:37, 4:10] = True
    grown = block.copy()
    grown[5:35, 5:37, 10] = True
    k = spacing_mm[2]
    near, within = surface_dice(block, grown, spacing_mm=spacing_mm, tolerances_mm=(0.01, k + 1e-4))
    assert within == 1.0
    area = {
        axis: 2 * n * m
        for axis, n, m in (
            (0, 32 * spacing_mm[1], 6 * k),
            (1, 30 * spacing_mm[0], 6 * k),
            (2, 30 * spacing_mm[0], 32 * spacing_mm[1]),
        )
    }
    moved = area[2] / 2
    sides = (area[0] + area[1]) / 6
    expected = 1 - (2 * moved + sides) / (2 * sum(area.values()) + sides)
    assert near == pytest.approx(expected, abs=0.04)


def test_the_length_of_an_outline_decides_in_2d() -> None:
    """Of a row of pixels one end is moved: what is far is the end, in millimetres of outline."""
    mask, reference = np.zeros((30, 5, 1), bool), np.zeros((30, 5, 1), bool)
    mask[2:10, 2, 0], reference[2:20, 2, 0] = True, True
    (near,) = surface_dice(mask, reference, spacing_mm=(1.0, 1.0, 9.0), tolerances_mm=(1.0,))
    corner = np.sqrt(0.5)
    total = (2 * 7 + 4 * corner) + (2 * 17 + 4 * corner)
    # The mask's end lies on the reference's sides. Of the reference, what is more than 1 mm beyond that end is far.
    assert near == pytest.approx((total - 2 * 8 - 2 * corner) / total)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_package_of_the_paper(
    spacing_mm: tuple[float, float, float], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("surface_distance")
    if not hasattr(np, "NaN"):
        monkeypatch.setattr(np, "NaN", np.nan, raising=False)  # the package speaks of numpy 1
    mask, reference = make_masks(seed, (17, 15, 14))
    tolerances = (1.0, 2.0, 5.0)
    distances = package.compute_surface_distances(reference, mask, spacing_mm)
    expected = [package.compute_surface_dice_at_tolerance(distances, limit) for limit in tolerances]
    assert surface_dice(mask, reference, spacing_mm=spacing_mm, tolerances_mm=tolerances) == pytest.approx(expected)
    flat = (mask[:, :, 6:7], reference[:, :, 6:7])
    distances = package.compute_surface_distances(flat[1][..., 0], flat[0][..., 0], spacing_mm[:2])
    expected = [package.compute_surface_dice_at_tolerance(distances, limit) for limit in tolerances]
    assert surface_dice(*flat, spacing_mm=spacing_mm, tolerances_mm=tolerances) == pytest.approx(expected)


def test_the_areas_of_cells_are_those_of_known_solids() -> None:
    """A single voxel has the eight corner pieces of an octahedron; its complement has the same surface."""
    from interactivepet.evaluation.surface import _measure_codes

    areas = _measure_codes((1.0, 1.0, 1.0))
    assert 8 * areas[1] == pytest.approx(np.sqrt(3))  # octahedron of edge 1/sqrt(2): 2 sqrt(3) / 2
    assert areas[0] == areas[255] == 0
    assert areas == pytest.approx(areas[::-1])
    assert areas[0b00001111] == pytest.approx(1.0)
