"""What `--pretrained` names is read, or refused in one sentence."""

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
from interactivepet.training.tasks import FoldTask

MakePlan = Callable[..., Plan]


def start(plan: Plan, path: Path) -> None:
    FoldTask(plan).set_first_weights(build_network(plan.network, deep_supervision=True), pretrained=path)


def test_weights_of_something_else_are_refused(make_plan: MakePlan, tmp_path: Path) -> None:
    save_weights(tmp_path / "weights.pt", nn.Linear(3, 3))
    with pytest.raises(TrainingError, match="none of its 2 tensors fits"):
        start(make_plan(), tmp_path / "weights.pt")
    with pytest.raises(TrainingError, match=r"gone.pt is not there"):
        start(make_plan(), tmp_path / "gone.pt")


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
    content: object, message: str, is_zip: bool, make_plan: MakePlan, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(TrainingError, match=message if is_zip else "is no file of weights") as refused:
        start(make_plan(), path)
    assert "weights_only" not in str(refused.value)
    assert "weights.pt of a" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
