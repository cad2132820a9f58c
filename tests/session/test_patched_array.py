from __future__ import annotations

import numpy as np

from interactivepet.core.geometry import BoundingBox
from interactivepet.session.patched_array import MOST_PATCHES, PatchedArray

SHAPE = (9, 8, 7)


def draw_box(rng: np.random.Generator) -> BoundingBox:
    low = [int(rng.integers(0, n)) for n in SHAPE]
    high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, SHAPE, strict=True)]
    return BoundingBox(tuple(low), tuple(high))


def test_versions_keep_what_they_were_however_many_follow() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2, *SHAPE), np.float32)
    array = PatchedArray.of(values.copy())
    versions = [(array, values.copy())]
    for _ in range(2 * MOST_PATCHES + 3):
        box = draw_box(rng)
        new = rng.random((2, *box.shape), np.float32)
        array = array.changed(new, box)
        values[(slice(None), *box.slices)] = new
        versions.append((array, values.copy()))
    assert max(version.depth for version, _ in versions) <= MOST_PATCHES
    for version, expected in versions:
        assert np.array_equal(version.flatten(), expected)
        box = draw_box(rng)
        assert np.array_equal(version.read(box), expected[(slice(None), *box.slices)])


def test_what_is_read_can_be_written_to() -> None:
    array = PatchedArray.of(np.zeros((1, *SHAPE), np.float32))
    array.flatten()[...] = 1
    array.read(BoundingBox((0, 0, 0), (2, 2, 2)))[...] = 1
    assert not array.flatten().any()
