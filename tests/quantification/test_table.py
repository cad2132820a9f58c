from __future__ import annotations

import pytest

from interactivepet.core.measures import CaseMeasures, MeasuredRegion, RegionLevel
from interactivepet.quantification.table import make_csv

CASES = (
    CaseMeasures(
        case="A",
        unit="suv",
        regions=(
            MeasuredRegion(level="lesion", label="x, y", lesion=1, values={"suv_max": 3.5, "mtv_ml": 2}),
            MeasuredRegion(level="label", label="x, y", values={"n_lesions": 1, "suv_max": 3.5}),
            MeasuredRegion(level="patient", values={"n_lesions": 1, "suv_max": None}),
        ),
    ),
    CaseMeasures(
        case='B"',
        unit="counts",
        regions=(
            MeasuredRegion(level="label", label="x, y", values={"n_lesions": 0, "uptake_max_counts": None}),
            MeasuredRegion(level="patient", values={"n_lesions": 0, "uptake_max_counts": 7}),
        ),
    ),
)


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("lesion", ["case,unit,label,lesion,suv_max,mtv_ml", 'A,suv,"x, y",1,3.5,2']),
        (
            "label",
            [
                "case,unit,label,n_lesions,suv_max,uptake_max_counts",
                'A,suv,"x, y",1,3.5,',
                '"B""",counts,"x, y",0,,',
            ],
        ),
        (
            "patient",
            ["case,unit,n_lesions,suv_max,uptake_max_counts", "A,suv,1,,", '"B""",counts,0,,7'],
        ),
    ],
)
def test_rows_of_each_level(level: RegionLevel, lines: list[str]) -> None:
    assert make_csv(CASES, level).splitlines() == lines


def test_no_case_is_a_head_line() -> None:
    assert make_csv((), "patient") == "case,unit\n"
