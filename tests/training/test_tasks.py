"""Both kinds of networks, seen through the one protocol that the engine knows."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.errors import SegmenterError, TrainingError
from interactivepet.networks.build import build_network
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import StoredCase
from interactivepet.training.checkpoint import save_weights
from interactivepet.training.distributed import Ranks
from interactivepet.training.engine import make_engine
from interactivepet.training.tasks import FirstWeights, FoldTask, PromptTask, TrainingTask
from tests.training.promptable.conftest import make_promptable_plan

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

CPU, CARD = torch.device("cpu"), torch.device("cuda")

KINDS = pytest.mark.parametrize(
    ("kind", "name", "spacing_mm", "on_card", "error"),
    [
        ("fold", "3d_fullres", (4.0, 4.0, 4.0), True, TrainingError),
        ("prompt", "nninteractive", (1.0, 1.0, 1.0), False, SegmenterError),
    ],
)


@pytest.fixture
def make_task(make_plan: MakePlan) -> Callable[[str], TrainingTask]:
    clicks = ClickSampling(none=0.0, extreme=1.0, more=0.0, noise_mm=0.0, corrected=1.0)

    def make(kind: str) -> TrainingTask:
        return (
            FoldTask(make_plan((16, 16, 16), clicks=clicks)) if kind == "fold" else PromptTask(make_promptable_plan())
        )

    return make


@pytest.fixture
def case(store_case: StoreCase) -> StoredCase:
    label = np.zeros((20, 18, 16), np.uint8)
    label[6:13, 6:12, 5:12] = 1
    image = np.random.default_rng(0).normal(size=(1, 20, 18, 16)) + 3.0 * label
    return store_case(image, label, click_voxels=[(6, 9, 9), (12, 9, 9)])


@KINDS
def test_a_kind_is_described(
    make_task: Callable[[str], TrainingTask],
    kind: str,
    name: str,
    spacing_mm: tuple[float, float, float],
    on_card: bool,
    error: type[Exception],
    tmp_path: Path,
) -> None:
    task = make_task(kind)
    assert (task.plan.configuration, task.plan.spacing_mm) == (name, spacing_mm)
    assert (task.augments_on_device(CPU), task.augments_on_device(CARD)) == (False, on_card)
    assert pickle.loads(pickle.dumps(task)) == task, "workers get it"
    network = build_network(task.plan.network, deep_supervision=True)
    assert task.set_first_weights(network, pretrained=None) == FirstWeights("random weights")
    with pytest.raises(error):
        task.set_first_weights(network, pretrained=tmp_path / "gone")


@pytest.mark.parametrize("kind", ["fold", "prompt"])
@pytest.mark.parametrize("is_validation", [False, True])
def test_batches_and_what_happens_to_them_depend_on_the_seed_alone(
    make_task: Callable[[str], TrainingTask], case: StoredCase, kind: str, is_validation: bool
) -> None:
    task = make_task(kind)
    torch.manual_seed(0)
    engine = make_engine(build_network(task.plan.network, deep_supervision=True), task.plan, device=CPU)

    def give(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        augmentation = None if is_validation else make_augmentation(task.plan.patch_size)
        drawn = task.draw_batch([case], seed=(seed,), augmentation=augmentation)
        batch = {name: torch.as_tensor(values) for name, values in drawn.items()}
        transform = task.make_batch_transform(engine, seed=(seed,), is_validation=is_validation)
        return (batch["data"], batch["target"]) if transform is None else transform(batch)

    (data, target), (again, _), (other, _) = give(1), give(1), give(2)
    assert data.shape == (2, task.plan.network.input_channels, 16, 16, 16)
    assert target.shape == (2, 16, 16, 16)
    assert torch.equal(data, again)
    # validation clicks on the middle of the only object
    assert torch.equal(data, other) is (is_validation and kind == "prompt")
    assert torch.isfinite(data).all()


@pytest.mark.parametrize(("kind", "shares"), [("fold", True), ("prompt", False)])
def test_what_ranks_draw_together(
    make_task: Callable[[str], TrainingTask], case: StoredCase, kind: str, shares: bool
) -> None:
    task = make_task(kind)
    augmentation = make_augmentation(task.plan.patch_size)
    alone, first, second = (
        task.draw_batch([case], seed=(1,), augmentation=augmentation, ranks=Ranks(rank, n))["data"]
        for rank, n in ((0, 1), (0, 2), (1, 2))
    )
    assert not np.array_equal(first, second)
    # a fold's ranks share the random streams of one larger batch; the first rank of a promptable model is as alone
    assert np.array_equal(alone, first) is not shares


def test_weights_of_another_fold_are_counted(make_plan: MakePlan, tmp_path: Path) -> None:
    task = FoldTask(make_plan())
    network = build_network(task.plan.network, deep_supervision=True)
    save_weights(tmp_path / "weights.pt", network)
    first = task.set_first_weights(network, pretrained=tmp_path / "weights.pt")
    assert first.words == "weights.pt: 100% of the weights are taken"
    assert first.pretrained is not None
    assert (first.pretrained.name, first.pretrained.share) == ("weights.pt", 1.0)
    assert first.pretrained.licence.startswith("unknown")
