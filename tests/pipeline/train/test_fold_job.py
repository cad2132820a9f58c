"""The life cycle of a fold is one for both kinds of networks: found, trained, judged, and complete with its card."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.core.checkpoint import CheckpointCard, EpochRecord
from interactivepet.core.geometry import Shape
from interactivepet.core.plan import Fold, Plan
from interactivepet.core.promptable import PromptableCard, PromptablePlan
from interactivepet.core.sample import Sample
from interactivepet.dataset.files.write import write_artefact, write_text
from interactivepet.errors import TrainingError
from interactivepet.pipeline.train import fold_job
from interactivepet.pipeline.train import training as train
from interactivepet.pipeline.train.fold_job import FoldJob, complete_fold
from interactivepet.pipeline.train.promptable import PromptableJob
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import NetworkJob, make_batch_drawing
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.fold import TrainedFold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.tasks import FoldTask, PromptTask
from tests.null_tracker import NullTracker
from tests.tiny import TASK, open_tiny
from tests.training.promptable.conftest import make_promptable_plan

FOLD = Fold(index=0, training=("A",), validation=("B",))
EPOCH = EpochRecord(
    epoch=0, loss=0.5, validation_loss=0.5, pseudo_dice=(0.5,), learning_rate=0.1, seconds=1.0, memory_gb=0.1
)
EVERY_KIND = pytest.mark.parametrize("kind", [CheckpointCard, PromptableCard])


@dataclass
class Recorded(NullTracker):
    """Keeps how runs ended."""

    ends: list[bool]

    def end_run(self, *, failed: bool = False) -> None:
        self.ends.append(failed)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Replace training and tracker; give what the tracker is told about the end of runs."""

    def train_nothing(task: object, data: FoldData, *, withdraw: Any, **_: object) -> TrainedFold:
        withdraw()
        for path in (data.checkpoint, data.folder / "checkpoint.previous.pt", data.weights):
            write_text(path, "new")
        return TrainedFold((EPOCH,), "0" * 64, "cpu", None)

    ends: list[bool] = []
    monkeypatch.setattr(fold_job, "train_fold", train_nothing)
    monkeypatch.setattr(TrackerConfig, "open", lambda spec: Recorded(ends))
    return ends


def make_plan() -> Plan:
    known = make_promptable_plan().model_dump(exclude={"channel", "labels", "prompts", "pretrained"})
    return Plan.model_validate(
        {
            **known,
            "channels": ("PET",),
            "labels": {"lesion": 1},
            "spacing_mm": (4.0, 4.0, 4.0),
            "median_shape": (24, 24, 24),
            "normalisation": ({"scheme": "suv"},),
            "guidance": {"scale_mm": 6.0},
            "network": {**known["network"], "input_channels": 4},
        }
    )


def make_job(root: Path, kind: type, **options: object) -> FoldJob[Any]:
    workspace = open_tiny(root)
    folder = workspace.fold("3d_fullres", 0) if kind is CheckpointCard else workspace.promptable_fold(0)
    common: dict[str, Any] = {
        "workspace": workspace,
        "name": 0,
        "fold": FOLD,
        "folder": folder,
        "options": TrainingOptions(device="cpu", **options),
        "tracker": TrackerConfig.of(TASK, results=root / "results", uri=None),
        "parent_run": None,
    }
    if kind is CheckpointCard:
        return StubNetworkJob(task=FoldTask(make_plan()), whole=FOLD, tta=False, **common)
    return StubPromptableJob(task=PromptTask(make_promptable_plan()), records={}, licence="", seen=(), **common)


class _Stub:
    """Takes the place of cases and of their prediction, which are not there."""

    task: Any
    folder: Any

    def load(self) -> FoldData:
        return FoldData(0, [], [], self.folder)

    def judge(self, data: FoldData, trained: TrainedFold, *, tracker: Tracker) -> Any:
        return make_card(self, cases_hash=data.cases_hash)


class StubNetworkJob(_Stub, NetworkJob):
    pass


class StubPromptableJob(_Stub, PromptableJob):
    pass


