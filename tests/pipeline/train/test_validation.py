"""Out-of-fold predictions of plans that crop to clicks: judged as they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interactivepet.core.interaction import Click
from interactivepet.core.plan import CropPlan, Plan
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.read import read_case, read_mask
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.inference.network import FoldNetwork
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.cases import read_records, run_preprocessing
from interactivepet.pipeline.prepare.steps import run_fingerprint, run_generate_dataset_json, run_plan
from interactivepet.pipeline.train.validation import Validation, validate_fold
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.training.batches import load_cases
from tests.tiny import open_tiny, write_tiny_task


class Bright(nn.Module):
    """Finds a lesion everywhere."""

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        image = tile[:, :1]
        return torch.cat((torch.zeros_like(image), torch.full_like(image, 9.0)), 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_tiny_task(tmp_path / "raw", n_training=2, n_test=0)
    tiny = open_tiny(tmp_path)
    run_generate_dataset_json(tiny, channels=["PET"], labels=["lesion"])
    return tiny


def validate(workspace: Workspace, region: str) -> Validation:
    """Validate both cases, of which the first has one click far from its lesion, the second none."""
    grid = read_case(workspace.raw, read_manifest(workspace.raw).entry("TINY_000")).geometry
    x, y, z = grid.to_mm((20, 18, 16)).tolist()
    write_clicks(workspace.clicks_folder() / "TINY_000.mrk.json", (Click(position_mm=(x, y, z), label=1),))
    run_fingerprint(workspace, InlineExecutor())
    plan: Plan = run_plan(workspace, PlanRequest(budget="cpu")).plan("3d_fullres")
    plan = plan.model_copy(update={"crop": CropPlan(region=region, margin_mm=4.0)})
    run_preprocessing(workspace, InlineExecutor(), plan=plan, snapshots=False)
    records = read_records(workspace, plan, cases=["TINY_000", "TINY_001"])
    network = FoldNetwork("fold_0", "MIT", plan, Bright(), torch.device("cpu"), tta=False)
    cases = load_cases(workspace.cases(plan.configuration), records)
    return validate_fold(workspace, plan, fold=0, cases=cases, network=network)


@pytest.mark.slow
def test_a_plan_for_the_body_is_judged_with_and_without_clicks(workspace: Workspace) -> None:
    found = validate(workspace, "body")
    assert {mode: set(cases) for mode, cases in found.dice.items()} == {
        "none": {"TINY_000", "TINY_001"},
        "extreme": {"TINY_000", "TINY_001"},
    }


def test_the_label_does_not_tell_where_to_look(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    found = validate(workspace, "clicks")
    assert {mode: set(cases) for mode, cases in found.dice.items()} == {"extreme": {"TINY_000"}}
    assert set(found.means) == {"extreme"}
    assert "TINY_001: no clicks" in caplog.text
    folder = workspace.out_of_fold("3d_fullres", 0, mode="extreme")
    assert [path.name for path in folder.iterdir()] == ["TINY_000.b2nd"]
    probability = read_array(folder / "TINY_000.b2nd", command="")[0]
    # 4 mm around the click, and nothing of the lesion that the stored case is cropped to as well
    assert np.argwhere(probability > 0.5).min(axis=0).tolist() == [19, 17, 15]
    label, _ = read_mask(workspace.raw / "labelsTr" / "TINY_000.nii.gz")
    assert label.any()
    assert not probability[label > 0].any()
