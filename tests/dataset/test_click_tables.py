"""Tables of clicks: Slicer's `.fcsv` and CSV; which file is whose; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.click_files import match_click_files
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.interactions import MOST_CLICKS, has_points, read_clicks, write_clicks
from interactivepet.errors import InteractionError

GEOMETRY = Geometry((20, 21, 22), np.diag([2.0, 3.0, 4.0, 1.0]))
LABELS = {"tumour": 1, "node": 2}
HEADER = "# Markups fiducial file version = 4.11\n"
COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
COLUMNS_3 = "# columns = label,x,y,z,sel,vis\n"
ROW = "{n},10,-20,30,0,0,0,1,1,1,0,{label},{text},\n"


def fcsv(system: str, *rows: str, columns: str = COLUMNS) -> str:
    return HEADER + f"# CoordinateSystem = {system}\n" + columns + "".join(rows)


def click(x: float, y: float, z: float, label: int = 1, *, positive: bool = True) -> Click:
    return Click(position_mm=(x, y, z), label=label, is_positive=positive)


FIRST = ROW.format(n=1, label="tumour-1", text="")
RAS, LPS = click(10, -20, 30), click(-10, 20, 30)
GOOD = {
    "fcsv-number-ras": ("a.fcsv", fcsv("0", FIRST), [RAS]),
    "fcsv-number-lps": ("a.fcsv", fcsv("1", FIRST), [LPS]),
    "fcsv-name-lps": ("a.fcsv", fcsv("LPS", FIRST), [LPS]),
    "fcsv-name-ras": ("a.fcsv", fcsv("RAS", FIRST), [RAS]),
    "fcsv-indices": ("a.fcsv", fcsv("IJK", FIRST.replace("10,-20,30", "1,2,3")), [click(2, 6, 12)]),
    "fcsv-description": (
        "a.fcsv",
        fcsv("RAS", ROW.format(n=1, label="F-1", text="label 2 negative")),
        [click(10, -20, 30, 2, positive=False)],
    ),
    "fcsv-slicer-3": (
        "a.fcsv",
        fcsv("0", "node,1,2,3,1,1\n", columns=COLUMNS_3),
        [click(1, 2, 3, 2)],
    ),
    "fcsv-slicer-5-not-placed": (
        "a.fcsv",
        fcsv("RAS", FIRST.strip() + ",2,0\n", FIRST.strip() + ",0,0\n"),
        [RAS],
    ),
    "fcsv-no-point": ("a.fcsv", fcsv("LPS"), []),
    "fcsv-windows": ("A.FCSV", fcsv("LPS", FIRST).replace("\n", "\r\n"), [LPS]),
    "csv-header": ("a.csv", "x,y,z,label\n10,-20,30,tumour\n", [LPS]),
    "csv-label-value": ("a.csv", "x,y,z,label\n10,-20,30,2\n", [click(-10, 20, 30, 2)]),
    "csv-background": (
        "a.csv",
        "x,y,z,label\n1,2,3,0\n",
        [click(-1, -2, 3, 1, positive=False), click(-1, -2, 3, 2, positive=False)],
    ),
    "csv-negative": ("a.csv", "x,y,z,label,positive\n1,2,3,node,false\n", [click(-1, -2, 3, 2, positive=False)]),
    "csv-other-order": ("a.csv", "Label,Z,Y,X\ntumour,30,-20,10\n", [LPS]),
    "csv-no-header": ("a.csv", "10,-20,30,1,1\n1,2,3,2,0\n", [LPS, click(-1, -2, 3, 2, positive=False)]),
    "csv-decimal-comma": ("a.csv", "x;y;z;label\n10,5;-20,25;30;tumour\n", [click(-10.5, 20.25, 30)]),
    "csv-tabs-and-bom": ("a.csv", "\ufeffx\ty\tz\tlabel\n10\t-20\t30\tnode\n", [click(-10, 20, 30, 2)]),
    "csv-ras": ("a.csv", "r,a,s,label\n10,-20,30,tumour\n", [RAS]),
    "csv-indices": ("a.csv", "i,j,k,label\n1,2,3,tumour\n", [click(2, 6, 12)]),
    "csv-slicer-table": (
        "a.csv",
        "label,l,p,s,defined,selected,visible,locked,description\ntumour,10,-20,30,1,1,1,0,\ntumour,0,0,0,0,1,1,0,\n",
        [LPS],
    ),
    "csv-header-only": ("a.csv", "x,y,z\n", []),
    "csv-empty": ("a.csv", "\n", []),
}
BAD = {
    "fcsv-no-system": ("a.fcsv", HEADER + COLUMNS + FIRST, "no line '# CoordinateSystem = LPS'"),
    "fcsv-unknown-system": ("a.fcsv", fcsv("7", FIRST), "no line '# CoordinateSystem = LPS'"),
    "fcsv-text": ("a.fcsv", fcsv("LPS", "1,a,b,c,0\n"), r"line 4: found 'a, b, c', expected three numbers"),
    "fcsv-unnamed-label": ("a.fcsv", fcsv("LPS", ROW.format(n=1, label="F-1", text="")), "names none of the labels"),
    "csv-unknown-column": ("a.csv", "x,y,z,kind\n1,2,3,negative\n", "columns x, y, z, kind, expected x, y, z"),
    "csv-two-columns": ("a.csv", "1,2\n", "expected x, y, z"),
    "csv-six-columns": ("a.csv", "1,2,3,1,1,9\n", "expected x, y, z"),
    "csv-long-line": ("a.csv", "x,y,z,label\n1,2,3,tumour,0\n", "line 2: 5 columns, expected 4"),
    "csv-nan": ("a.csv", "x,y,z\nnan,2,3\n", "line 2: found 'nan, 2, 3', expected three numbers"),
    "csv-no-sign": ("a.csv", "x,y,z,positive\n1,2,3,maybe\n", "line 2: positive is 'maybe', expected true or false"),
    "csv-strange-value": ("a.csv", "x,y,z,label\n1,2,3,7\n", r"label 7, expected one of 1 \(tumour\), 2 \(node\)"),
    "csv-contradiction": ("a.csv", "x,y,z,label,positive\n1,2,3,background,true\n", "marked as positive"),
    "csv-no-label": ("a.csv", "x,y,z\n1,2,3\n", "names none of the labels"),
    "json-deep": ("a.json", "[" * 200_000, "correct it, or export"),
    "json-deep-inside": ("a.mrk.json", '{"markups": ' + "[" * 200_000, "correct it, or export"),
}


@pytest.mark.parametrize(("name", "text", "expected"), GOOD.values(), ids=GOOD)
def test_a_table_gives_its_clicks(name: str, text: str, expected: list[Click], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read_clicks(path, geometry=GEOMETRY, labels=LABELS)) == expected
    assert has_points(path) == bool(expected)


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=BAD)
def test_what_is_no_click_file_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InteractionError, match=message) as refused:
        read_clicks(path, geometry=GEOMETRY, labels=LABELS)
    assert str(refused.value).startswith(str(path))


def test_the_numbers_of_a_table_are_what_the_frame_says(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,z\n1,2,3\n")
    found = [read_clicks(path, geometry=GEOMETRY, point_frame=frame)[0] for frame in ("ras", "lps", "voxel")]
    assert [item.position_mm for item in found] == [(1, 2, 3), (-1, -2, 3), (2, 6, 12)]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.fcsv"])
@pytest.mark.parametrize("n_clicks", [MOST_CLICKS + 1, 1_000_000])
def test_too_many_clicks_are_refused_at_once(name: str, n_clicks: int, tmp_path: Path) -> None:
    path = tmp_path / name
    text = {
        "a.json": '{"tumour": [' + ",".join(["[1.0, 2.0, 3.0]"] * n_clicks) + "]}",
        "a.csv": "x,y,z,label\n" + "1,2,3,1\n" * n_clicks,
        "a.fcsv": fcsv("LPS", FIRST * n_clicks),
    }[name]
    path.write_text(text)
    with pytest.raises(InteractionError, match=rf"{MOST_CLICKS} clicks.*leave some out"):
        read_clicks(path, geometry=GEOMETRY, labels=LABELS)


def test_too_many_clicks_are_neither_read_from_a_mask_nor_written(tmp_path: Path) -> None:
    grid = Geometry((30, 30, 30), np.eye(4))
    write_mask(tmp_path / "a.nii.gz", np.ones(grid.shape, np.uint8), geometry=grid)
    with pytest.raises(InteractionError, match="not a segmentation"):
        read_clicks(tmp_path / "a.nii.gz", geometry=grid)
    with pytest.raises(InteractionError, match=r"a\.mrk\.json: more than"):
        write_clicks(tmp_path / "a.mrk.json", [RAS] * (MOST_CLICKS + 1))
    assert not (tmp_path / "a.mrk.json").exists()


MATCHES = [
    ("P1.nii.gz", "P1"),
    ("P1.nii", "P1"),
    ("P1_0000.nii.gz", "P1"),
    ("P1_clicks.nii.gz", "P1"),
    ("P1_0000_points.csv", "P1"),
    ("P1-Fiducials.fcsv", "P1"),
    ("P1_lesion-clicks.json", "P1"),
    ("P1_0000.mrk.json", "P1"),
    ("P1_clicks.csv", "P1"),
    ("Q_clicks.csv", "Q_clicks"),
    ("P1_2.csv", None),
    ("P1_0001.nii.gz", None),
    ("P1.txt", None),
]


@pytest.mark.parametrize(("name", "case"), MATCHES)
def test_a_file_is_its_cases_by_name(name: str, case: str | None) -> None:
    found = match_click_files([Path(name)], ["P1", "Q", "Q_clicks"])
    assert found.by_case == ({case: (Path(name),)} if case else {})
    assert list(found.unused) == ([] if case else [Path(name)])


def test_of_several_files_the_cases_own_image_is_left_out() -> None:
    names = ["P1.csv", "P1_0000.nii.gz", "P1_clicks.json", "P1.mrk.json"]
    found = match_click_files(map(Path, names), ["P1"])
    assert found.by_case == {"P1": (Path("P1.mrk.json"), Path("P1.csv"), Path("P1_clicks.json"))}
    taken, unused = found.take_first()
    assert taken == {"P1": Path("P1.mrk.json")}
    assert "may be its image" in unused[Path("P1_0000.nii.gz")]
    assert unused[Path("P1.csv")] == "P1.mrk.json comes first for P1"
