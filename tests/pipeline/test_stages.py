"""What the whole walk leaves on disk, and that running it again changes nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.plan import Configuration, FoldList, Plans
from interactivepet.core.report import Report
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.errors import (
    MissingArtefactError,
    StaleArtefactError,
    TrainingError,
    VerificationError,
)
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_test_request
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.prepare.steps import (
    is_verified,
    read_decisions,
    run_generate_dataset_json,
    run_verification,
)
from interactivepet.pipeline.train.training import run_training
from interactivepet.planning.plan import PlanOptions
from interactivepet.planning.request import PlanRequest
from tests.tiny import TASK, make_options, open_tiny, walk, write_tiny_task

Finished = tuple[Path, dict[str, Report]]
FULL: Configuration = "3d_fullres"


def list_files(root: Path) -> dict[str, int]:
    """Map every file outside of the tracker's store to its time of change."""
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime_ns
        for path in sorted(root.rglob("*"))
        if path.is_file() and "mlflow" not in path.parts
    }


def test_every_promised_file_is_there_and_no_half_written_one(finished: Finished) -> None:
    files = set(list_files(finished[0]))
    results, processed = f"results/{TASK}", f"processed/{TASK}"
    expected = {
        f"raw/{TASK}/dataset.json",
        *(f"raw/{TASK}/interactionsTr/TINY_{i:03d}.mrk.json" for i in range(6)),
        f"raw/{TASK}/interactionsTs/TINY_006.mrk.json",
        *(f"{processed}/{name}.json" for name in ("issues", "fingerprint", "folds", "plans")),
        *(f"{processed}/3d_fullres/TINY_{i:03d}{end}" for i in range(6) for end in (".b2nd", ".json")),
        *(
            f"{results}/3d_fullres/fold_{k}/{name}"
            for k in range(3)
            for name in ("weights.pt", "card.json", "checkpoint.pt", "summary.html")
        ),
        f"{results}/ensemble.json",
        *(f"{results}/crossvalidation/{m}/report.{end}" for m in ("none", "extreme") for end in ("json", "html")),
        f"{results}/predictionsTs/TINY_006.nii.gz",
        f"{results}/predictionsTs/report.json",
    }
    assert expected <= files
    assert not [name for name in files if ".partial-" in name or name.endswith("checkpoint.previous.pt")]


def test_each_case_is_predicted_out_of_fold_exactly_once_and_patients_stay_together(finished: Finished) -> None:
    workspace = open_tiny(finished[0])
    folds = read_artefact(workspace.folds, FoldList, command="").folds
    cards = [read_artefact(workspace.card(FULL, fold.index), CheckpointCard, command="") for fold in folds]
    for card, fold in zip(cards, folds, strict=True):
        assert card.validation == fold.validation
        assert not set(card.training) & set(card.validation)
        for mode in ("none", "extreme"):
            assert set(card.validation_dice[mode]) == set(fold.validation)
            names = {path.name for path in workspace.out_of_fold(FULL, fold.index, mode=mode).iterdir()}
            assert names == {f"{name}.b2nd" for name in fold.validation}
    held = {case: fold.index for fold in folds for case in fold.validation}
    assert sorted(held) == [f"TINY_{i:03d}" for i in range(6)]
    assert held["TINY_000"] == held["TINY_001"]


def test_masks_lie_on_the_grid_of_their_image_to_the_last_bit(finished: Finished) -> None:
    workspace = open_tiny(finished[0])
    pairs = [
        (workspace.cross_validation("extreme") / "TINY_002.nii.gz", workspace.raw / "imagesTr/TINY_002_0000.nii.gz"),
        (workspace.predictions / "TINY_006.nii.gz", workspace.raw / "imagesTs/TINY_006_0000.nii.gz"),
    ]
    for mask_path, image_path in pairs:
        mask, image = nib.load(mask_path), nib.load(image_path)
        assert mask.shape == image.shape
        assert np.array_equal(mask.affine, image.affine)
        assert mask.get_data_dtype() == np.uint8


