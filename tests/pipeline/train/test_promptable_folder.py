"""Who may judge whom: a promptable model predicts no case that it was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Fold, FoldList
from interactivepet.core.prediction import Prediction
from interactivepet.core.promptable import FoldName, PromptableCard, PromptableExport
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.errors import MissingArtefactError, SegmenterError, StaleArtefactError
from interactivepet.pipeline.judge import corrections, postprocess, simulated_cases
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.judge.simulate import SimulationOptions, run_simulation
from interactivepet.pipeline.stamps import open_stamps
from interactivepet.pipeline.train.promptable_folder import find_own_folds
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.workspace import Workspace
from tests.tiny import TASK, make_options, open_tiny
from tests.training.promptable.conftest import make_promptable_plan

SPLIT = FoldList(
    task=TASK,
    seed=0,
    folds=(
        Fold(index=0, training=("C", "D"), validation=("A", "B")),
        Fold(index=1, training=("A", "B"), validation=("C", "D")),
    ),
)


def make_card(fold: FoldName, training: Sequence[str], *, task: str = TASK, made_from: str = "plan") -> PromptableCard:
    return PromptableCard(
        made_from=made_from,
        task=task,
        fold=fold,
        training=tuple(training),
        validation=(),
        cases_hash="x",
        plan=make_promptable_plan((64, 64, 64), batch_size=1),
        weights_sha256="f" * 64,
        licence="owner",
        pretrained="",
        device="cpu",
        epochs=(),
        validation_dice={},
    )


def export(folder: Path, model: PromptableCard) -> str:
    folder.mkdir()
    write_artefact(folder / "card.json", PromptableExport(model=model, fold_dice={}))
    return str(folder)


def write_folds(workspace: Workspace, split: FoldList) -> None:
    for fold in split.folds:
        write_artefact(workspace.promptable_fold(fold.index) / "card.json", make_card(fold.index, fold.training))


def test_models_that_saw_no_case_judge_all(tmp_path: Path) -> None:
    workspace = open_tiny(tmp_path)
    other = export(tmp_path / "other", make_card("all", ["X"], task="Task777_Other"))
    for source in (other, str(tmp_path), "http://host:1527"):
        assert find_own_folds(workspace, source, split=SPLIT) == {}


def test_a_model_of_another_task_with_these_cases_is_refused(tmp_path: Path) -> None:
    source = export(tmp_path / "model", make_card("all", ["X", "C"], task="Task777_Other"))
    with pytest.raises(SegmenterError, match=r"such as C, as cases of Task777_Other.*Leave nnInteractive out"):
        find_own_folds(open_tiny(tmp_path), source, split=SPLIT)


def test_a_model_of_the_tasks_own_is_judged_by_its_folds(tmp_path: Path) -> None:
    workspace = open_tiny(tmp_path)
    source = export(tmp_path / "model", make_card("all", "ABCD"))
    with pytest.raises(MissingArtefactError, match="-f 0"):
        find_own_folds(workspace, source, split=SPLIT)
    write_artefact(workspace.promptable_fold(1) / "card.json", make_card(1, "AB"))
    assert set(find_own_folds(workspace, source, split=SPLIT, folds=(1,))) == {1}
    with pytest.raises(SegmenterError, match="fold 2 does not exist"):
        find_own_folds(workspace, source, split=SPLIT, folds=(2,))
    write_folds(workspace, SPLIT)
    assert {index: card.training for index, card in find_own_folds(workspace, source, split=SPLIT).items()} == {
        0: ("C", "D"),
        1: ("A", "B"),
    }


def test_a_folder_is_found_from_home_as_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    workspace = open_tiny(tmp_path)
    export(tmp_path / "model", make_card("all", "ABCD"))
    write_folds(workspace, SPLIT)
    source = PromptableSource("~/model")
    assert source == PromptableSource(str(tmp_path / "model"))
    assert set(find_own_folds(workspace, source.source, split=SPLIT)) == {0, 1}
    with open_stamps(workspace) as stamps:
        before = source.stamp((1,), stamps)
        (tmp_path / "model" / "weights").write_text("x")
        assert source.stamp((1,), stamps) != before
    assert PromptableSource("http://host:1527").source == "http://host:1527"


def test_folds_of_another_split_or_plan_are_refused(tmp_path: Path) -> None:
    workspace = open_tiny(tmp_path)
    source = export(tmp_path / "model", make_card("all", "ABCD"))
    write_folds(workspace, SPLIT)
    path = workspace.promptable_fold(1) / "card.json"
    write_artefact(path, make_card(1, "ABC"))
    with pytest.raises(StaleArtefactError, match=r"another split .* -f 1"):
        find_own_folds(workspace, source, split=SPLIT)
    write_artefact(path, make_card(1, "AB").model_copy(update={"seen": ("D",)}))
    with pytest.raises(StaleArtefactError, match=r"the model that it was started from"):
        find_own_folds(workspace, source, split=SPLIT)
    write_artefact(path, make_card(1, "AB", made_from="another plan"))
    with pytest.raises(StaleArtefactError, match="made from another plan"):
        find_own_folds(workspace, source, split=SPLIT)


class Recorder:
    """Finds nothing, and notes which cases it was shown."""

    name = "recorder"
    licence = "owner"

    def __init__(self, seen: set[str]) -> None:
        self.seen = seen

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        assert clicks
        self.seen.add(case.id)
        probabilities = np.zeros((2, *case.geometry.shape), np.float32)
        probabilities[0] = 1.0
        return Prediction(case.id, probabilities, case.geometry, (1,))


@pytest.mark.slow
def test_each_case_is_predicted_by_the_fold_that_never_saw_it(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = open_tiny(copied), make_options(copied)
    split = read_artefact(workspace.folds, FoldList, command="")
    names = sorted(name for fold in split.folds for name in fold.validation)
    source = export(tmp_path / "model", make_card("all", names))
    write_folds(workspace, split)
    seen: dict[FoldName, set[str]] = {}

    class Unseen:
        def __init__(self, fold: FoldName) -> None:
            self.fold = fold

        @contextmanager
        def open(self, **_: object) -> Iterator[Recorder]:
            yield Recorder(seen.setdefault(self.fold, set()))

    @contextmanager
    def open_fold(*_: object, fold: FoldName, own: object) -> Iterator[Unseen]:
        yield Unseen(fold)

    for module in (postprocess, corrections, simulated_cases):
        monkeypatch.setattr(module, "open_unseen", open_fold)

    def choose() -> str:
        prediction = replace(options.prediction, promptable=PromptableSource(source))
        rule = run_postprocessing(workspace, options=prediction, tracker=options.tracker)
        assert {c.fusion.nninteractive_weight for c in rule.choices["extreme"].candidates} > {0.0}
        return rule.nninteractive

    unseen = {fold.index: set(fold.validation) for fold in split.folds}
    assert choose() == "model (owner)"
    assert seen == unseen
    seen.clear()
    assert choose() == "model (owner)"
    assert seen == {}, "nothing has changed"
    prediction = replace(options.prediction, promptable=PromptableSource(source))
    asked = SimulationOptions("nninteractive", prediction, start="extreme", n_corrections=0)
    found = run_simulation(workspace, options=asked, tracker=options.tracker, n_proc=1)
    assert seen == unseen
    assert "promptable model of the fold that never saw it" in found.provenance
    seen.clear()
    fold = split.folds[1]
    again = make_card(fold.index, fold.training).model_copy(update={"weights_sha256": "e" * 64})
    write_artefact(workspace.promptable_fold(fold.index) / "card.json", again)
    choose()
    assert {index for index, cases in seen.items() if cases} == {fold.index}
    shutil.rmtree(workspace.promptable_fold(0))
    with pytest.raises(MissingArtefactError, match="-f 0"):
        choose()


@pytest.mark.parametrize("content", ["{}", '{"purpose": "Demonstration only"}', "[1, 2]", "not JSON"])
def test_a_model_with_a_card_of_another_kind_says_nothing_of_what_it_has_seen(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content)
    workspace = Workspace.of(TASK, raw=tmp_path / "a", processed=tmp_path / "b", results=tmp_path / "c")
    assert find_own_folds(workspace, str(tmp_path), split=SPLIT) == {}
