"""A task that an earlier version finished (`tests/stored`) is used as it is: nothing is trained or predicted again."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from interactivepet.core.ensemble import ChoiceMode, EnsembleRule
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import PromptableCard
from interactivepet.core.report import LabelScores, Report
from interactivepet.dataset.files.write import read_artefact
from interactivepet.pipeline.prepare.steps import is_verified
from interactivepet.pipeline.train import fold_job, promptable
from interactivepet.pipeline.train.promptable import run_promptable_training
from tests.tiny import TASK, make_options, open_tiny, walk

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).resolve().parents[1] / "stored" / "tiny_task.zip"

MODES: tuple[ChoiceMode, ...] = ("none", "extreme", "corrected")

MADE_AGAIN = {
    # scores are computed again from the masks, since that costs little
    *(f"results/{TASK}/crossvalidation/{mode}/report.json" for mode in MODES),
    f"results/{TASK}/predictionsTs/report.json",
    # its tracker's store lay elsewhere
    f"results/{TASK}/runs.json",
}
ADDED = {
    # contents of files, which that version did not keep
    f"processed/{TASK}/stamps/files.json",
    # pages, which the archive leaves out
    *(f"results/{TASK}/crossvalidation/{mode}/report.html" for mode in MODES),
    f"results/{TASK}/predictionsTs/report.html",
}


def list_files(root: Path) -> dict[str, int]:
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file() and "mlflow" not in path.parts and path.name != ".lock"
    }


def read_voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root folder of the unpacked task; files have the times of change that they had."""
    root = tmp_path_factory.mktemp("stored")
    with zipfile.ZipFile(ARCHIVE) as archive:
        times = json.loads(archive.read("times.json"))
        for name, time_ns in times.items():
            archive.extract(name, root)
            os.utime(root / name, ns=(time_ns, time_ns))
    return root


@pytest.fixture(scope="module")
def untrained() -> pytest.MonkeyPatch:
    """Training fails."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_job, "train_fold", refuse)
        yield patch


Resumed = tuple[Path, dict[str, int], dict[str, Report]]


@pytest.fixture(scope="module")
def resumed(stored: Path, untrained: pytest.MonkeyPatch) -> Resumed:
    """The task after a whole run, the times of its files before, and the run's reports."""
    before = list_files(stored)
    assert is_verified(open_tiny(stored))
    return stored, before, walk(stored)


def test_the_archive_stays_small() -> None:
    assert ARCHIVE.stat().st_size < 1_000_000


def test_nothing_is_made_again_without_a_reason(resumed: Resumed) -> None:
    root, before, _ = resumed
    after = list_files(root)
    assert {name for name in after if before.get(name) != after[name]} == MADE_AGAIN | ADDED
    assert set(before) <= set(after)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("crossvalidation/none", "788b2a1d5b2cdd29"),
        ("crossvalidation/extreme", "df9610ab7f01a677"),
        ("crossvalidation/corrected", "d53844ab728c5db4"),
        ("predictionsTs", "c9161f6a6f364e6f"),
    ],
)
def test_stored_reports_keep_their_hashes(folder: str, expected: str) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        report = Report.model_validate_json(archive.read(f"results/{TASK}/{folder}/report.json"))
    assert report.content_hash() == expected


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_those_that_were_stored(resumed: Resumed, mode: str) -> None:
    name = f"results/{TASK}/crossvalidation/{mode}/report.json"
    with zipfile.ZipFile(ARCHIVE) as archive:
        stored = json.loads(archive.read(name))
    found = json.loads((resumed[0] / name).read_bytes())
    # reports of later versions say more
    added = {field: found.pop(field) for field in Report.later_fields if field not in stored}
    for label in (label for case in found["cases"] for label in case["labels"]):
        for field in LabelScores.later_fields:
            del label[field]
    found["summary"] = [row for row in found["summary"] if row["metric"] not in LabelScores.later_fields]
    assert found == stored
    assert {row["measure"] for row in added["agreement"]} >= {"mtv_ml", "suv_max", "tlg_g"}
    assert bool(added["classical"]) == (mode == "extreme")


def test_a_run_resumes_to_reports(resumed: Resumed) -> None:
    assert set(resumed[2]) == {"none", "extreme", "corrected", "test"}


def test_masks_and_choice_that_are_made_again_are_the_same(resumed: Resumed) -> None:
    root = resumed[0]
    workspace = open_tiny(root)
    folders = (workspace.predictions, *(workspace.cross_validation(mode) for mode in MODES))
    before = {path: read_voxels(path) for folder in folders for path in folder.glob("*.nii.gz")}
    assert len(before) == 16
    choice = read_artefact(workspace.ensemble, EnsembleRule, command="")
    for path in (*before, workspace.ensemble):
        path.unlink()
    walk(root)
    assert read_artefact(workspace.ensemble, EnsembleRule, command="") == choice
    for path, voxels in before.items():
        np.testing.assert_array_equal(read_voxels(path), voxels)


def test_cases_that_are_preprocessed_again_are_the_same(resumed: Resumed) -> None:
    root = resumed[0]
    folder = open_tiny(root).cases("3d_fullres")
    before = {path: read_artefact(path, CaseRecord, command="") for path in folder.glob("*.json")}
    assert len(before) == 5
    for path in before:
        path.unlink()
        path.with_suffix(".b2nd").unlink()
    walk(root)
    assert {path: read_artefact(path, CaseRecord, command="") for path in before} == before


def test_a_promptable_model_is_complete(stored: Path, untrained: pytest.MonkeyPatch) -> None:
    workspace, options = open_tiny(stored), make_options(stored)
    card = read_artefact(workspace.promptable_fold(0) / "card.json", PromptableCard, command="")
    untrained.setattr(promptable, "make_promptable_plan", lambda plans, *, start: card.plan)
    cards = run_promptable_training(
        workspace, [0], options=options.training, tracker=options.tracker, n_proc=1, n_cores=1
    )
    assert cards == [card]
