from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.uptake import UptakeUnit
from interactivepet.quantification.pairs import list_compared, pair_measures

SHAPE = (9, 8, 7)
GEOMETRY = Geometry(SHAPE, np.diag([10.0, 10.0, 10.0, 1.0]))


@pytest.mark.parametrize("unit", ["suv", "counts", "unknown"])
def test_every_label_is_measured_in_both(unit: UptakeUnit) -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    mask, reference = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    mask[2, 2, 2:5] = 1
    reference[2, 2, 2:4] = 1
    reference[5, 5, 5] = 2
    labels = {"tumour": 1, "node": 2}
    pairs = pair_measures("A", image, mask=mask, reference=reference, geometry=GEOMETRY, labels=labels, unit=unit)
    assert [(pair.label, pair.measure) for pair in pairs] == [(n, m) for n in labels for m in list_compared(unit)]
    found = {(pair.label, pair.measure): (pair.value, pair.reference) for pair in pairs}
    volume, total, maximum, mean, _, _, dmax = list_compared(unit)
    top = float(image[2, 2, 4])
    assert found["tumour", volume] == (3.0, 2.0)
    assert found["tumour", maximum] == (top, top - 1)
    assert found["tumour", mean] == (top - 1, top - 1.5)
    assert found["tumour", "n_lesions"] == (1, 1)
    assert found["node", volume] == (0, 1.0)
    assert found["node", maximum] == (None, float(image[5, 5, 5]))
    assert found["node", total] == (0, float(image[5, 5, 5]))
    assert found["node", dmax] == (None, None)
