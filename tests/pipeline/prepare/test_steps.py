from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.cli.plan_and_process import print_expectation
from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import Plans
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image, write_mask, write_text
from interactivepet.errors import ArtefactError, CaseError, MissingArtefactError, PlanError
from interactivepet.pipeline.executor import InlineExecutor, open_executor
from interactivepet.pipeline.prepare.cases import estimate_worker_gb
from interactivepet.pipeline.prepare.dry_run import expect, plan_fingerprint_file, plan_task
from interactivepet.pipeline.prepare.steps import (
    find_plans,
    run_fingerprint,
    run_generate_dataset_json,
    run_plan,
    run_verification,
)
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.overrides import apply_overrides
from interactivepet.planning.plan import PlanOptions, make_plans
from interactivepet.planning.request import PlanRequest
from tests.planning.factory import make_fingerprint
from tests.planning.test_nnunet import make_content
from tests.tiny import make_volume, open_tiny, write_tiny_task


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    space = Workspace.of("Task001", raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "out")
    write_artefact(space.fingerprint, make_fingerprint(shape=(40, 40, 30)))
    return space


def read_plans(workspace: Workspace) -> Plans:
    return read_artefact(workspace.plans, Plans, command="plan")


def test_a_task_without_fingerprint_names_the_command(tmp_path: Path) -> None:
    empty = Workspace.of("Task001", raw=tmp_path, processed=tmp_path, results=tmp_path)
    with pytest.raises(MissingArtefactError, match="interactivepet_plan_and_process"):
        run_plan(empty)


def test_the_first_plan_takes_the_cpu_and_plain_networks(workspace: Workspace) -> None:
    plans = run_plan(workspace)
    assert plans == read_plans(workspace)
    assert plans.budget == "cpu"
    assert plans.plan(plans.default).network.architecture == "plain"


