from __future__ import annotations

import numpy as np

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.preprocessed import CaseRecord, GridRecord

AFFINE = np.array([[0.0, -4.07283, 0.1, 350.123456789], [4.07, 0, 0, -1 / 3], [0, 0.1, 3.0, 1e-7], [0, 0, 0, 1]])


def test_a_grid_survives_json_to_the_last_bit() -> None:
    record = GridRecord.model_validate_json(GridRecord.of(Geometry((7, 8, 9), AFFINE)).model_dump_json())
    assert record.geometry().shape == (7, 8, 9)
    assert record.geometry().affine.dtype == np.float64
    assert np.array_equal(record.geometry().affine, AFFINE)


def test_a_case_record_survives_json_and_gives_the_way_back() -> None:
    original = Geometry((20, 30, 40), AFFINE)
    box = BoundingBox((1, 2, 3), (11, 22, 33))
    resampled = original.cropped(box).resampled((5, 6, 7))
    record = CaseRecord(
        made_from="ab",
        id="STS_001",
        original=GridRecord.of(original),
        crop_start=box.start,
        crop_stop=box.stop,
        resampled=GridRecord.of(resampled),
        has_label=True,
        volume_sha256="cd",
        clicks=(Click(position_mm=(0.1, -0.2, 1 / 3), label=2, is_positive=False),),
        foreground={2: ((0, 1, 2), (3, 4, 5)), 1: ()},
    )

    again = CaseRecord.model_validate_json(record.model_dump_json())

    assert again == record
    assert again.trace.original.matches(original, tolerance_mm=0.0)
    assert again.trace.crop == box
    assert again.trace.resampled.matches(resampled, tolerance_mm=0.0)
    assert again.foreground[2] == ((0, 1, 2), (3, 4, 5))
