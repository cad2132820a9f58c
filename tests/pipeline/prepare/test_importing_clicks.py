from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.interactions import read_clicks, write_clicks
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.errors import InteractionError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.importing_clicks import ImportedClicks, run_click_import
from interactivepet.pipeline.workspace import Workspace

TASK = "Task906_Clicked"
SHAPE = (6, 5, 4)
GEOMETRY = Geometry(SHAPE, np.array([[-2.0, 0, 0, 9], [0, 3.0, 0, -40], [0, 0, 5.0, 100], [0, 0, 0, 1]]))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two training cases, `P1` and `P1_2`, and the test case `T`."""
    found = Workspace.of(TASK, raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "results")
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)
    for folder, case in (("imagesTr", "P1"), ("imagesTr", "P1_2"), ("imagesTs", "T")):
        write_image(found.raw / folder / f"{case}_0000.nii.gz", image, geometry=GEOMETRY)
    for case in ("P1", "P1_2"):
        write_mask(found.raw / "labelsTr" / f"{case}.nii.gz", np.ones(SHAPE, np.uint8), geometry=GEOMETRY)
    write_manifest(found.raw, build_manifest(found.raw, channels=["PET"], labels=["lesion"]))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clicks").mkdir()
    return tmp_path / "clicks"


def write_points(path: Path, point: list[float], *, background: list[float] | None = None) -> None:
    path.write_text(json.dumps({"tumor": [point], "background": [background] if background else []}))


def run(workspace: Workspace, folder: Path, frame: PointFrame = "lps", *, overwrite: bool = False) -> ImportedClicks:
    return run_click_import(workspace, InlineExecutor(), folder=folder, frame=frame, overwrite=overwrite)


@pytest.mark.parametrize(("frame", "point"), [("voxel", [1, 2, 3]), ("ras", [7, -34, 115]), ("lps", [-7, 34, 115])])
def test_every_frame_becomes_ras_mm(workspace: Workspace, folder: Path, frame: PointFrame, point: list[float]) -> None:
    write_points(folder / "P1.json", point, background=point)
    imported = run(workspace, folder, frame)
    assert imported.training == (workspace.raw / "interactionsTr" / "P1.mrk.json",)
    positive, negative = read_clicks(imported.training[0], geometry=GEOMETRY)
    assert positive == Click(position_mm=(7, -34, 115))
    assert negative == Click(position_mm=(7, -34, 115), is_positive=False)


def test_files_are_named_after_their_cases(workspace: Workspace, folder: Path) -> None:
    (folder / "deep").mkdir()
    for name in ("P1_clicks", "deep/P1_2_lesion-clicks", "T-Points", "P1_3", "P1_2_other", "T_mask"):
        write_points(folder / f"{name}.json", [0, 0, 0])
    (folder / "notes.txt").touch()
    imported = run(workspace, folder, "voxel")
    assert [path.name for path in imported.training] == ["P1.mrk.json", "P1_2.mrk.json"]
    assert imported.test == (workspace.raw / "interactionsTs" / "T.mrk.json",)
    assert list(imported.passed_over) == ["P1_2_other.json", "P1_3.json", "T_mask.json", "notes.txt"]
    assert imported.passed_over["T_mask.json"] == "no case has this name"
    assert "no click file" in imported.passed_over["notes.txt"]


def test_one_click_outside_leaves_nothing(workspace: Workspace, folder: Path) -> None:
    write_points(folder / "P1.json", [1, 2, 3])
    write_points(folder / "T.json", [6, 2, 3])
    with pytest.raises(InteractionError, match=r"T\.json: 1 of 1 clicks lie outside .* as voxel.* with --frame"):
        run(workspace, folder, "voxel")
    assert not (workspace.raw / "interactionsTr").exists()


def test_what_slicer_and_point_masks_say_needs_no_frame(workspace: Workspace, folder: Path) -> None:
    clicks = (Click(position_mm=(5, -31, 110)), Click(position_mm=(1, -28, 100), is_positive=False))
    write_clicks(folder / "P1.mrk.json", clicks)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 1, 3] = 1
    write_mask(folder / "P1_2_clicks.nii.gz", mask, geometry=GEOMETRY)
    imported = run(workspace, folder, "voxel")
    assert read_clicks(imported.training[0], geometry=GEOMETRY) == clicks
    (click,) = read_clicks(imported.training[1], geometry=GEOMETRY)
    assert GEOMETRY.to_voxel(click.position_mm) == pytest.approx([2, 1, 3])


def test_clicks_that_are_there_are_replaced_only_on_demand(workspace: Workspace, folder: Path) -> None:
    write_points(folder / "P1.json", [1, 2, 3])
    run(workspace, folder, "voxel")
    write_points(folder / "P1.json", [2, 2, 3])
    with pytest.raises(InteractionError, match=r"1 of 1 cases have clicks already.*--overwrite"):
        run(workspace, folder, "voxel")
    (path,) = run(workspace, folder, "voxel", overwrite=True).training
    assert read_clicks(path, geometry=GEOMETRY)[0].position_mm == (5, -34, 115)


def test_files_in_the_task_itself_are_converted(workspace: Workspace) -> None:
    own = workspace.raw / "interactionsTr"
    own.mkdir()
    write_points(own / "P1.json", [1, 2, 3])
    (path,) = run(workspace, own, "voxel").training
    assert path == own / "P1.mrk.json"


def test_nothing_or_two_for_a_case(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(InteractionError, match=r"no click file of a case.* such as P1, P1_2, T, found no file at all"):
        run(workspace, folder)
    write_points(folder / "other.json", [1, 2, 3])
    with pytest.raises(InteractionError, match=r"found other\.json"):
        run(workspace, folder)
    for name in ("P1", "P1_clicks"):
        write_points(folder / f"{name}.json", [1, 2, 3])
    with pytest.raises(InteractionError, match=r"P1\.json and .*P1_clicks\.json are both clicks of P1"):
        run(workspace, folder)


@pytest.mark.real_data
def test_clicks_of_autopet_lie_in_their_lesions(real_data: Path, workspace: Workspace) -> None:
    case, source = "psma_ffcaa75377465b37", real_data / "autopetv"
    for folder, name in (("imagesTr", f"{case}_0000.nii.gz"), ("labelsTr", f"{case}.nii.gz")):
        (workspace.raw / folder / name).symlink_to(source / f"{case}_label.nii.gz")
    write_manifest(workspace.raw, build_manifest(workspace.raw, channels=["PSMA"], labels=["lesion"]))
    (path,) = run(workspace, source, "voxel").training
    mask, geometry = read_mask(source / f"{case}_label.nii.gz")
    clicks = read_clicks(path, geometry=geometry)
    is_inside = [bool(mask[tuple(np.rint(geometry.to_voxel(c.position_mm)).astype(int))]) for c in clicks]
    assert len(clicks) == 22
    assert is_inside == [click.is_positive for click in clicks]


@pytest.mark.parametrize("text", ["", "x,y,z\n", "# a comment\n"])
def test_files_without_a_point_are_passed_over(workspace: Workspace, folder: Path, text: str) -> None:
    (folder / "P1.csv").write_text(text)
    with pytest.raises(InteractionError, match="no point, as in all 1 files"):
        run(workspace, folder)
    write_points(folder / "P1_2.json", [1, 2, 3])
    imported = run(workspace, folder, "voxel")
    assert [path.name for path in imported.training] == ["P1_2.mrk.json"]
    assert imported.passed_over == {"P1.csv": "holds no point"}
    assert not (workspace.raw / "interactionsTr" / "P1.mrk.json").exists()


def test_clicks_of_a_label_that_is_not_declared_are_refused(workspace: Workspace, folder: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2, 3] = 9
    write_mask(folder / "P1.nii.gz", mask, geometry=GEOMETRY)
    with pytest.raises(InteractionError, match=r"clicks of the label 9, expected 1 \(lesion\); correct the label"):
        run(workspace, folder)
