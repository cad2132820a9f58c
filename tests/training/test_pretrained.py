from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interactivepet.core.plan import Plan
from interactivepet.errors import TrainingError
from interactivepet.networks.build import build_network
from interactivepet.training.checkpoint import save_weights
from interactivepet.training.pretrained import load_pretrained


def test_what_fits_is_taken_and_the_rest_stays(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    one, two = make_plan(), make_plan(labels={"a": 1, "b": 2})
    source = build_network(one.network, deep_supervision=True)
    network = build_network(two.network, deep_supervision=True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_weights(tmp_path / "weights.pt", source)

    n_taken, n_all = load_pretrained(network, tmp_path / "weights.pt")

    given, after = source.state_dict(), network.state_dict()
    fits = {name for name in after if given[name].shape == after[name].shape}
    assert (n_taken, n_all) == (len(fits), len(after))
    assert 0 < n_taken < n_all
    assert all(torch.equal(after[name], given[name]) for name in fits)
    assert all(torch.equal(after[name], before[name]) for name in after.keys() - fits)
    assert any(tensor.ndim == 5 for name, tensor in after.items() if name not in fits)


def test_weights_of_something_else_are_refused(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    network = build_network(make_plan().network, deep_supervision=True)
    save_weights(tmp_path / "weights.pt", nn.Linear(3, 3))
    with pytest.raises(TrainingError, match="none of its 2 tensors fits"):
        load_pretrained(network, tmp_path / "weights.pt")
    with pytest.raises(TrainingError, match=r"gone.pt is not there"):
        load_pretrained(network, tmp_path / "gone.pt")


class Foreign:
    """A class that loading would have to import."""


CONTENTS = {
    "an object": (Foreign(), "holds more than tensors, and loading that could run any program"),
    "an object among tensors": ({"w": torch.zeros(2), "args": Foreign()}, "holds more than tensors"),
    "a whole network": (nn.Linear(2, 2), "holds more than tensors"),
    "numbers of numpy": ({"w": torch.zeros(2), "loss": np.float64(3)}, "holds more than tensors"),
    "a list": ([torch.zeros(2)], "holds a list, expected named tensors"),
    "a checkpoint of tensors": ({"state_dict": {"w": torch.zeros(2)}, "epoch": 3}, "none of its 0 tensors fits"),
}


@pytest.mark.parametrize(("content", "message"), CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_foreign_pickle_is_refused_in_a_sentence_of_ours(
    content: object, message: str, is_zip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(TrainingError, match=message if is_zip else "is no file of weights") as refused:
        load_pretrained(nn.Linear(3, 3), path)
    assert "weights_only" not in str(refused.value)
    assert "weights.pt of a" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
