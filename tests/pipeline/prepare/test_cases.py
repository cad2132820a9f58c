"""Preprocessed cases on disk: what is kept, what is read again, and how little a worker loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox
from interactivepet.core.plan import Configuration, CropPlan, Plan
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_mask, write_text
from interactivepet.dataset.interactions import has_points, write_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, StaleArtefactError
from interactivepet.guidance.simulate import ClickOptions
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.cases import read_preprocessed, read_records, run_preprocessing
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.prepare.steps import (
    run_fingerprint,
    run_generate_dataset_json,
    run_mimic_interactions,
    run_plan,
)
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.plan import PlanOptions
from interactivepet.planning.request import PlanRequest
from tests.tiny import TASK, open_tiny, write_tiny_task

HEAVY = ("torch", "mlflow", "matplotlib", "nnInteractive", "monai")

WORKER = """
import sys
from pathlib import Path
from interactivepet.pipeline.prepare.cases import run_preprocessing
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.steps import run_fingerprint, run_plan
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest

root = Path(sys.argv[1])
workspace = Workspace.of(sys.argv[2], raw=root / "raw", processed=root / "processed", results=root / "results")
run_fingerprint(workspace, InlineExecutor())
plan = run_plan(workspace, PlanRequest(budget="cpu")).plan("3d_fullres")
run_preprocessing(workspace, InlineExecutor(), plan=plan, snapshots=False)
print(*[name for name in sys.argv[3:] if name in sys.modules])
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_tiny_task(tmp_path / "raw", n_training=3, n_test=0)
    tiny = open_tiny(tmp_path)
    run_generate_dataset_json(tiny, channels=["PET"], labels=["lesion"])
    return tiny


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    run_mimic_interactions(workspace, InlineExecutor(), options=ClickOptions(), seed=0, overwrite=False)
    run_fingerprint(workspace, InlineExecutor())
    return run_plan(workspace, PlanRequest(budget="cpu")).plan("3d_fullres")


def process(workspace: Workspace, plan: Plan) -> int:
    return run_preprocessing(workspace, InlineExecutor(), plan=plan, snapshots=False)


def test_a_worker_loads_none_of_the_heavy_libraries(workspace: Workspace, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path), TASK, *HEAVY]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
    assert len(list((tmp_path / "processed").rglob("*.b2nd"))) == 3


@pytest.mark.parametrize(
    ("wanted", "pictured"),
    [
        (("3d_fullres", "3d_lowres"), "3d_fullres"),
        (("3d_lowres", "3d_fullres"), "3d_lowres"),
        (("3d_cascade", "3d_lowres", "3d_fullres"), "3d_fullres"),
    ],
)
def test_a_case_has_one_picture_in_the_default_configuration(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    wanted: tuple[Configuration, ...],
    pictured: Configuration,
) -> None:
    drawn: dict[str, bool] = {}

    def note(where: Workspace, executor: object, *, plan: Plan, snapshots: bool) -> int:
        drawn[plan.configuration] = snapshots
        return 0

    monkeypatch.setattr("interactivepet.pipeline.prepare.planning.run_preprocessing", note)
    asked = PlanOptions(configurations=wanted)
    planning = PlanningOptions(n_folds=2, snapshots=True, verify=False, request=PlanRequest(options=asked))
    run_plan_and_process(workspace, options=planning, show_issues=lambda issues: None)
    assert drawn == {name: name == pictured for name in ("3d_fullres", "3d_lowres")}


def test_cases_are_written_once(workspace: Workspace, plan: Plan) -> None:
    assert process(workspace, plan) == 3
    assert process(workspace, plan) == 0
    (record,) = read_records(workspace, plan, cases=["TINY_001"]).values()
    case = read_preprocessed(workspace, plan, record=record)
    assert case.image.shape == (1, *record.resampled.shape)
    assert case.label is not None
    assert set(np.unique(case.label)) == {0, 1}
    assert all(case.label[voxel] == 1 for voxel in record.foreground[1])


