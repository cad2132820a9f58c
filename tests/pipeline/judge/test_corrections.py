"""Corrections of unseen cases: what they rest on, what is kept, and the rule that is chosen on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.ensemble import ChoiceMode, CorrectedCase, EnsembleRule
from interactivepet.core.interaction import Click
from interactivepet.core.plan import FoldList
from interactivepet.core.prediction import Prediction
from interactivepet.dataset.files.arrays import read_array, write_array
from interactivepet.dataset.files.read import read_case, read_mask
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.evaluation.metrics import dice
from interactivepet.pipeline.judge import corrections
from interactivepet.pipeline.judge.corrections import CORRECTIONS
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.predict.models import PredictionOptions, open_models
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.stages import run_cross_validation_reports
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.session.history import CaseModel, PredictionState
from interactivepet.session.session import Session
from tests.tiny import make_options, open_tiny


class Uptake:
    """Stands for nnInteractive: everything bright, once it is clicked on."""

    name, licence, source = "uptake", "MIT", "a/folder"

    def stamp(self, labels: Sequence[int], stamps: object) -> str:
        return "uptake"

    @contextmanager
    def open(self, *, labels: Sequence[int], device: str, n_threads: int) -> Iterator[Uptake]:
        yield self

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        assert case.label is None, "nobody but the user knows the label"
        inside = (case.image[0] > 2.5) & bool(clicks)
        return Prediction(case.id, np.stack([~inside, inside]).astype(np.float32), case.geometry, (1,))


class Blind(Uptake):
    """Finds nothing, whatever is clicked on."""

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        probabilities = np.stack([np.ones(case.geometry.shape), np.zeros(case.geometry.shape)]).astype(np.float32)
        return Prediction(case.id, probabilities, case.geometry, (1,))


def set_weight(rule: EnsembleRule, mode: ChoiceMode, weight: float) -> EnsembleRule:
    chosen = rule.choices[mode]
    fusion = chosen.fusion.model_copy(update={"nninteractive_weight": weight})
    choices = {**rule.choices, mode: chosen.model_copy(update={"fusion": fusion})}
    return rule.model_copy(update={"choices": choices})


def choose(root: Path, *, promptable: object = None, **options: bool) -> EnsembleRule:
    run = make_options(root)
    prediction = replace(run.prediction, promptable=cast("PromptableSource | None", promptable))
    return run_postprocessing(open_tiny(root), options=prediction, tracker=run.tracker, **options)


def read_corrected(root: Path, name: str) -> CorrectedCase:
    return read_artefact(open_tiny(root).corrections / f"{name}.json", CorrectedCase, command="")


def test_clicks_begin_with_the_margin_points_and_folds_answer_for_cases_they_never_saw(copied: Path) -> None:
    workspace = open_tiny(copied)
    rule = choose(copied)
    assert set(rule.choices) == {"none", "extreme", "corrected"}
    assert rule.corrections == CORRECTIONS
    folds = read_artefact(workspace.folds, FoldList, command="").folds
    for fold in folds:
        for name in fold.validation:
            found = read_corrected(copied, name)
            entry = read_manifest(workspace.raw).entry(name)
            case = read_case(workspace.raw, entry)
            margin = read_clicks(workspace.clicks_folder() / f"{name}.mrk.json", geometry=case.geometry, labels={"": 1})
            assert found.fold == fold.index
            assert found.clicks[: len(margin)] == margin
            assert found.n_clicks == {n: len(margin) + n for n in CORRECTIONS}
    name = folds[1].validation[0]
    found = read_corrected(copied, name)
    case = read_case(workspace.raw, read_manifest(workspace.raw).entry(name))
    with open_models(workspace, PredictionOptions(tta=False, device="cpu", folds=(1,)), rule=rule) as models:
        session = Session(models)
        session.set_image(case)
        margin = found.clicks[: found.n_clicks[1] - 1]
        session.add_clicks(margin)
        session.segment()
        session.add_clicks(found.clicks[len(margin) : len(margin) + 1])
        expected = session.fold_probabilities.probabilities[1:]
    stored = read_array(workspace.corrections / f"{name}.1.folds.b2nd", command="")
    assert stored == pytest.approx(expected, abs=1e-3)


def test_a_better_promptable_model_is_chosen_for_corrections_and_the_masks_follow(copied: Path) -> None:
    workspace = open_tiny(copied)
    rule = choose(copied, promptable=Uptake())
    chosen = rule.choices["corrected"]
    assert chosen.fusion.nninteractive_weight > 0
    assert chosen.dice > 0.99
    assert len(chosen.nested_fold_dice) == 3
    weights = [c.fusion.nninteractive_weight for c in chosen.candidates if c.stage == "blend"]
    assert set(weights) > {0.0, 1.0}
    for entry in read_manifest(workspace.raw).training:
        mask = read_mask(workspace.cross_validation("corrected") / f"{entry.id}.nii.gz")[0]
        assert dice(mask > 0, read_case(workspace.raw, entry).label > 0) > 0.99
    reports = run_cross_validation_reports(workspace, n_proc=1)
    assert set(reports) == {"none", "extreme", "corrected"}
    for case in reports["corrected"].cases:
        assert case.n_clicks == read_corrected(copied, case.case).n_clicks[max(CORRECTIONS)]
    page = (workspace.cross_validation("corrected") / "report.html").read_text()
    assert f"with margin points and {max(CORRECTIONS)} corrections of a simulated user" in page


def test_what_is_up_to_date_is_kept_and_what_is_lost_is_made_again(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_tiny(copied)
    corrected: list[str] = []
    run = corrections._correct

    def note(*args: object, **named: object) -> CorrectedCase:
        corrected.append(args[0].record.id)  # type: ignore[attr-defined]
        return run(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(corrections, "_correct", note)
    first = choose(copied)
    assert corrected == [], "the walk has done it all"
    shutil.rmtree(workspace.corrections)
    workspace.ensemble.unlink()
    assert choose(copied) == first
    assert len(corrected) == 6
    corrected.clear()
    assert choose(copied) == first
    assert corrected == []
    (workspace.corrections / "TINY_003.json").unlink()
    workspace.ensemble.unlink()
    assert choose(copied) == first
    assert corrected == ["TINY_003"]
    without = choose(copied, with_corrections=False)
    assert set(without.choices) == {"none", "extreme"}
    assert without.corrections == ()
    corrected.clear()
    choose(copied, promptable=Uptake())
    assert len(corrected) == 6, "another model answers"
    choose(copied, promptable=Uptake(), with_corrections=False)
    assert not workspace.cross_validation("corrected").exists(), "no rule says what these masks are"


def test_arrays_of_another_run_never_pass_for_a_cases_own(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_tiny(copied)
    expected = read_array(workspace.corrections / "TINY_000.1.folds.b2nd", command="")
    written: list[str] = []

    def stop(path: Path, array: np.ndarray) -> None:
        written.append(path.name)
        if ".5." in path.name:
            raise KeyboardInterrupt
        write_array(path, np.zeros_like(array))

    workspace.ensemble.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "write_array", stop)
        with pytest.raises(KeyboardInterrupt):
            choose(copied, promptable=Uptake())
    name = written[0].partition(".")[0]
    assert not (workspace.corrections / f"{name}.json").exists()
    choose(copied)
    assert (workspace.corrections / f"{name}.json").exists()
    assert np.array_equal(read_array(workspace.corrections / "TINY_000.1.folds.b2nd", command=""), expected)
    (workspace.corrections / f"{name}.10.folds.b2nd").unlink()
    workspace.ensemble.unlink()
    choose(copied)
    assert (workspace.corrections / f"{name}.10.folds.b2nd").is_file()


def test_folds_follow_click_by_click_even_without_a_share(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = CaseModel.advance

    def note(
        model: CaseModel, state: PredictionState | None, clicks: Sequence[Click], **named: object
    ) -> PredictionState:
        seen.append(len(clicks))
        return real(model, state, clicks, **named)  # type: ignore[arg-type]

    workspace, run = open_tiny(copied), make_options(copied)
    rule = set_weight(read_artefact(workspace.ensemble, EnsembleRule, command=""), "extreme", 1.0)
    plans, split = read_decisions(workspace)
    records = read_records(workspace, plans.plan(plans.default), cases=split.folds[0].validation)
    monkeypatch.setattr(CaseModel, "advance", note)
    options = replace(run.prediction, promptable=cast(PromptableSource, Blind()))
    found = corrections.run_corrections(workspace, {0: list(records.values())}, rule=rule, options=options, own={})
    for case in found.cases.values():
        assert len(case.clicks) == case.n_clicks[10] == case.n_clicks[1] + 9
    n_first = next(iter(found.cases.values())).n_clicks[1]
    assert {n_first + n for n in range(10)} <= set(seen)


def test_a_share_for_corrections_alone_opens_nninteractive_for_sessions_alone(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = open_tiny(copied)
    rule = read_artefact(workspace.ensemble, EnsembleRule, command="")
    write_artefact(workspace.ensemble, set_weight(rule, "corrected", 0.3))
    options = PredictionOptions(tta=False, device="cpu", promptable=cast(PromptableSource, Uptake()))
    with open_models(workspace, options) as models:
        assert models.promptable is None
    with open_models(workspace, options, with_corrections=True) as models:
        assert models.promptable is not None
    caplog.clear()
    with open_models(workspace, replace(options, promptable=None)):
        assert "chosen with nnInteractive" not in caplog.text
    with open_models(workspace, replace(options, promptable=None), with_corrections=True):
        assert "chosen with nnInteractive" in caplog.text
