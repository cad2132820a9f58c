from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
