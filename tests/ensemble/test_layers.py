from __future__ import annotations

import numpy as np

from interactivepet.core.geometry import BoundingBox
from interactivepet.ensemble.layers import MOST_LAYERS, Layer

SHAPE = (9, 8, 7)


def draw_box(rng: np.random.Generator) -> BoundingBox:
    low = [int(rng.integers(0, n)) for n in SHAPE]
    high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, SHAPE, strict=True)]
    return BoundingBox(tuple(low), tuple(high))


def test_versions_keep_what_they_were_however_many_follow() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2, *SHAPE), np.float32)
    layer = Layer.of(values.copy())
    versions = [(layer, values.copy())]
    for _ in range(2 * MOST_LAYERS + 3):
        box = draw_box(rng)
        new = rng.random((2, *box.shape), np.float32)
        layer = layer.changed(new, box)
        values[(slice(None), *box.slices)] = new
        versions.append((layer, values.copy()))
    assert max(version.depth for version, _ in versions) <= MOST_LAYERS
    for version, expected in versions:
        assert np.array_equal(version.flatten(), expected)
        box = draw_box(rng)
        assert np.array_equal(version.read(box), expected[(slice(None), *box.slices)])


def test_what_is_read_can_be_written_to() -> None:
    layer = Layer.of(np.zeros((1, *SHAPE), np.float32))
    layer.flatten()[...] = 1
    layer.read(BoundingBox((0, 0, 0), (2, 2, 2)))[...] = 1
    assert not layer.flatten().any()
