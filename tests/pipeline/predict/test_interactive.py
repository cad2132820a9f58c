from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.dataset.files.write import read_artefact
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.manifest import read_manifest, write_manifest
from interactivepet.errors import (
    CaseError,
    InteractionError,
    InteractivePetError,
    ManifestError,
    MissingArtefactError,
    SegmenterError,
)
from interactivepet.pipeline.predict.interactive import Dialogue, open_dialogue
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request, make_test_request
from interactivepet.session.size import warn_of_size
from tests.tiny import TASK, open_tiny, write_tiny_task

OPTIONS = PredictionOptions(tta=False, device="cpu")
OPENED = ExitStack()
"""Keeps dialogues open as long as the tests run: they hold no server and no file."""


@pytest.fixture
def image(finished: tuple[Path, object], tmp_path: Path) -> Path:
    path = tmp_path / "new_0000.nii.gz"
    shutil.copy(finished[0] / "raw" / TASK / "imagesTs" / "TINY_006_0000.nii.gz", path)
    return path


def start(root: Path, image: Path, *, frame: PointFrame = "voxel", out: str = "mask.nii.gz") -> Dialogue:
    return OPENED.enter_context(
        open_dialogue(open_tiny(root), image, out=image.parent / out, options=OPTIONS, frame=frame, fast=False)
    )


def test_a_session_opens_on_a_tasks_results(finished: tuple[Path, object]) -> None:
    workspace = open_tiny(finished[0])
    model = open_trained_model(workspace, OPTIONS)
    case = make_test_request(workspace).load_single(channels=["PET"])
    session = model.open_session(case)
    mask = session.segment().mask
    assert mask.shape == case.geometry.shape
    assert session.segmenter.name == "3d_fullres fold_0 fold_1 fold_2"
    assert model.open_session(case, fast=True).segmenter.name == "3d_fullres fold_0 fold_1"


def test_every_line_leads_to_the_mask_on_disk(finished: tuple[Path, object], image: Path) -> None:
    dialogue = start(finished[0], image)
    geometry = read_image([image])[1]
    first = dialogue.run_line("+ 3 3 3")
    mask, grid = read_mask(image.parent / "mask.nii.gz")
    assert grid.matches(geometry)
    assert mask[3, 3, 3] == 1
    assert first.volumes_ml == {1: pytest.approx((mask == 1).sum() * geometry.voxel_volume_ml)}
    assert (first.n_clicks, first.unmet) == (1, ())
    assert first.seconds > 0
    second = dialogue.run_line("- 3 3 3 1")
    assert read_mask(image.parent / "mask.nii.gz")[0][3, 3, 3] == 0
    assert [c.is_positive for c in second.unmet] == [True]
    assert dialogue.run_line("undo").n_clicks == 1
    assert np.array_equal(read_mask(image.parent / "mask.nii.gz")[0], mask)
    assert dialogue.run_line("redo").n_clicks == 2
    assert dialogue.run_line("box 5 5 5 15 15 15").n_clicks == 8
    assert dialogue.run_line("-scribble 1 1 1 2 2 1 9 1 1 1").n_clicks == 10
    assert not dialogue.session.clicks[-1].is_positive
    assert dialogue.run_line("reset").n_clicks == 0


def test_points_are_ras_mm_or_voxels(finished: tuple[Path, object], image: Path) -> None:
    geometry = read_image([image])[1]
    dialogue = start(finished[0], image, frame="ras")
    dialogue.run_line("+ " + " ".join(f"{mm:.3f}" for mm in geometry.to_mm((12, 4, 9))))
    assert read_mask(image.parent / "mask.nii.gz")[0][12, 4, 9] == 1
    in_voxels = start(finished[0], image)
    in_voxels.run_line("+ 12 4 9")
    assert in_voxels.session.clicks[0].position_mm == pytest.approx(dialogue.session.clicks[0].position_mm, abs=1e-3)


@pytest.mark.parametrize(
    "line",
    [
        "+ 1 2",
        "+ 1 2 x",
        "+ 1 2 3 1.5",
        "+ 1 2 3 7",
        "+ 99 2 3",
        "+ nan 2 3",
        "+- 1 2 3",
        "* 1 2 3",
        "",
        "box 1 2 3",
        "scribble",
        "scribble 1",
        "undo 3",
        "undo",
        "redo",
    ],
)
def test_a_line_without_sense_changes_nothing(finished: tuple[Path, object], image: Path, line: str) -> None:
    dialogue = start(finished[0], image)
    with pytest.raises(InteractionError):
        dialogue.run_line(line)
    assert dialogue.session.clicks == ()
    assert not (image.parent / "mask.nii.gz").exists()


def test_what_cannot_be_an_image_or_a_mask_is_refused(finished: tuple[Path, object], image: Path) -> None:
    cases: list[tuple[Path, str, type[InteractivePetError], str]] = [
        (image.with_name("none_0000.nii.gz"), "mask.nii.gz", CaseError, "none_0000.nii.gz is not there"),
        (image, "mask.txt", CaseError, "unknown ending"),
        (image, image.name, ManifestError, "the mask would replace"),
    ]
    for path, out, kind, message in cases:
        with pytest.raises(kind, match=message):
            start(finished[0], path, out=out)


