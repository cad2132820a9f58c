"""A promptable model from training to nnInteractive's own session, server and client."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactivepet.cli import export_nninteractive, train_nninteractive
from interactivepet.core.checkpoint import EpochRecord
from interactivepet.core.interaction import Click
from interactivepet.core.promptable import PromptableCard, PromptableExport
from interactivepet.dataset.files.read import read_case, read_mask
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import MissingArtefactError, SegmenterError, TrainingError
from interactivepet.nninteractive.segmenter import open_segmenter
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
from interactivepet.pipeline.train import promptable
from interactivepet.pipeline.train.promptable import run_promptable_training
from interactivepet.pipeline.train.promptable_folder import open_unseen, run_promptable_export
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from interactivepet.training import epochs
from interactivepet.training.inputs import TrainingOptions
from tests.nninteractive.servers import serve
from tests.tiny import make_options, open_tiny, write_tiny_task
from tests.training.promptable.conftest import make_promptable_plan

pytestmark = pytest.mark.slow


def train(workspace: Workspace, *folds: int | str, **changes: object) -> list[PromptableCard]:
    return run_promptable_training(
        workspace,
        folds,
        options=TrainingOptions(**{**{"device": "cpu", "n_threads": 1, "epochs": 1, "iterations": 1}, **changes}),
        tracker=make_options(workspace.raw.parent.parent).tracker,
        n_proc=1,
        n_cores=1,
    )


@pytest.fixture(scope="module")
def small_network() -> Iterator[None]:
    """A network that is as small as nnInteractive's sessions allow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            promptable, "make_promptable_plan", lambda plans, *, start: make_promptable_plan((64, 64, 64), batch_size=1)
        )
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_network: None) -> tuple[Workspace, PromptableCard]:
    root = tmp_path_factory.mktemp("promptable")
    workspace = open_tiny(root)
    write_tiny_task(root / "raw", n_training=4, n_test=0)
    run_generate_dataset_json(workspace, channels=["PET"], labels=["lesion"])
    run_plan_and_process(
        workspace,
        options=PlanningOptions(n_folds=2, request=PlanRequest(budget="cpu")),
        show_issues=lambda issues: None,
    )
    (card,) = train(workspace, 0, epochs=2, iterations=15)
    return workspace, card


@pytest.fixture(scope="module")
def exported(trained: tuple[Workspace, PromptableCard], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    run_promptable_export(trained[0], folder)
    return folder


def test_the_card_tells_what_one_click_reaches_on_cases_it_never_saw(trained: tuple[Workspace, PromptableCard]) -> None:
    workspace, card = trained
    assert set(card.validation_dice) == set(card.validation)
    assert not set(card.validation) & set(card.training)
    assert min(card.validation_dice.values()) > 0.2, "bright balls in noise are easy"
    assert "owner of the data" in card.licence
    folder = workspace.promptable_fold(0)
    assert {path.name for path in folder.iterdir()} >= {"weights.pt", "card.json"}
    assert not (folder / "checkpoint.pt").exists()


def interrupt_second_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    run_epoch = epochs._run_epoch

    def stop(*args: Any, epoch: int, **kwargs: Any) -> EpochRecord:
        if epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(*args, epoch=epoch, **kwargs)

    monkeypatch.setattr(epochs, "_run_epoch", stop)


def test_a_complete_model_is_kept_and_a_changed_label_trains_anew(
    trained: tuple[Workspace, PromptableCard],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(trained[0].raw.parent.parent, tmp_path / "copy", symlinks=True)
    workspace = open_tiny(tmp_path / "copy")
    assert train(workspace, 0)[0] == trained[1]
    path = workspace.raw / "labelsTr" / "TINY_001.nii.gz"
    mask, geometry = read_mask(path)
    write_mask(path, np.roll(mask, 1, axis=0), geometry=geometry)
    interrupt_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(workspace, 0, epochs=2)
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        (again,) = train(workspace, 0, epochs=2)
    assert "training anew" in caplog.text
    assert "continues after epoch 1" in caplog.text, "what the new training had reached is not lost"
    assert len(again.epochs) == 2


def test_all_cases_train_one_model_which_is_exported_first(
    trained: tuple[Workspace, PromptableCard], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].raw.parent.parent, tmp_path / "copy", symlinks=True)
    workspace = open_tiny(tmp_path / "copy")
    (card,) = train(workspace, "all")
    assert len(card.training) == 4
    assert card.validation_dice == {}
    export = run_promptable_export(workspace, tmp_path / "model")
    assert export.model.fold == "all"
    assert list(export.fold_dice) == ["0"]


def test_missing_folds_and_models_are_named(trained: tuple[Workspace, PromptableCard], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="folds 0 to 1, and all"):
        train(trained[0], 2)
    with pytest.raises(MissingArtefactError, match="-f 1"):
        run_promptable_export(trained[0], tmp_path / "model", fold=1)
    assert not (tmp_path / "model").exists()


def test_the_folder_has_licence_card_and_every_kind_of_prompt(
    exported: Path, trained: tuple[Workspace, PromptableCard]
) -> None:
    card = PromptableExport.model_validate_json((exported / "card.json").read_text())
    assert card.made_from == trained[1].content_hash()
    assert card.model == trained[1]
    assert card.fold_dice["0"] == pytest.approx(np.mean(list(card.model.validation_dice.values())))
    assert (exported / "LICENSE").read_text().strip() == card.model.licence
    info = json.loads((exported / "inference_info.json").read_text())
    assert all(info["supported_interactions"].values())
    with pytest.raises(SegmenterError, match="exists already"):
        run_promptable_export(trained[0], exported)


def test_a_real_session_takes_every_prompt_and_undoes_it(exported: Path, trained: tuple[Workspace, object]) -> None:
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    workspace = trained[0]
    case = read_case(workspace.raw, read_manifest(workspace.raw).entry("TINY_000"))
    session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1)
    session.initialize_from_trained_model_folder(str(exported), 0, "checkpoint_final.pth")
    assert "owner of the data" in session.license
    session.set_image(case.image)
    mask = np.zeros(case.geometry.shape, np.uint8)
    session.set_target_buffer(mask)
    session.add_point_interaction((10, 10, 10), True)
    after_click = mask.copy()
    assert after_click[10, 10, 10] == 1
    session.add_bbox_interaction([[5, 16], [5, 16], [10, 11]], True)
    assert session.undo()
    np.testing.assert_array_equal(mask, after_click)
    stroke = np.zeros(case.geometry.shape, np.uint8)
    stroke[8:13, 10, 10] = 1
    session.add_scribble_interaction(stroke, True)
    session.add_lasso_interaction(stroke, True)
    assert mask.any()
    session.add_initial_seg_interaction(after_click)
    np.testing.assert_array_equal(mask, after_click)
    session.executor.shutdown()


