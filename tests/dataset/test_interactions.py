from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.interactions import read_clicks, write_clicks
from interactivepet.errors import InteractionError

AFFINE = np.array([[-2.0, 0.0, 0.0, 50.0], [0.0, 3.0, 0.0, -60.0], [0.0, 0.0, 4.0, 7.0], [0, 0, 0, 1]])
GEOMETRY = Geometry((20, 21, 22), AFFINE)
TWO_LABELS = {"Anterior": 1, "Posterior part": 2}


def _write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _slicer(*points: dict[str, Any], **markup: object) -> dict[str, Any]:
    return {"markups": [{"type": "Fiducial", "controlPoints": list(points)} | markup]}


def _multiple_points(*points: dict[str, Any]) -> dict[str, Any]:
    return {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": list(points)}


clicks_strategy = st.builds(
    Click,
    position_mm=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
    label=st.integers(1, 255),
    is_positive=st.booleans(),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clicks=st.lists(clicks_strategy, max_size=5))
def test_clicks_come_back_exactly(tmp_path: Path, clicks: list[Click]) -> None:
    path = tmp_path / "case.mrk.json"

    write_clicks(path, clicks)

    labels = {f"name {value}": value for value in range(1, 256)}
    assert read_clicks(path, geometry=GEOMETRY, labels=labels) == tuple(clicks)


def test_slicer_finds_lps_millimetres_in_one_list(tmp_path: Path) -> None:
    path = tmp_path / "case.mrk.json"

    write_clicks(path, [Click(position_mm=(1, 2, 3), label=4, is_positive=False)])

    content = json.loads(path.read_text(encoding="utf-8"))
    (markup,) = content["markups"]
    (point,) = markup["controlPoints"]
    assert content["@schema"].endswith("markups-schema-v1.0.3.json#")
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == (
        "Fiducial",
        "LPS",
        "mm",
    )
    assert point["position"] == [-1, -2, 3]
    assert (point["description"], point["selected"]) == ("label 4 negative", False)
    assert point["positionStatus"] == "defined"


@pytest.mark.parametrize(
    ("system", "expected"),
    [({"coordinateSystem": "RAS"}, (1, 2, 3)), ({"coordinateSystem": "LPS"}, (-1, -2, 3)), ({}, (-1, -2, 3))],
)
@pytest.mark.parametrize("unit", [{}, {"coordinateUnits": "mm"}, {"coordinateUnits": ["mm", "UCUM", "millimeter"]}])
def test_both_coordinate_systems_are_read(
    tmp_path: Path, system: dict[str, Any], expected: tuple[float, float, float], unit: dict[str, Any]
) -> None:
    path = _write(tmp_path / "a.mrk.json", _slicer({"position": [1, 2, 3]}, **system, **unit))

    assert read_clicks(path, geometry=GEOMETRY) == (Click(position_mm=expected),)


@pytest.mark.parametrize(
    ("label", "name", "labels", "expected"),
    [
        ("tumour-1", "", None, (1, True)),
        ("F-1", "F", {"lesion": 1}, (1, True)),
        ("F-1", "F negative", None, (1, False)),
        ("Background_3", "F", None, (1, False)),
        ("tumour-1", "bg", {"tumour": 1}, (1, False)),
        ("posterior PART-2", "anterior", TWO_LABELS, (2, True)),
        ("F-1", "anterior", TWO_LABELS, (1, True)),
        ("F-1", "Posterior_part negative", TWO_LABELS, (2, False)),
        ("node-1", "", {"node": 1, "lymph node": 2}, (1, True)),
        ("lymph node-1", "", {"node": 1, "lymph node": 2}, (2, True)),
    ],
)
def test_points_placed_by_hand_are_read_by_their_names(
    tmp_path: Path, label: str, name: str, labels: dict[str, int] | None, expected: tuple[int, bool]
) -> None:
    content = _slicer({"label": label, "description": "by hand", "position": [0, 0, 0]}, name=name)

    (click,) = read_clicks(_write(tmp_path / "a.mrk.json", content), geometry=GEOMETRY, labels=labels)

    assert (click.label, click.is_positive) == expected


def test_a_point_of_no_label_is_refused_where_there_are_several(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.mrk.json", _slicer({"label": "F-1", "position": [0, 0, 0]}, name="F"))

    with pytest.raises(InteractionError, match=r"a\.mrk\.json: .*'F-1' in 'F'.*Anterior, Posterior part; name"):
        read_clicks(path, geometry=GEOMETRY, labels=TWO_LABELS)


def test_background_speaks_of_every_label(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.json", _multiple_points({"point": [1, 2, 3], "name": "background"}))

    clicks = read_clicks(path, geometry=GEOMETRY, labels=TWO_LABELS)

    assert [(c.label, c.is_positive) for c in clicks] == [(1, False), (2, False)]


def test_the_description_wins_over_the_names(tmp_path: Path) -> None:
    point = {"label": "background", "description": "label 2 positive", "position": [0, 0, 0]}

    (click,) = read_clicks(_write(tmp_path / "a.mrk.json", _slicer(point)), geometry=GEOMETRY)

    assert (click.label, click.is_positive) == (2, True)


def test_points_that_are_not_placed_are_no_clicks(tmp_path: Path) -> None:
    content = _slicer({"positionStatus": "undefined"}, {"positionStatus": "preview", "position": [1, 1, 1]})

    assert read_clicks(_write(tmp_path / "a.mrk.json", content), geometry=GEOMETRY) == ()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [("lps", [(-4, -5, 6), (-1, -2, 3)]), ("ras", [(4, 5, 6), (1, 2, 3)]), ("voxel", [(42, -45, 31), (48, -54, 19)])],
)
@pytest.mark.parametrize(
    "content",
    [
        _multiple_points({"point": [4, 5, 6], "name": "tumor"}, {"point": [1, 2, 3], "name": "Background"}),
        {"tumor": [[4, 5, 6]], "background": [[1, 2, 3]]},
    ],
)
def test_challenge_files_are_read_in_every_frame(
    tmp_path: Path, frame: PointFrame, expected: list[tuple[float, ...]], content: object
) -> None:
    path = _write(tmp_path / "a.json", content)

    clicks = read_clicks(path, geometry=GEOMETRY, point_frame=frame)

    assert [c.position_mm for c in clicks] == expected
    assert [(c.label, c.is_positive) for c in clicks] == [(1, True), (1, False)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[1, 2]", r"should be an object, found \[1, 2\]"),
        ("", "Invalid JSON"),
        ("[" * 5000, "Invalid JSON"),
        ({"markups": 3}, "markups: .* found 3"),
        (_slicer(type="ROI"), "type: .*'Fiducial', found 'ROI'"),
        (_slicer(coordinateUnits="um"), "coordinateUnits: .*'mm', found 'um'"),
        (_slicer(coordinateSystem="scanner"), "coordinateSystem: .*'LPS' or 'RAS', found 'scanner'"),
        (_slicer({"label": "x"}), "'x' has no position; place it"),
        (_slicer({"position": [1, 2]}), r"position\.2: Field required"),
        (_slicer({"position": [1, 2, 3, 4]}), "position"),
        (_slicer({"position": [1, 2, "3"]}), r"position\.2: .* found '3'"),
        (
            '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": [1, NaN, 2]}]}]}',
            "finite .*found nan",
        ),
        (_multiple_points({"point": [1, 2, True]}), r"points\.0\.point\.2: .* found True"),
        ('{"type": "Multiple points", "points": [{"point": [1, 2, 1e999]}]}', "finite number"),
        ({"type": "Multiple points"}, "points: Field required"),
        ({"type": "Multiple polygons", "points": []}, "'Multiple points', found 'Multiple polygons'"),
        ({"tumor": [[1, 2]]}, r"tumor\.0\.2: Field required"),
        ({"tumor": [[1, 2, "3"]]}, r"tumor\.0\.2: .* found '3'"),
        ({"tumor": "here"}, "tumor: .* found 'here'"),
    ],
)
def test_malformed_files_name_file_place_and_remedy(tmp_path: Path, content: object, message: str) -> None:
    path = _write(tmp_path / "bad.mrk.json", content)

    with pytest.raises(InteractionError, match=message) as caught:
        read_clicks(path, geometry=GEOMETRY)

    assert str(caught.value).startswith(str(path))
    assert re.search("correct it|place it", str(caught.value))


@pytest.mark.parametrize("name", ["gone.mrk.json", "gone.json", "gone.nii.gz"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InteractionError, match=name):
        read_clicks(tmp_path / name, geometry=GEOMETRY)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"tum\xf6r": []}')
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")

    with pytest.raises(InteractionError, match=r"latin\.json: cannot be read"):
        read_clicks(tmp_path / "latin.json", geometry=GEOMETRY)
    with pytest.raises(InteractionError, match=r"bad\.nii\.gz"):
        read_clicks(tmp_path / "bad.nii.gz", geometry=GEOMETRY)
    with pytest.raises(InteractionError, match=r"a\.txt: unknown ending"):
        read_clicks(tmp_path / "a.txt", geometry=GEOMETRY)


def _write_mask(path: Path, values: npt.NDArray[np.generic], affine: npt.NDArray[np.float64] = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_a_point_mask_gives_a_click_a_voxel(tmp_path: Path) -> None:
    values = np.zeros(GEOMETRY.shape, dtype=np.int16)
    values[1, 2, 3] = 2
    values[19, 20, 21] = 1

    clicks = read_clicks(_write_mask(tmp_path / "a.nii.gz", values), geometry=GEOMETRY)

    assert clicks == (
        Click(position_mm=(48, -54, 19), label=2),
        Click(position_mm=(12, 0, 91), label=1),
    )


def test_an_empty_point_mask_has_no_clicks(tmp_path: Path) -> None:
    path = _write_mask(tmp_path / "a.nii.gz", np.zeros(GEOMETRY.shape, dtype=np.uint8))

    assert read_clicks(path, geometry=GEOMETRY) == ()


def test_a_2d_point_mask_is_read(tmp_path: Path) -> None:
    values = np.zeros((6, 7), dtype=np.uint8)
    values[4, 5] = 1

    (click,) = read_clicks(_write_mask(tmp_path / "a.nii.gz", values), geometry=Geometry((6, 7, 1), AFFINE))

    assert click.position_mm == (42, -45, 7)


def test_a_point_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    smaller = _write_mask(tmp_path / "smaller.nii.gz", np.zeros((20, 21, 20), dtype=np.uint8))
    moved = _write_mask(tmp_path / "moved.nii.gz", np.zeros(GEOMETRY.shape, dtype=np.uint8), shifted)

    with pytest.raises(InteractionError, match=r"smaller\.nii\.gz: point mask grid 20x21x20 but image grid 20x21x22"):
        read_clicks(smaller, geometry=GEOMETRY)
    with pytest.raises(InteractionError, match=r"moved\.nii\.gz.* 1 mm apart; resample"):
        read_clicks(moved, geometry=GEOMETRY)


def test_a_point_mask_with_fractions_is_refused(tmp_path: Path) -> None:
    values = np.full(GEOMETRY.shape, 0.5, dtype=np.float32)

    with pytest.raises(InteractionError, match=r"a\.nii\.gz"):
        read_clicks(_write_mask(tmp_path / "a.nii.gz", values), geometry=GEOMETRY)


def test_the_native_file_is_found_first(tmp_path: Path) -> None:
    assert find_clicks_file(tmp_path, "case") is None
    for ending in (".nii.gz", ".json", ".mrk.json"):
        (tmp_path / f"case{ending}").touch()
        (tmp_path / f"case2{ending}").touch()
        assert find_clicks_file(tmp_path, "case") == tmp_path / f"case{ending}"


@pytest.mark.real_data
def test_autopet_clicks_fall_on_their_lesions(real_data: Path) -> None:
    label, geometry = read_mask(real_data / "autopetv" / "psma_ffcaa75377465b37_label.nii.gz")
    path = real_data / "autopetv" / "psma_ffcaa75377465b37_clicks.json"

    clicks = read_clicks(path, geometry=geometry, point_frame="voxel")

    voxels = np.rint(geometry.to_voxel([c.position_mm for c in clicks])).astype(int)
    assert sum(c.is_positive for c in clicks) == 17
    assert [bool(v) for v in label[tuple(voxels.T)]] == [c.is_positive for c in clicks]


@pytest.mark.real_data
def test_every_autopet_click_file_is_read(real_data: Path) -> None:
    paths = sorted((real_data / "autopetv" / "clicks").glob("*.json"))

    counts = [len(read_clicks(path, geometry=GEOMETRY, point_frame="voxel")) for path in paths]

    assert len(counts) == 20
    assert sorted(counts)[0] == 0
    assert sum(counts) == sum(len(json.loads(path.read_text())["points"]) for path in paths)
