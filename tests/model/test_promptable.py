"""A model's own promptable model: the folder that nnInteractive loads is made of checked weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from interactivepet.errors import ModelError
from interactivepet.model.folder import open_model
from interactivepet.model.promptable import open_promptable
from interactivepet.nninteractive.segmenter import NnInteractiveSegmenter
from tests.model.models import PROMPTABLE, make_prompt_weights, write_model


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def test_nninteractive_loads_the_weights_that_travelled(tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.zip", promptable=PROMPTABLE)
    with open_model(path) as model, open_promptable(model) as folder:
        stored = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]
        assert all(torch.equal(stored[name], tensor) for name, tensor in make_prompt_weights().items())
        with NnInteractiveSegmenter.from_folder(folder, labels=(1,)) as segmenter:
            assert segmenter.name == "small_promptable"
            assert segmenter.licence == "CC0"
    # torch's compiler has a folder of its own
    assert not list((tmp_path / "temporary").glob("interactivepet*"))


def test_a_model_without_one_says_how_to_get_it(tmp_path: Path) -> None:
    with open_model(write_model(tmp_path / "a.zip")) as model:
        assert not model.has_promptable
        with pytest.raises(ModelError, match=r"holds no promptable model; export it again with --promptable"):
            open_promptable(model).__enter__()