def test_a_real_server_gives_its_client_what_the_folder_gives(
    exported: Path, trained: tuple[Workspace, PromptableCard], tmp_path: Path
) -> None:
    workspace = trained[0]
    case = read_case(workspace.raw, read_manifest(workspace.raw).entry("TINY_001"))
    x, y, z = (float(mm) for mm in case.geometry.to_mm((10, 10, 10)))
    clicks = [Click(position_mm=(x, y, z), label=1)]
    with (
        serve(exported, key="a-key", log=tmp_path / "log.txt") as url,
        open_segmenter(url, labels=(1,), api_key="a-key") as remote,
    ):
        found = remote.segment(case, clicks)
    with open_segmenter(str(exported), labels=(1,)) as local:
        expected = local.segment(case, clicks)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert found.probabilities[1].any()
    with (
        open_unseen(workspace, PromptableSource(str(exported)), fold=0, own={0: trained[1]}) as source,
        source.open(labels=(1,), device="cpu", n_threads=1) as own,
    ):
        np.testing.assert_array_equal(own.segment(case, clicks).probabilities, expected.probabilities)


def test_training_goes_on_from_an_exported_folder_under_its_licence(
    exported: Path, trained: tuple[Workspace, PromptableCard], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].raw.parent.parent, tmp_path / "copy", symlinks=True)
    model = tmp_path / "official"
    shutil.copytree(exported, model)
    (model / "LICENSE").write_text("CC BY-NC-SA 4.0\n")
    workspace = open_tiny(tmp_path / "copy")
    (card,) = train(workspace, 0, pretrained=model, resume=False)
    assert card.licence == "CC BY-NC-SA 4.0\n"
    assert card.pretrained == "official"
    assert set(card.seen) == set(card.training)
    with pytest.raises(TrainingError, match="which fold 1 is judged on"):
        train(workspace, 1, pretrained=model)
    (model / "card.json").write_text("{}")
    assert train(workspace, 1, pretrained=model)[0].seen == ()


def test_a_model_is_not_given_up_for_weights_that_do_not_fit(
    exported: Path, trained: tuple[Workspace, PromptableCard], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].raw.parent.parent, tmp_path / "copy", symlinks=True)
    workspace = open_tiny(tmp_path / "copy")
    model = tmp_path / "broken"
    shutil.copytree(exported, model)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(checkpoint, weights_only=True)
    del content["network_weights"][next(iter(content["network_weights"]))]
    torch.save(content, checkpoint)
    with pytest.raises(SegmenterError, match="1 weights are missing and 0 do not fit"):
        train(workspace, 0, pretrained=model, resume=False)
    assert train(workspace, 0)[0] == trained[1]


def test_the_commands_train_and_export(
    trained: tuple[Workspace, PromptableCard],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = trained[0]
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(getattr(workspace, name).parent))
    assert train_nninteractive.main(["-f", "0", "-np", "1"]) == 0
    assert export_nninteractive.main(["-o", "mine", "-f", "0"]) == 0
    shown = capsys.readouterr().out
    assert "licence: trained on the user's own data" in shown
    assert (tmp_path / "mine" / "fold_0" / "checkpoint_final.pth").is_file()
    with pytest.raises(SystemExit):
        train_nninteractive.main(["-f", "first"])
    assert "neither the number of a fold nor all" in capsys.readouterr().err
