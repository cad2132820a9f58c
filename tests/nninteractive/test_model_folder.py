from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from interactivepet.errors import SegmenterError
from interactivepet.nninteractive.demo_model import DemoModelCard
from interactivepet.nninteractive.model_folder import make_small_network, write_model_folder


def write(folder: Path, *, patch_size: tuple[int, int, int] = (64, 64, 64)) -> None:
    network = make_small_network(seed=0)
    write_model_folder(
        folder,
        network.state_dict(),
        licence="MIT",
        dataset_name="Dataset900_Test",
        channel="PET",
        patch_size=patch_size,
    )


def test_a_folder_has_every_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "model")
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {
        "model/plans.json",
        "model/dataset.json",
        "model/inference_info.json",
        "model/inference_session_class.json",
        "model/LICENSE",
        "model/fold_0/checkpoint_final.pth",
    }
    plans = json.loads((tmp_path / "model/plans.json").read_text())
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [64, 64, 64]
    assert (tmp_path / "model/LICENSE").read_text() == "MIT\n"


def test_the_checkpoint_needs_no_pickle(tmp_path: Path) -> None:
    write(tmp_path / "model")
    checkpoint = torch.load(tmp_path / "model/fold_0/checkpoint_final.pth", weights_only=True)
    expected = make_small_network(seed=0).state_dict()
    assert checkpoint["network_weights"].keys() == expected.keys()
    assert all(torch.equal(checkpoint["network_weights"][name], expected[name]) for name in expected)


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "model")
    with pytest.raises(SegmenterError, match="exists already"):
        write(tmp_path / "model")


def test_what_an_interrupted_run_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / ".model.partial"
    left.mkdir()
    (left / "stray").write_text("half a file")
    write(tmp_path / "model")
    assert not left.exists()
    assert not (tmp_path / "model/stray").exists()


def test_a_patch_without_coverage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match="49"):
        write(tmp_path / "model", patch_size=(64, 48, 64))
    assert not (tmp_path / "model").exists()


def test_the_untrained_network_says_background_and_leaves_torch_random_numbers_alone() -> None:
    state = torch.random.get_rng_state()
    network = make_small_network(seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        logits = network(torch.rand(1, 8, 16, 16, 16))
    assert (logits.argmax(1) == 0).all()


def test_the_trained_folder_has_a_card(model_folder: Path) -> None:
    card = DemoModelCard.model_validate_json((model_folder / "card.json").read_text())
    assert card.cases == ("BLOB_0", "BLOB_1", "BLOB_2")
    assert card.iterations == 40
    assert "Demonstration only" in card.purpose