def make_card(job: Any, **changes: object) -> CheckpointCard | PromptableCard:
    plan = job.task.plan
    known: dict[str, Any] = {
        "made_from": plan.content_hash(),
        "task": plan.task,
        "fold": 0,
        "training": FOLD.training,
        "validation": FOLD.validation,
        "cases_hash": job.load().cases_hash,
        "weights_sha256": "1" * 64,
        "licence": "",
        "device": "cpu",
        "epochs": (EPOCH,),
        "validation_dice": {},
        **changes,
    }
    if isinstance(plan, PromptablePlan):
        return PromptableCard(plan=plan, pretrained="", **known)
    return CheckpointCard(tta=False, **known)


def read(path: Path, kind: type) -> Any:
    return kind.model_validate_json(path.read_bytes())


@EVERY_KIND
def test_a_fold_is_complete_with_its_card_and_then_kept(tmp_path: Path, ends: list[bool], kind: type) -> None:
    job = make_job(tmp_path, kind)
    card = complete_fold(job)
    assert isinstance(card, kind)
    assert read(job.card_path, kind) == card
    assert not (job.folder / "checkpoint.previous.pt").exists()
    assert (job.folder / "checkpoint.pt").exists() is (kind is CheckpointCard)
    assert complete_fold(job) == card
    assert ends == [False], "the second call does not train"


@EVERY_KIND
@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"resume": False}, ""),
        ({"cases_hash": "other"}, {}, "images, labels, clicks or folds changed since it was trained; training anew"),
        ({"made_from": "other"}, {}, "fold 0 is trained anew"),
        ({"schema_version": 9}, {}, "schema_version 9"),
    ],
)
def test_a_fold_is_trained_again(
    tmp_path: Path,
    ends: list[bool],
    kind: type,
    changes: dict[str, object],
    options: dict[str, object],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = make_job(tmp_path, kind, **options)
    write_artefact(job.card_path, make_card(job, **changes))
    with caplog.at_level(logging.WARNING):
        complete_fold(job)
    assert ends == [False]
    assert message in caplog.text
    assert read(job.card_path, kind) == make_card(job)


@EVERY_KIND
def test_an_interrupted_judgement_leaves_no_card_but_the_state(
    tmp_path: Path, ends: list[bool], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Stub, "judge", interrupt)
    job = make_job(tmp_path, kind, resume=False)
    write_artefact(job.card_path, make_card(job))
    with pytest.raises(KeyboardInterrupt):
        complete_fold(job)
    assert ends == [True]
    assert not job.card_path.exists()
    assert (job.folder / "checkpoint.pt").exists()


def test_more_epochs_need_the_state_that_only_a_fold_keeps(tmp_path: Path, ends: list[bool]) -> None:
    fold = make_job(tmp_path, CheckpointCard, epochs=2)
    write_artefact(fold.card_path, make_card(fold))
    with pytest.raises(TrainingError, match="cannot go on to 2"):
        complete_fold(fold)
    write_text(fold.folder / "checkpoint.pt", "state")
    complete_fold(fold)
    model = make_job(tmp_path, PromptableCard, epochs=2)
    write_artefact(model.card_path, make_card(model))
    write_text(model.folder / "checkpoint.pt", "state")
    assert complete_fold(model) == make_card(model), "it is complete whatever was asked for"
    assert not (model.folder / "checkpoint.pt").exists()
    assert ends == [False], "only the fold was trained"


@EVERY_KIND
def test_jobs_are_sent_to_workers(tmp_path: Path, kind: type) -> None:
    job = make_job(tmp_path, kind)
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    assert again.card_path == job.card_path


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 8, 1)])
def test_the_first_batch_of_a_fold_is_drawn(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = np.ones(shape, np.float32), np.ones(shape, np.uint8)
    samples = [Sample(image, image, image, mask, mask)]
    assert make_batch_drawing(make_plan(), 3)(samples).startswith(b"\x89PNG")
    given: dict[str, object] = {}
    monkeypatch.setattr(train, "draw_batch", lambda samples, **options: given.update(options))
    make_batch_drawing(make_plan(), 3)(samples)
    assert given == {
        "title": "Task001_Balls 3d_fullres, fold 3: first batch",
        "spacing_mm": (4.0, 4.0, 4.0),
        "is_emission": True,
    }
