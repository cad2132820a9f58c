from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.preprocessing.crop import crop


@pytest.mark.parametrize("with_label", [True, False])
def test_image_label_and_grid_are_cut_alike(with_label: bool) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 7, 8, 9)).astype(np.float32)
    label = rng.integers(3, size=(7, 8, 9), dtype=np.uint8) if with_label else None
    affine = np.array([[0, -3.0, 0, 7], [2.0, 0, 0, 8], [0, 0, 4.0, 9], [0, 0, 0, 1]])
    case = Case("A", image, Geometry((7, 8, 9), affine), label)

    kept = crop(case, BoundingBox((1, 2, 3), (6, 8, 4)))

    assert kept.id == "A"
    assert np.array_equal(kept.image, image[:, 1:6, 2:8, 3:4])
    assert kept.geometry.shape == (5, 6, 1)
    assert kept.geometry.to_mm((0, 0, 0)) == pytest.approx(case.geometry.to_mm((1, 2, 3)))
    assert (kept.label is None) == (label is None)
    if label is not None and kept.label is not None:
        assert np.array_equal(kept.label, label[1:6, 2:8, 3:4])