def test_a_folder_holds_one_case(finished: tuple[Path, object], image: Path) -> None:
    folder = image.parent / "one"
    folder.mkdir()
    shutil.copy(image, folder)
    assert start(finished[0], folder).session.case.id == "new"
    shutil.copy(image, folder / "other_0000.nii.gz")
    with pytest.raises(ManifestError, match="2 cases"):
        start(finished[0], folder)


def test_predictions_with_click_files_obey_them_too(
    finished: tuple[Path, object], image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace, clicks_folder, out = open_tiny(finished[0]), image.parent / "clicks", image.parent / "masks"
    grid = read_image([image])[1]
    places = {(3, 3, 3): [True], (12, 11, 10): [True, False], (14, 11, 10): [False]}
    clicks = [
        Click(position_mm=tuple(grid.to_mm(voxel).tolist()), is_positive=sign)
        for voxel, signs in places.items()
        for sign in signs
    ]
    write_clicks(clicks_folder / "new.mrk.json", clicks)
    images = image.parent / "images"
    images.mkdir()
    shutil.copy(image, images)
    request = make_folder_request(workspace, images, clicks_folder=clicks_folder, out=out)
    run_prediction(workspace, request, options=OPTIONS)
    mask = read_mask(out / "new.nii.gz")[0]
    assert [int(mask[voxel]) for voxel in places] == [1, 0, 0]
    (message,) = [record.getMessage() for record in caplog.records if "contradicts" in record.getMessage()]
    assert message.startswith("new: ")


@pytest.mark.parametrize("frame", ["voxel", "ras", "lps"])
def test_points_of_lines_are_what_the_frame_says(frame: PointFrame, finished: tuple[Path, object], image: Path) -> None:
    x, y, z = read_image([image])[1].to_mm((3, 4, 5)).tolist()
    point = {"voxel": (3, 4, 5), "ras": (x, y, z), "lps": (-x, -y, z)}[frame]
    dialogue = start(finished[0], image, frame=frame)
    dialogue.run_line(f"+ {' '.join(map(str, point))}")
    assert dialogue.session.clicks[0].position_mm == pytest.approx((x, y, z))


def test_voxels_of_a_table_are_placed_by_the_frame(finished: tuple[Path, object], image: Path) -> None:
    workspace, clicks, out = open_tiny(finished[0]), image.parent / "clicks", image.parent / "masks"
    clicks.mkdir()
    (clicks / "new_clicks.csv").write_text("x,y,z\n3,3,3\n")
    images = image.parent / "images"
    images.mkdir()
    shutil.copy(image, images)
    request = make_folder_request(workspace, images, clicks_folder=clicks, out=out, point_frame="voxel")
    log = run_prediction(workspace, request, options=OPTIONS)
    assert log.n_clicks == {"new": 1}
    assert read_mask(out / "new.nii.gz")[0][3, 3, 3] == 1
    (clicks / "new_clicks.csv").write_text("x,y,z\n300,3,3\n")
    log = run_prediction(workspace, request, options=OPTIONS)
    assert "coordinate system of the clicks" in log.failed["new"]


def test_a_task_without_folds_says_what_to_run(tmp_path: Path) -> None:
    write_tiny_task(tmp_path / "raw")
    with pytest.raises(MissingArtefactError, match="interactivepet_plan_and_process"):
        open_trained_model(open_tiny(tmp_path), OPTIONS)


def test_a_line_that_could_not_be_answered_leaves_no_click(
    finished: tuple[Path, object], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogue = start(finished[0], image)

    def fail(*_: object) -> None:
        raise SegmenterError("the server is down")

    with monkeypatch.context() as patch:
        patch.setattr(dialogue.session, "segment", fail)
        with pytest.raises(SegmenterError):
            dialogue.run_line("+ 3 3 3")
    assert dialogue.session.clicks == ()
    assert dialogue.run_line("+ 3 3 3").n_clicks == 1


def test_a_task_of_whole_files_takes_each_file_for_a_case(
    finished: tuple[Path, object], image: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(finished[0], root, symlinks=True)
    workspace = open_tiny(root)
    manifest = read_manifest(workspace.raw)
    entries = tuple(
        entry.model_copy(update={"images": (f"imagesTr/{entry.id}.nii.gz",)}) for entry in manifest.training
    )
    write_manifest(workspace.raw, manifest.model_copy(update={"training": entries}))
    for path in (workspace.raw / "imagesTr").glob("*_0000.nii.gz"):
        path.rename(path.with_name(path.name.replace("_0000", "")))
    other = image.with_name("new_0001.nii.gz")
    shutil.copy(image, other)
    assert start(root, other).session.case.id == "new_0001"
    with pytest.raises(CaseError, match=r"new_0001.nii.gz is not among the 1 channels"):
        start(finished[0], other)


def test_an_image_far_larger_than_those_of_training_is_told(
    finished: tuple[Path, object], caplog: pytest.LogCaptureFixture
) -> None:
    plans = read_artefact(open_tiny(finished[0]).plans, Plans, command="")
    plan = plans.plan(plans.default)
    spacing = plan.spacing_mm
    for growth, is_told in ((2.0, False), (4.0, True)):
        caplog.clear()
        shape = tuple(int(n) for n in np.multiply(plan.median_shape, (1, 1, growth)))
        geometry = Geometry(shape, np.diag([*spacing, 1.0]))
        warn_of_size(Case("X", np.zeros((1, *shape), np.float32), geometry), plan)
        assert ("cut the image as the training cases were" in caplog.text) is is_told
