"""Which tiles of the sliding window are computed, and with how many mirrored inputs: air is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.inference.sliding_window import (
    Mirroring,
    Tile,
    find_mirrorings,
    find_padding,
    find_tiles,
    make_weights,
)

__all__ = ["FEWEST_TILES", "TilePlan", "plan_all_tiles", "plan_tiles"]

FEWEST_TILES = 27
"""Images of fewer tiles, three along each axis, are predicted whole: they are cut-outs, and quick."""

SMALLEST_SHARE = 0.01
"""A tile whose weight is nowhere in the widened body more than this share of all tiles' is not computed."""

ALL_MIRRORINGS = 0.25
"""A tile is mirrored in every way when it is filled by the body at least this much as the fullest tile is. Of a voxel
of the tile, its share of the tiles' summed weight counts."""

EVEN_MIRRORINGS = 0.02
"""The same for half of the mirrorings; a tile with less of the body is computed once."""

Mask = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """The tiles of one prediction; the same for all folds.

    Attributes:
        box: of the network's grid, which the tiles cover; padded where it is smaller than the patch.
        tiles: to compute, in the padded box.
        n_tiles: how many tiles the box has.
        region: (*box.shape) bool; outside of it the background is certain. None means that all is predicted.
    """

    box: BoundingBox
    tiles: tuple[Tile, ...]
    n_tiles: int
    region: Mask | None = None

    def count_passes(self, mirror_axes: Sequence[int]) -> int:
        """Count how often the network runs when inputs are mirrored along some axes (0, 1, 2)."""
        return sum(len(find_mirrorings(mirror_axes, mirroring)) for _, mirroring in self.tiles)

    def find_skipped(self, mirror_axes: Sequence[int]) -> float:
        """Give the share of the network's runs, in [0, 1], that is left out."""
        every = self.n_tiles * len(find_mirrorings(mirror_axes, "all"))
        return 1.0 - self.count_passes(mirror_axes) / every if every else 0.0


def plan_all_tiles(box: BoundingBox, patch: Shape) -> TilePlan:
    """Compute every tile of a box."""
    starts = find_tiles(_add(box.shape, find_padding(box.shape, patch)), patch)
    return TilePlan(box, tuple((start, "all") for start in starts), len(starts))


def plan_tiles(whole: TilePlan, patch: Shape, *, body: Mask, widened: Mask, clicked: Sequence[Shape]) -> TilePlan:
    """Leave out the tiles that do not count in the body, and mirror the others as much as they matter there.

    Tiles keep their places: voxels that only tiles with every mirroring reach have the same values as without this.

    Args:
        whole: all tiles of a box.
        patch: edges of a tile.
        body: (*box.shape) bool.
        widened: (*box.shape) bool, the body with a margin.
        clicked: voxels of the box that hold a click; the tiles that hold one are computed in full.

    Returns:
        `whole` itself when every tile matters.
    """
    padding = find_padding(whole.box.shape, patch)
    before = [pad[0] for pad in padding]
    places = [[v + b for v, b in zip(voxel, before, strict=True)] for voxel in clicked]
    body, widened = np.pad(body, padding), np.pad(widened, padding)
    weights = make_weights(patch).numpy()
    sums = _sum_weights(whole, body.shape, weights=weights)
    fills: list[float] = []
    is_clicked: list[bool] = []
    is_seen: list[bool] = []
    for start, _ in whole.tiles:
        inside = tuple(slice(a, a + edge) for a, edge in zip(start, patch, strict=True))
        shares = weights / sums[inside]
        fills.append(float(shares[body[inside]].sum() / shares.sum()))
        is_seen.append(bool(shares[widened[inside]].max(initial=0.0) > SMALLEST_SHARE))
        is_clicked.append(any(all(s.start <= v < s.stop for s, v in zip(inside, p, strict=True)) for p in places))
    most = max(fills)
    tiles = [
        (start, "all" if clicked else _choose_mirroring(fill, most))
        for (start, _), fill, seen, clicked in zip(whole.tiles, fills, is_seen, is_clicked, strict=True)
        if seen or clicked
    ]
    if tiles == list(whole.tiles):
        return whole
    region = _mark(widened, places, patch)
    inner = tuple(slice(b, b + n) for b, n in zip(before, whole.box.shape, strict=True))
    return TilePlan(whole.box, tuple(tiles), whole.n_tiles, region[inner])


def _choose_mirroring(fill: float, most: float) -> Mirroring:
    if fill >= ALL_MIRRORINGS * most:
        return "all"
    return "even" if fill >= EVEN_MIRRORINGS * most else "none"


def _sum_weights(whole: TilePlan, shape: Sequence[int], *, weights: Weights) -> Weights:
    """Add up the weights of all tiles."""
    sums = np.zeros(shape, np.float32)
    for start, _ in whole.tiles:
        sums[tuple(slice(a, a + edge) for a, edge in zip(start, weights.shape, strict=True))] += weights
    return sums


def _mark(region: Mask, places: Sequence[Sequence[int]], patch: Shape) -> Mask:
    """Add half a patch on each side of clicked voxels: as far as all tiles that hold the click reach."""
    region = region.copy()
    for place in places:
        region[tuple(slice(max(0, v - edge // 2), v + edge // 2 + 1) for v, edge in zip(place, patch, strict=True))] = (
            True
        )
    return region


def _add(shape: Shape, padding: Sequence[tuple[int, int]]) -> Shape:
    return to_triple(n + before + after for n, (before, after) in zip(shape, padding, strict=True))
