from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.core.measures import ReferenceUptake
from interactivepet.errors import CaseError
from interactivepet.pipeline.judge.measure_references import GivenReference, parse_reference, read_references
from interactivepet.quantification.references import ReferenceSphere


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([2.5], ReferenceUptake(mean=2.5)),
        ([2.5, 0.5], ReferenceUptake(mean=2.5, sd=0.5)),
        ([2.5, 0, 2.5], ReferenceUptake(mean=2.5, sd=0, maximum=2.5)),
        ([-1, 2, -3, 30], ReferenceSphere((-1, 2, -3), 30)),
    ],
)
def test_numbers(numbers: list[float], expected: GivenReference) -> None:
    assert parse_reference(numbers) == expected


@pytest.mark.parametrize(
    "numbers",
    [[], [0], [-1], [2, -1], [2, 1, 1.9], [float("nan")], [1, float("inf")], [1, 2, 3, 0], [1, 2, 3, -4], [1] * 5],
)
def test_numbers_that_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_reference(numbers)


def test_a_table_of_cases(tmp_path: Path) -> None:
    path = tmp_path / "organs.csv"
    path.write_bytes(
        b"\xef\xbb\xbfCase,Organ,mean,sd,maximum,x_mm,y_mm,z_mm,diameter_mm\r\n"
        b"A,liver,2.5,0.2,,,,,\r\nA,Blood_Pool,1.5,,2,,,,\r\nB,liver,,,,-50,10,20.5,30\r\n"
    )
    assert read_references(path) == {
        "A": {"liver": ReferenceUptake(mean=2.5, sd=0.2), "blood_pool": ReferenceUptake(mean=1.5, maximum=2)},
        "B": {"liver": ReferenceSphere((-50, 10, 20.5), 30)},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,organ,mean\nA,spleen,2\n", "line 2: case A, organ spleen; expected a name and liver or blood_pool"),
        ("case,organ,mean\n,liver,2\n", "line 2: case missing, organ liver"),
        ("patient,organ,mean\nA,liver,2\n", "case missing"),
        ("case,organ,mean\nA,liver,2\nA,liver,3\n", "line 3: liver of A is there twice; keep one row"),
        ("case,organ,mean\nA,liver,\n", "line 2: could not convert"),
        ("case,organ,mean\nA,liver,two\n", "line 2: could not convert"),
        ("case,organ,mean\nA,liver,-2\n", "line 2: expected a mean above 0"),
        ("case,organ,mean,x_mm,y_mm,z_mm,diameter_mm\nA,liver,2,1,1,1,30\n", "both values and a sphere"),
        ("case,organ,x_mm,y_mm,z_mm\nA,liver,1,2,3\n", "line 2: could not convert"),
        ("case;organ;mean\nA;liver;2\n", "case missing, organ missing"),
    ],
)
def test_tables_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "organs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=message):
        read_references(path)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"organs\.csv: there is no such file; expected a CSV table"):
        read_references(tmp_path / "organs.csv")