def test_reports_say_how_the_masks_came_about(finished: Finished) -> None:
    reports = finished[1]
    assert set(reports) == {"none", "extreme", "corrected", "test"}
    assert "never saw it" in reports["extreme"].provenance
    assert "Held-out" in reports["test"].provenance
    assert {case.n_clicks for case in reports["none"].cases} == {0}
    assert {case.n_clicks for case in reports["extreme"].cases} == {6}
    assert {case.n_clicks for case in reports["corrected"].cases} == {16}


def test_the_chain_of_hashes_holds(finished: Finished) -> None:
    workspace = open_tiny(finished[0])
    plan = read_artefact(workspace.plans, Plans, command="").plan(FULL)
    card = read_artefact(workspace.card(FULL, 0), CheckpointCard, command="", made_from=plan.content_hash())
    assert len(card.epochs) == 2
    rule = read_artefact(workspace.ensemble, EnsembleRule, command="")
    for choice in rule.choices.values():
        stages = {candidate.stage for candidate in choice.candidates}
        assert stages == {"configuration", "blend", "threshold", "postprocessing"}
        assert sum(candidate.chosen for candidate in choice.candidates) == 4
        assert len(choice.nested_fold_dice) == 3


def test_running_again_changes_no_mask_weight_or_decision(copied: Path) -> None:
    before = list_files(copied)
    walk(copied, make_options(copied))
    after = list_files(copied)
    assert set(before) == set(after)
    rewritten = {name for name in before if before[name] != after[name]}
    # copying changed no time stamp, so what is made anew is cheap; the tracker's store has another address now
    cheap = {"issues.json", "report.json", "report.html", "runs.json", ".lock"}
    assert {Path(name).name for name in rewritten} <= cheap


def test_a_task_whose_files_were_copied_back_is_as_it_was(copied: Path) -> None:
    workspace = open_tiny(copied)
    run_verification(workspace, InlineExecutor())
    for path in workspace.raw.rglob("*.*"):
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    before = {path: path.read_bytes() for path in copied.rglob("*.*") if path.is_file()}
    assert is_verified(workspace)
    plans, _ = read_decisions(workspace)
    assert len(read_records(workspace, plans.plan("3d_fullres"), cases=["TINY_000"])) == 1
    walk(copied)
    kept = ("*.b2nd", "*.nii.gz", "*.pt", "plans.json", "card.json", "ensemble.json", "predictions.json", "issues.json")
    paths = [path for pattern in kept for path in copied.rglob(pattern)]
    assert [path for path in paths if path.read_bytes() != before[path]] == []


def test_a_complete_fold_goes_on_when_more_epochs_are_asked_for(copied: Path) -> None:
    workspace, options = open_tiny(copied), make_options(copied, epochs=3)
    before = read_artefact(workspace.card(FULL, 0), CheckpointCard, command="")

    def train(fold: int) -> CheckpointCard:
        (card,) = run_training(
            workspace, [fold], options=options.training, tta=False, tracker=options.tracker, n_proc=1, n_cores=1
        )
        return card

    assert train(0).epochs[:2] == before.epochs
    assert len(read_artefact(workspace.card(FULL, 0), CheckpointCard, command="").epochs) == 3
    (workspace.fold(FULL, 1) / "checkpoint.pt").unlink()
    with pytest.raises(TrainingError, match=r"complete with 2 epochs .* --no-continue"):
        train(1)


def test_weights_that_cannot_be_used_leave_a_complete_fold_alone(copied: Path) -> None:
    workspace, bad = open_tiny(copied), copied / "bad.pt"
    bad.write_text("no weights")
    options = make_options(copied, pretrained=bad, resume=False)
    before = list_files(workspace.fold(FULL, 0))
    with pytest.raises(TrainingError, match="bad"):
        run_training(workspace, [0], options=options.training, tta=False, tracker=options.tracker, n_proc=1, n_cores=1)
    after = list_files(workspace.fold(FULL, 0))
    assert {name: after.get(name) for name in before if name != ".lock"} == {
        name: time for name, time in before.items() if name != ".lock"
    }


def test_a_lost_preprocessed_case_is_made_again_and_nothing_else(copied: Path) -> None:
    lost = open_tiny(copied).cases("3d_fullres") / "TINY_003.b2nd"
    lost.unlink()
    before = list_files(copied)
    run_plan_and_process(open_tiny(copied), options=PlanningOptions(n_folds=3), show_issues=lambda issues: None)
    after = list_files(copied)
    changed = {Path(name).name for name in after if before.get(name) != after[name]}
    assert lost.is_file()
    assert changed <= {"TINY_003.b2nd", "TINY_003.json", "issues.json"}


