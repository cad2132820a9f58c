from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import evaluate
from interactivepet.core.geometry import Geometry
from interactivepet.core.report import Report
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.layout import find_masks
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.judge.evaluate import make_masks_request, run_evaluation
from interactivepet.pipeline.workspace import Workspace

TASK = "Task907_Scored"
SHAPE = (9, 7, 5)
GEOMETRY = Geometry(SHAPE, np.diag([2.0, 3.0, 5.0, 1.0]))
CASES = ("A", "B", "healthy")


def make_label(case: str) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    if case != "healthy":
        label[2:6, 2:5, 1:3] = 1
    return label


@pytest.fixture
def workspace(raw: Path) -> Workspace:
    """Three training cases, one of them without lesion."""
    found = Workspace.of(TASK, raw=raw, processed=raw.parent / "processed", results=raw.parent / "results")
    for case in CASES:
        image = make_label(case)[None] * np.float32(4) + np.arange(SHAPE[2], dtype=np.float32) / 9
        write_image(found.raw / "imagesTr" / f"{case}_0000.nii.gz", image, geometry=GEOMETRY)
        write_mask(found.raw / "labelsTr" / f"{case}.nii.gz", make_label(case), geometry=GEOMETRY)
    write_manifest(found.raw, build_manifest(found.raw, channels=["PET"], labels=["lesion"]))
    return found


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Perfect masks of every case."""
    for case in CASES:
        write_mask(tmp_path / "masks" / f"{case}.nii.gz", make_label(case), geometry=GEOMETRY)
    return tmp_path / "masks"


def score(workspace: Workspace, masks: Path, labels: Path | None = None) -> Report:
    request = make_masks_request(workspace, masks, labels_folder=labels)
    return run_evaluation(request, masks.parent / "report", executor=InlineExecutor())


def test_masks_are_scored_against_the_tasks_labels(workspace: Workspace, masks: Path, tmp_path: Path) -> None:
    half = make_label("B")
    half[4:] = 0
    write_mask(masks / "B.nii.gz", half, geometry=GEOMETRY)
    report = score(workspace, masks)
    dice = {scores.case: scores.labels[0].dice for scores in report.cases}
    assert dice["A"] == 1
    assert dice["B"] == pytest.approx(2 / 3)
    assert report.lesion_free is not None
    assert Report.model_validate_json((tmp_path / "report" / "report.json").read_text()) == report
    assert "<img" in (tmp_path / "report" / "report.html").read_text()


def test_measures_are_compared_with_those_of_the_labels(workspace: Workspace, masks: Path, tmp_path: Path) -> None:
    half = make_label("B")
    half[4:] = 0
    write_mask(masks / "B.nii.gz", half, geometry=GEOMETRY)
    write_mask(masks / "A.nii.gz", make_label("A") * 0, geometry=GEOMETRY)
    report = score(workspace, masks)
    agreement = {one.measure: one for one in report.agreement}
    # 24 and 12 voxels of 30 cubic mm; the healthy case has a volume of 0 in both
    assert agreement["mtv_ml"].n == 3
    assert agreement["mtv_ml"].bias == pytest.approx((-0.72 - 0.36) / 3)
    assert agreement["suv_max"].n == 1
    assert agreement["suv_max"].bias == 0
    assert "Bland-Altman" in (tmp_path / "report" / "report.html").read_text()


def test_images_that_show_no_uptake_are_not_measured(workspace: Workspace, masks: Path) -> None:
    write_manifest(workspace.raw, build_manifest(workspace.raw, channels=["CT"], labels=["lesion"]))
    report = score(workspace, masks)
    assert (report.measures, report.agreement) == ((), ())


def test_labels_of_cases_that_the_task_does_not_know(
    workspace: Workspace, masks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for case in ("X", "Y"):
        write_mask(tmp_path / "labels" / f"{case}.nii.gz", make_label(case), geometry=GEOMETRY)
    write_mask(masks / "X.nrrd", make_label("X"), geometry=GEOMETRY)
    report = score(workspace, masks, tmp_path / "labels")
    assert [scores.case for scores in report.cases] == ["X"]
    assert "no label in" in caplog.text
    assert "A, B, healthy" in caplog.text
    assert f"no mask in {masks}: Y" in caplog.text


def test_folders_that_hold_no_labels_are_named(workspace: Workspace, masks: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    with pytest.raises(CaseError, match="wrong: there is no such folder; give the folder of the labels with -l"):
        score(workspace, masks, wrong)
    wrong.mkdir()
    (wrong / "readme.txt").touch()
    with pytest.raises(CaseError, match=r"wrong: no mask in this folder, found readme\.txt, expected CASE\.nii\.gz"):
        score(workspace, masks, wrong)
    with pytest.raises(CaseError, match=r"no mask in this folder.*give the folder that interactivepet_predict wrote"):
        score(workspace, wrong)
    write_mask(wrong / "Z.nii.gz", make_label("Z"), geometry=GEOMETRY)
    with pytest.raises(CaseError, match=r"none of the 3 masks of .* \(A, B, healthy\) has a label .* \(Z\)"):
        score(workspace, masks, wrong)


@pytest.mark.parametrize("of_labels", [True, False])
def test_other_grids_and_values_are_refused(workspace: Workspace, masks: Path, tmp_path: Path, of_labels: bool) -> None:
    other = tmp_path / "other"
    labels, predicted = (other, masks) if of_labels else (masks, other)
    write_mask(other / "A.nii.gz", make_label("A")[:-1], geometry=Geometry((8, 7, 5), GEOMETRY.affine))
    with pytest.raises(CaseError, match=r"grid 8x7x5 but .* grid 9x7x5"):
        score(workspace, predicted, labels)
    write_mask(other / "A.nii.gz", make_label("A") * 255, geometry=GEOMETRY)
    with pytest.raises(CaseError, match=r"A\.nii\.gz: holds 255, expected 0 or 1 \(lesion\)"):
        score(workspace, predicted, labels)


def test_one_mask_a_case(masks: Path) -> None:
    assert list(find_masks(masks)) == ["A", "B", "healthy"]
    write_mask(masks / "A.mha", make_label("A"), geometry=GEOMETRY)
    with pytest.raises(CaseError, match=r"A\.mha and A\.nii\.gz are both masks of A"):
        find_masks(masks)


def test_the_command(workspace: Workspace, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["-t", TASK, "-p", str(masks)]) == 0
    shown = capsys.readouterr().out
    assert "mean Dice 1.000" in shown
    assert (masks / "report.html").is_file()
    assert evaluate.main(["-t", TASK, "-p", str(masks), "-l", str(masks.parent / "nowhere")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(["-t", TASK, "-l", str(masks)])
