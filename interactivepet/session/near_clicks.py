"""The first mask of a large image that was clicked on: only tiles near the clicks, and along what the clicks show."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import PreprocessedCase
from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.core.interaction import Click
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.inference.region import find_windows
from interactivepet.inference.sliding_window import find_padding, find_tiles, make_weights
from interactivepet.preprocessing.restore import make_background
from interactivepet.session.grid_prediction import GridPrediction
from interactivepet.session.patched_array import PatchedArray

__all__ = ["MOST_TILES", "predict_near"]

logger = logging.getLogger(__name__)

MOST_TILES = 64
"""No further tile is added from here on: four along each axis hold two and a half patches. An object that is larger
than this is an organ that the network takes for a lesion, and more clicks help more than more tiles."""

BORDER_SHARE = 8
"""An object reaches the border of what was predicted when it is nearer than a patch's edge divided by this: there a
tile knows little of the surroundings, and counts little in the sliding window as well."""

FloatVolume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def predict_near(ensemble: FoldEnsemble, ready: PreprocessedCase, clicks: Sequence[Click]) -> GridPrediction:
    """Predict near the first clicks on a case; elsewhere the background is certain.

    The windows of `find_windows` come first. Where an object that a positive click shows reaches the border of what was
    predicted, the next tile there is predicted as well, half a patch further, until no object does, or `MOST_TILES`
    are. Tiles are averaged with the weights of the sliding window.

    Args:
        ensemble: the folds.
        ready: the case on the network's grid.
        clicks: in RAS+ mm, at least one.
    """
    grid, patch = ready.trace.resampled, ensemble.plan.patch_size
    scale_mm = ensemble.plan.guidance.scale_mm
    windows = find_windows(clicks, grid, patch=patch, scale_mm=scale_mm)
    positive = [click for click in clicks if click.is_positive]
    shown = [core for _, core in find_windows(positive, grid, patch=patch, scale_mm=scale_mm)]
    canvas = _Canvas(grid.shape, patch, n_classes=1 + len(ensemble.plan.label_values))
    waiting = {start for box, _ in windows for start in _cover(box, patch)}
    while waiting:
        for start in sorted(waiting):
            canvas.add(start, _predict_tile(ensemble, ready, clicks, box=canvas.find_box(start)))
        waiting = set(_find_next(canvas, shown))
        if waiting and len(canvas.starts) + len(waiting) > MOST_TILES:
            logger.info("%s: what was clicked on continues beyond %d tiles; place more clicks", ready.id, MOST_TILES)
            break
    box = canvas.box
    background = np.broadcast_to(make_background(canvas.n_classes, (1, 1, 1)), (canvas.n_classes, *grid.shape))
    return GridPrediction(ready, PatchedArray.of(background).changed(canvas.read(box), box), 0.0, box, is_near=True)


class _Canvas:
    """The tiles that were predicted, averaged; arrays of the whole grid, of which only the tiles take memory.

    Attributes:
        shape: of the grid.
        patch: edges of a tile; a tile ends where the grid does.
        n_classes: with the background.
        starts: of the tiles.
        box: around all tiles.
    """

    def __init__(self, shape: Shape, patch: Shape, *, n_classes: int) -> None:
        self.shape, self.patch, self.n_classes = shape, patch, n_classes
        self.starts: set[Shape] = set()
        self._sums = np.zeros((n_classes, *shape), np.float32)
        self._weights = np.zeros(shape, np.float32)
        inner = tuple(slice(b, b + n) for (b, _), n in zip(find_padding(shape, patch), shape, strict=True))
        self._tile_weights: FloatVolume = make_weights(patch).numpy()[inner]

    @property
    def box(self) -> BoundingBox:
        return reduce(BoundingBox.union, map(self.find_box, self.starts))

    def find_box(self, start: Shape) -> BoundingBox:
        return BoundingBox(
            start, to_triple(min(a + e, n) for a, e, n in zip(start, self.patch, self.shape, strict=True))
        )

    def add(self, start: Shape, probabilities: FloatVolume) -> None:
        """Add a tile (1 + L, *tile)."""
        slices = self.find_box(start).slices
        self._sums[(slice(None), *slices)] += self._tile_weights * probabilities
        self._weights[slices] += self._tile_weights
        self.starts.add(start)

    def find_covered(self, box: BoundingBox) -> Mask:
        """Tell which voxels (*box.shape) were predicted."""
        covered: Mask = self._weights[box.slices] > 0
        return covered

    def read(self, box: BoundingBox) -> FloatVolume:
        """Give the probabilities (1 + L, *box.shape)."""
        values = make_background(self.n_classes, box.shape)
        weights = self._weights[box.slices]
        np.divide(self._sums[(slice(None), *box.slices)], weights, out=values, where=weights > 0)
        return values


def _predict_tile(
    ensemble: FoldEnsemble, ready: PreprocessedCase, clicks: Sequence[Click], *, box: BoundingBox
) -> FloatVolume:
    """Average the folds in one tile, without an earlier mask, as training shows first clicks."""
    previous = np.zeros(box.shape, np.uint8)
    found = [fold.predict_box(ready, clicks, previous=previous, box=box) for fold in ensemble.folds]
    return np.asarray(np.mean(found, axis=0), np.float32)


def _cover(box: BoundingBox, patch: Shape) -> Iterator[Shape]:
    """Give the starts of the tiles of a window."""
    for start in find_tiles(to_triple(max(n, edge) for n, edge in zip(box.shape, patch, strict=True)), patch):
        yield to_triple(a + b for a, b in zip(box.start, start, strict=True))


def _find_next(canvas: _Canvas, shown: Sequence[BoundingBox]) -> Iterator[Shape]:
    """Give the starts of the tiles into which what was clicked on reaches; `shown` are the boxes of positive clicks."""
    clicked = _find_clicked(canvas, shown)
    for start in canvas.starts:
        box = canvas.find_box(start)
        for axis, edge in enumerate(canvas.patch):
            step, reach = max(1, edge // 2), max(1, edge // BORDER_SHARE)
            for sign, room in ((-1, box.start[axis]), (1, canvas.shape[axis] - box.stop[axis])):
                depth = min(reach, room)
                inside, beyond = _find_slabs(box, axis, sign=sign, depth=depth)
                if depth and (clicked[inside.slices] & ~canvas.find_covered(beyond)).any():
                    yield _move(start, axis, sign * min(step, room))


def _find_clicked(canvas: _Canvas, shown: Sequence[BoundingBox]) -> Mask:
    """Find the voxels (I, J, K) of the objects that a positive click shows, or lies directly beside."""
    box = canvas.box
    components, n = find_components(canvas.read(box)[0] < 0.5)
    held = np.zeros(n + 1, np.bool_)
    for core in shown:
        near = core.grown((1, 1, 1), within=canvas.shape)
        held[np.unique(components[near.slices_in(box)])] = True
    held[0] = False
    clicked = np.zeros(canvas.shape, np.bool_)
    clicked[box.slices] = held[components]
    return clicked


def _find_slabs(box: BoundingBox, axis: int, *, sign: int, depth: int) -> tuple[BoundingBox, BoundingBox]:
    """Give the outermost voxels of a tile on one side, and as many beyond it."""
    border = box.stop[axis] if sign > 0 else box.start[axis]
    below, above = (_replace(box, axis, border - depth, border), _replace(box, axis, border, border + depth))
    return (below, above) if sign > 0 else (above, below)


def _replace(box: BoundingBox, axis: int, start: int, stop: int) -> BoundingBox:
    starts, stops = list(box.start), list(box.stop)
    starts[axis], stops[axis] = start, stop
    return BoundingBox(to_triple(starts), to_triple(stops))


def _move(start: Shape, axis: int, offset: int) -> Shape:
    return to_triple(a + (offset if axis == n else 0) for n, a in enumerate(start))
