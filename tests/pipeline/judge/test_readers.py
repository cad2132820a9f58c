from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import evaluate
from interactivepet.core.geometry import Geometry
from interactivepet.core.readers import ReadersReport
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_mask
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.judge.readers import run_readers

GEOMETRY = Geometry((10, 10, 10), np.diag([10.0, 10.0, 10.0, 1.0]))


def put(path: Path, n: int, value: int = 1, *, geometry: Geometry = GEOMETRY) -> None:
    mask = np.zeros(geometry.shape, np.uint8)
    mask[2 : 2 + n, 2:6, 2:6] = value
    write_mask(path, mask, geometry=geometry)


@pytest.fixture
def readers(tmp_path: Path) -> list[Path]:
    for reader, n in (("anna", 4), ("bert", 4), ("carl", 2)):
        for case in ("A", "B"):
            put(tmp_path / reader / f"{case}.nii.gz", n)
    return [tmp_path / reader for reader in ("anna", "bert", "carl")]


def test_the_command(readers: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert evaluate.main(["--readers", *map(str, readers), "-o", str(out), "-np", "1"]) == 0
    shown = capsys.readouterr().out
    assert "0.667" in shown
    assert "coefficient of variation of the volume 34.6 % on average" in shown
    report = ReadersReport.model_validate_json((out / "readers.json").read_text(encoding="utf-8"))
    assert report.readers == ("anna", "bert", "carl")
    with (out / "readers.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["label"], row["dice anna carl"]) for row in rows] == [
        ("A", "label_1", str(2 / 3)),
        ("B", "label_1", str(2 / 3)),
    ]
    mask, geometry = read_mask(out / "consensus" / "A.nii.gz")
    np.testing.assert_array_equal(mask, read_mask(readers[0] / "A.nii.gz")[0])
    assert geometry.matches(GEOMETRY)


def test_a_case_that_fails_is_named_and_the_others_are_compared(
    readers: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(readers[1] / "A.nii.gz", 4, geometry=Geometry((9, 10, 10), GEOMETRY.affine))
    assert evaluate.main(["--readers", *map(str, readers), "-o", str(tmp_path / "out"), "-np", "1"]) == 1
    assert "error: A: mask of bert: grid 9x10x10 but mask of anna grid 10x10x10" in capsys.readouterr().err
    assert not (tmp_path / "out" / "consensus" / "A.nii.gz").exists()
    assert (tmp_path / "out" / "consensus" / "B.nii.gz").is_file()


def test_cases_of_one_reader_are_named(readers: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(readers[0] / "only.nii.gz", 3)
    (readers[2] / "B.nii.gz").unlink()
    report = run_readers(readers, tmp_path / "out", labels={"x": 1}, executor=InlineExecutor())
    assert "only one reader has a mask of them: only" in caplog.text
    assert [(case.case, list(case.volumes_ml)) for case in report.cases] == [
        ("A", ["anna", "bert", "carl"]),
        ("B", ["anna", "bert"]),
    ]


def test_values_that_are_no_label_are_refused(readers: list[Path], tmp_path: Path) -> None:
    put(readers[0] / "A.nii.gz", 3, 9)
    report = run_readers(readers, tmp_path / "out", labels={"x": 1}, executor=InlineExecutor())
    assert "masks hold 9, expected 0 or 1 (x); renumber them" in report.failed["A"]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name / "masks" for name in ("anna", "bert")]
    for folder in folders:
        put(folder / "A.nii.gz", 3)
    report = run_readers(folders, tmp_path / "out", labels=None, executor=InlineExecutor())
    assert report.readers == tuple(map(str, folders))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["anna"], "1 folder of masks, expected one for each of at least two readers"),
        (["anna", "anna"], "a folder is named twice"),
        (["anna", "nowhere"], "nowhere is not there"),
        (["anna", "other"], "no case has masks of two readers"),
    ],
)
def test_folders_that_cannot_be_compared(names: list[str], message: str, readers: list[Path], tmp_path: Path) -> None:
    put(tmp_path / "other" / "Z.nii.gz", 3)
    with pytest.raises(CaseError, match=message):
        run_readers([tmp_path / name for name in names], tmp_path / "out", labels=None, executor=InlineExecutor())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--readers", "a", "-o", "out"],
        ["--readers", "a", "b"],
        ["--readers", "a", "b", "-o", "out", "-p", "c"],
        ["--readers", "a", "b", "-o", "out", "-l", "c"],
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(arguments)
    assert stopped.value.code == 2