def test_an_edited_plan_is_kept_and_makes_the_folds_stale(copied: Path) -> None:
    workspace = open_tiny(copied)
    plans = read_artefact(workspace.plans, Plans, command="")
    own = plans.configurations[FULL]
    own = own.model_copy(update={"training": own.training.model_copy(update={"learning_rate": 0.003})})
    edited = plans.model_copy(update={"configurations": {FULL: own}})
    write_artefact(workspace.plans, edited)
    run_plan_and_process(workspace, options=PlanningOptions(n_folds=3), show_issues=lambda issues: None)
    assert read_artefact(workspace.plans, Plans, command="") == edited
    with pytest.raises(StaleArtefactError, match="interactivepet_train"):
        run_prediction(workspace, make_test_request(workspace), options=PredictionOptions(device="cpu"))


def test_another_budget_keeps_the_plan_before(copied: Path) -> None:
    workspace = open_tiny(copied)
    before = read_artefact(workspace.plans, Plans, command="")
    run_plan_and_process(
        workspace,
        options=PlanningOptions(n_folds=3, request=PlanRequest(budget="8gb")),
        show_issues=lambda issues: None,
    )
    assert read_artefact(workspace.plans, Plans, command="").budget == "8gb"
    assert read_artefact(workspace.plans.with_name("plans.previous.json"), Plans, command="") == before


def test_a_choice_made_on_other_folds_is_refused(copied: Path) -> None:
    workspace = open_tiny(copied)
    card = read_artefact(workspace.card(FULL, 1), CheckpointCard, command="")
    write_artefact(workspace.card(FULL, 1), card.model_copy(update={"tta": True}))
    with pytest.raises(StaleArtefactError, match="interactivepet_postprocessing"):
        run_prediction(workspace, make_test_request(workspace), options=PredictionOptions(device="cpu"))


def test_problems_stop_the_walk_before_anything_is_planned(copied: Path) -> None:
    workspace = open_tiny(copied)
    label = workspace.raw / "labelsTr/TINY_002.nii.gz"
    image = nib.load(label)
    broken = np.asanyarray(image.dataobj).copy()
    broken[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(broken, image.affine), label)
    shown = []
    with pytest.raises(VerificationError, match="--no-verify"):
        run_plan_and_process(workspace, options=PlanningOptions(n_folds=3), show_issues=shown.append)
    assert [(issue.case, issue.kind) for issue in shown[0].issues] == [("TINY_002", "label-value")]


@pytest.mark.slow
def test_a_task_that_is_only_clicked_on_is_judged_with_clicks_alone(tmp_path: Path) -> None:
    write_tiny_task(tmp_path / "raw")
    workspace, options = open_tiny(tmp_path), make_options(tmp_path)
    run_generate_dataset_json(workspace, channels=["PET"], labels=["lesion"])
    planning = replace(options.planning, options=PlanOptions(interactive=True))
    reports = walk(tmp_path, replace(options, planning=planning))
    assert set(reports) == {"extreme", "corrected", "test"}
    assert set(read_artefact(workspace.ensemble, EnsembleRule, command="").choices) == {"extreme", "corrected"}
    card = read_artefact(workspace.card(FULL, 0), CheckpointCard, command="")
    assert set(card.validation_dice) == {"extreme"}
    assert "without clicks" not in (workspace.fold(FULL, 0) / "summary.html").read_text().partition("</p>")[0]
    assert not workspace.out_of_fold(FULL, 0, mode="none").exists()
    (workspace.clicks_folder(test=True) / "TINY_006.mrk.json").unlink()
    log = run_prediction(workspace, make_test_request(workspace), options=PredictionOptions(device="cpu"))
    assert "TINY_006: no clicks" in log.failed["TINY_006"]


def test_prediction_without_a_trained_fold_names_the_command(copied: Path) -> None:
    workspace = open_tiny(copied)
    shutil.rmtree(workspace.results)
    with pytest.raises(MissingArtefactError, match="interactivepet_train"):
        run_prediction(workspace, make_test_request(workspace), options=PredictionOptions(device="cpu"))