def test_cases_are_cropped_to_their_labels_and_clicks(workspace: Workspace, plan: Plan) -> None:
    near = plan.model_copy(update={"crop": CropPlan(region="clicks", margin_mm=0.0)})
    process(workspace, plan)
    with pytest.raises(StaleArtefactError):
        read_records(workspace, near, cases=["TINY_000"])

    assert process(workspace, near) == 3

    for name, record in read_records(workspace, near, cases=["TINY_000", "TINY_002"]).items():
        label, _ = read_mask(workspace.raw / "labelsTr" / f"{name}.nii.gz")
        assert record.trace.crop == BoundingBox.of(label > 0)


def test_a_case_without_label_is_kept_whole(workspace: Workspace, plan: Plan) -> None:
    near = plan.model_copy(update={"crop": CropPlan(region="clicks", margin_mm=0.0)})
    process(workspace, plan)
    (body,) = read_records(workspace, plan, cases=["TINY_001"]).values()
    (workspace.raw / "dataset.json").write_text(
        (workspace.raw / "dataset.json").read_text().replace('"./labelsTr/TINY_001.nii.gz"', "null")
    )
    write_clicks(workspace.clicks_folder() / "TINY_001.mrk.json", ())
    assert [entry.id for entry in read_manifest(workspace.raw).training if entry.label is None] == ["TINY_001"]

    process(workspace, near)

    (record,) = read_records(workspace, near, cases=["TINY_001"]).values()
    assert record.trace.crop == body.trace.crop
    assert not record.has_label


def test_a_case_that_fails_is_named_and_the_rest_are_written(workspace: Workspace, plan: Plan) -> None:
    (workspace.raw / "imagesTr" / "TINY_001_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(CaseError, match="preprocess failed for 1 of 3 cases:\nTINY_001"):
        process(workspace, plan)
    assert sorted(path.stem for path in workspace.cases("3d_fullres").glob("*.b2nd")) == ["TINY_000", "TINY_002"]


def mimic(workspace: Workspace, *, overwrite: bool = False) -> int:
    return run_mimic_interactions(workspace, InlineExecutor(), options=ClickOptions(), seed=0, overwrite=overwrite)


EMPTY = {
    "TINY_000.mrk.json": '{"markups": [{"type": "Fiducial", "controlPoints": []}]}',
    "TINY_000.json": '{"tumour": [], "background": []}',
    "TINY_000.csv": "x,y,z\n",
    "TINY_000.fcsv": "# CoordinateSystem = LPS\n",
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_click_file_without_a_point_is_no_reason_to_make_none(
    name: str, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    write_text(workspace.clicks_folder() / name, EMPTY[name])
    assert mimic(workspace) == 3
    path = find_clicks_file(workspace.clicks_folder(), "TINY_000")
    assert path is not None
    assert has_points(path)
    assert "TINY_000: its click file holds no point" in caplog.text
    assert mimic(workspace) == 0


def test_a_click_file_of_a_case_without_lesion_stays_as_it_is(workspace: Workspace) -> None:
    label = workspace.raw / "labelsTr" / "TINY_000.nii.gz"
    values, geometry = read_mask(label)
    write_mask(label, np.zeros_like(values), geometry=geometry)
    assert mimic(workspace) == 3
    path = workspace.clicks_folder() / "TINY_000.mrk.json"
    before = path.stat().st_mtime_ns
    assert mimic(workspace) == 0
    assert path.stat().st_mtime_ns == before


def test_files_of_no_case_are_named_before_clicks_are_made(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("TINY_000_clicks.csv", "TINY_009.json"):
        write_text(workspace.clicks_folder() / name, "x,y,z\n1,2,3\n")
    assert mimic(workspace) == 3
    assert "TINY_000_clicks.csv is not used" in caplog.text
    assert "TINY_009.json is not used" in caplog.text