def test_edits_of_people_stay_until_something_else_is_asked_for(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    run_plan(workspace, PlanRequest(options=PlanOptions(negatives="exclude")))
    content = json.loads(workspace.plans.read_text())
    content["configurations"]["3d_fullres"]["training"]["epochs"] = 7
    write_text(workspace.plans, json.dumps(content))
    kept = run_plan(workspace, PlanRequest(budget="cpu", architecture="plain"))
    assert kept.configurations["3d_fullres"].training.epochs == 7
    assert not (workspace.processed / "plans.previous.json").exists()
    with caplog.at_level(logging.WARNING):
        anew = run_plan(workspace, PlanRequest(budget="8gb"))
    assert "plans.previous.json" in caplog.text
    assert anew.configurations["3d_fullres"].training.epochs != 7
    assert anew.configurations["3d_fullres"].training.negatives == "exclude"
    previous = read_artefact(workspace.processed / "plans.previous.json", Plans, command="plan")
    assert previous == kept


def test_overrides_are_written_and_leave_the_rest_of_the_plan(workspace: Workspace) -> None:
    before = run_plan(workspace, PlanRequest(architecture="residual"))
    changed = run_plan(workspace, PlanRequest(overrides=("training.batch_size=3", "training.epochs=9")))
    training = read_plans(workspace).configurations["3d_fullres"].training
    assert (training.batch_size, training.epochs) == (3, 9)
    assert changed.configurations["3d_fullres"].network == before.configurations["3d_fullres"].network
    assert run_plan(workspace) == changed


def test_what_one_configuration_was_given_stays_its_own(workspace: Workspace) -> None:
    options = PlanOptions(configurations=("3d_fullres", "3d_lowres", "3d_cascade"))
    edited = run_plan(workspace, PlanRequest(options=options, overrides=("3d_lowres:training.negatives=exclude",)))
    again = run_plan(workspace)
    assert again == edited == read_plans(workspace)
    assert again.plan("3d_lowres").content_hash() == edited.plan("3d_lowres").content_hash()
    assert [own.training.negatives for own in again.configurations.values()] == ["keep", "exclude", "keep"]
    asked = run_plan(workspace, PlanRequest(options=PlanOptions(negatives=0.25)))
    assert {own.training.negatives for own in asked.configurations.values()} == {0.25}


def test_another_fingerprint_plans_anew_with_what_was_asked_for(workspace: Workspace) -> None:
    options = PlanOptions(target_shape=(32, 32, 32), normalise="minmax", interactive=True)
    run_plan(workspace, PlanRequest(budget="8gb", architecture="residual", options=options))
    other = make_fingerprint(shape=(60, 60, 60))
    write_artefact(workspace.fingerprint, other)
    plans = run_plan(workspace)
    own = plans.configurations["3d_fullres"]
    assert plans.made_from == other.content_hash()
    assert (plans.budget, own.network.architecture, own.target_shape) == ("8gb", "residual", (32, 32, 32))
    assert (own.crop.region, own.normalisation[0].scheme) == ("clicks", "minmax")


def test_finding_plans_writes_nothing(workspace: Workspace) -> None:
    assert find_plans(workspace, PlanRequest(budget="8gb")).budget == "8gb"
    assert not workspace.plans.exists()


def test_a_plan_with_a_wrong_key_is_refused_with_the_right_one(workspace: Workspace) -> None:
    run_plan(workspace)
    content = json.loads(workspace.plans.read_text())
    own = content["configurations"]["3d_fullres"]
    own["patchsize"] = own.pop("patch_size")
    write_text(workspace.plans, json.dumps(content))
    with pytest.raises(ArtefactError, match=r"plans\.json: .*3d_fullres\.patchsize: .*did you mean patch_size"):
        run_plan(workspace)


def test_a_dry_run_measures_a_step_and_counts_voxels() -> None:
    fingerprint = make_fingerprint(shape=(20, 20, 20), spacings=((4.0, 4.0, 4.0),) * 3)
    plans = make_plans(fingerprint, "cpu")
    expected = expect(plans.plan("3d_fullres"), fingerprint, device="cpu")
    assert expected.disk_gb == pytest.approx(3 * 20**3 * 4 * 2 / 1e9)
    assert 0.1 < expected.worker_gb < 1.0
    memory = plans.configurations["3d_fullres"].memory
    assert expected.step_gb in (memory.float32_gb, memory.mixed_gb)
    assert expected.epoch_seconds is not None
    assert expected.epoch_seconds > 0
    assert expected.device == "cpu"


def test_a_step_for_a_graphics_card_is_not_timed_on_a_cpu() -> None:
    fingerprint = make_fingerprint(shape=(20, 20, 20))
    options = PlanOptions(target_shape=(16, 16, 16))
    expected = expect(make_plans(fingerprint, "8gb", options=options).plan("3d_fullres"), fingerprint, device="cpu")
    assert expected.epoch_seconds is None
    assert expected.disk_gb == pytest.approx(10 * 16**3 * 4 * 2 / 1e9)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_step_that_does_not_fit_is_reported(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error

    fingerprint = make_fingerprint(shape=(20, 20, 20))
    plans = make_plans(fingerprint, "cpu")
    monkeypatch.setattr("interactivepet.training.loop.train_epoch", refuse)
    expected = expect(plans.plan("3d_fullres"), fingerprint, device="cpu")
    assert expected.epoch_seconds is None
    assert expected.refusal is not None
    assert expected.refusal.startswith("out of memory with patch")
    print_expectation("3d_fullres", expected, plans)
    assert "does not fit: out of memory" in " ".join(capsys.readouterr().out.split())


def test_another_failure_of_a_step_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("a defect")

    fingerprint = make_fingerprint(shape=(20, 20, 20))
    monkeypatch.setattr("interactivepet.training.loop.train_epoch", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        expect(make_plans(fingerprint, "cpu").plan("3d_fullres"), fingerprint, device="cpu")


def test_a_step_beyond_the_budget_is_not_timed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = make_fingerprint(shape=(20, 20, 20), spacings=((4.0, 4.0, 4.0),))
    plans = apply_overrides(make_plans(fingerprint, "cpu"), ["training.batch_size=600"])
    monkeypatch.setattr("interactivepet.pipeline.prepare.dry_run._try_step", lambda *_: pytest.fail("a step was tried"))
    expected = expect(plans.plan("3d_fullres"), fingerprint, device="cpu")
    assert expected.epoch_seconds is None
    assert expected.refusal is not None
    assert "the budget cpu has 4 GB" in expected.refusal


def test_channels_of_a_file_that_are_not_used_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text(json.dumps(make_content()))
    plan_fingerprint_file(path, channels=["CT", "PET"], labels=["lesion"])
    assert "not used" not in caplog.text
    plan_fingerprint_file(path, channels=["CT"], labels=["lesion"])
    assert f"{path}: channel 1 not used" in caplog.text


def test_both_ways_to_ask_for_a_workers_memory_agree(workspace: Workspace) -> None:
    fingerprint = make_fingerprint(shape=(20, 20, 20), spacings=((4.0, 4.0, 4.0),))
    plan = make_plans(fingerprint, "8gb").plan("3d_fullres")
    expected = expect(plan, fingerprint, device="cpu")
    assert expected.worker_gb == pytest.approx(estimate_worker_gb(1, before=20**3, after=20**3))


def test_a_task_that_was_measured_is_planned_without_a_trace(copied: Path) -> None:
    from tests.tiny import open_tiny

    workspace = open_tiny(copied)
    before = workspace.plans.read_bytes()
    with open_executor(1) as executor:
        plans, fingerprint = plan_task(workspace, executor, request=PlanRequest(overrides=("training.batch_size=4",)))
    assert plans.plan(plans.default).training.batch_size == 4
    assert len(fingerprint.cases) == 6
    assert workspace.plans.read_bytes() == before


def test_a_fingerprint_file_of_nnunet_is_planned_without_cases(tmp_path: Path) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text(json.dumps(make_content()))
    plans, fingerprint = plan_fingerprint_file(path)
    assert plans.channels == ("channel 0", "channel 1")
    assert plans.labels == {"object": 1}
    assert fingerprint.cases[0].objects is None
    described = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumour": 1, "node": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    plans, _ = plan_fingerprint_file(path, PlanRequest("8gb", "residual", overrides=("training.epochs=3",)))
    assert (plans.channels, plans.labels, plans.budget) == (("CT", "PET"), {"tumour": 1, "node": 2}, "8gb")
    assert plans.plan(plans.default).training.epochs == 3
    plans, _ = plan_fingerprint_file(path, channels=["CT"], labels=["lesion"])
    assert (plans.channels, plans.labels) == (("CT",), {"lesion": 1})


def test_the_projects_own_fingerprint_is_planned_too(workspace: Workspace) -> None:
    plans, fingerprint = plan_fingerprint_file(workspace.fingerprint)
    assert isinstance(fingerprint, Fingerprint)
    assert plans == make_plans(fingerprint, "cpu")


@pytest.mark.parametrize(("text", "error"), [("{", ArtefactError), ("[]", ArtefactError), ("{}", PlanError)])
def test_a_file_that_is_no_fingerprint_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text(text)
    with pytest.raises(error, match="dataset_fingerprint"):
        plan_fingerprint_file(path)
    with pytest.raises(MissingArtefactError):
        plan_fingerprint_file(tmp_path / "nothing.json")


def test_a_dynamic_image_among_others_stops_verification_and_plan(tmp_path: Path) -> None:
    task = write_tiny_task(tmp_path / "raw", n_training=3, n_test=0)
    image, _, geometry = make_volume(1)
    write_image(task / "imagesTr" / "TINY_001_0000.nii.gz", np.concatenate([image, image]), geometry=geometry)
    tiny = open_tiny(tmp_path)
    run_generate_dataset_json(tiny, channels=["PET"], labels=["tumour"])
    (issue,) = run_verification(tiny, InlineExecutor()).errors
    assert (issue.case, issue.kind) == ("TINY_001", "channels")
    assert "--time-frame, of interactivepet_import folder" in issue.remedy
    with pytest.raises(CaseError, match=r"imagesTr/TINY_001_0000.nii.gz: 2 channels, expected 1 \(PET\)"):
        run_fingerprint(tiny, InlineExecutor())


def test_a_task_of_empty_masks_is_a_problem(tmp_path: Path) -> None:
    task = write_tiny_task(tmp_path / "raw", n_training=2, n_test=0)
    for path in (task / "labelsTr").iterdir():
        mask, geometry = read_mask(path)
        write_mask(path, 0 * mask, geometry=geometry)
    tiny = open_tiny(tmp_path)
    run_generate_dataset_json(tiny, channels=["PET"], labels=["tumour"])
    result = run_verification(tiny, InlineExecutor())
    assert [(issue.case, issue.kind) for issue in result.errors] == [("-", "label-empty")]
