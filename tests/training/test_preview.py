from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.core.sample import Sample
from interactivepet.networks.build import build_network
from interactivepet.training import preview
from interactivepet.training.batches import StoredCase
from interactivepet.training.engine import make_engine
from interactivepet.training.epochs import Run, make_batches
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.preview import draw_first_batch
from interactivepet.training.stop import Interruption
from interactivepet.training.tasks import FoldTask

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]


class Shown(list[Sequence[Sample]]):
    """Keeps samples in place of drawing them."""

    def draw(self, samples: Sequence[Sample]) -> bytes:
        self.append(samples)
        return b"png"


def open_run(plan: Plan, cases: list[StoredCase], folder: Path) -> Run:
    torch.manual_seed(0)
    engine = make_engine(build_network(plan.network, deep_supervision=True), plan, device=torch.device("cpu"))
    options = TrainingOptions(device="cpu", n_threads=1)
    return Run(engine, FoldTask(plan), FoldData(3, cases, cases, folder), options, Interruption(), [], None)


@pytest.fixture
def case(store_case: StoreCase) -> StoredCase:
    rng = np.random.default_rng(0)
    label = np.zeros((20, 18, 16), np.uint8)
    label[6:13, 6:12, 5:12] = 1
    image = rng.normal(size=(1, 20, 18, 16)) + 3.0 * label
    return store_case(image, label, click_voxels=[(6, 9, 9), (12, 9, 9)])


def test_the_first_batch_is_shown_as_the_network_gets_it(case: StoredCase, make_plan: MakePlan, tmp_path: Path) -> None:
    clicks = ClickSampling(none=0.0, extreme=1.0, more=0.0, noise_mm=0.0, corrected=0.0)
    plan = make_plan((16, 16, 16), clicks=clicks, batch_size=6, foreground_share=1.0)
    run, shown = open_run(plan, [case], tmp_path), Shown()

    assert draw_first_batch(run, shown.draw) == b"png"

    [samples] = shown
    assert len(samples) == preview.MOST_SAMPLES
    batch = make_batches(run)[0]
    for number, sample in enumerate(samples):
        assert np.array_equal(sample.image, batch["data"][number, 0])
        assert np.array_equal(sample.positive, batch["data"][number, 1])
        assert np.array_equal(sample.label, batch["target"][number])
        assert sample.label.any()
        assert not sample.negative.any()
        assert not sample.previous.any()
    assert max(sample.positive.max() for sample in samples) > 0.5


def test_corrective_clicks_and_masks_are_shown_and_nothing_is_trained(
    case: StoredCase, make_plan: MakePlan, tmp_path: Path
) -> None:
    clicks = ClickSampling(none=1.0, extreme=0.0, more=0.0, noise_mm=0.0, corrected=1.0)
    plan = make_plan((16, 16, 16), clicks=clicks, batch_size=4)
    run, shown = open_run(plan, [case], tmp_path), Shown()
    before = {name: tensor.clone() for name, tensor in run.engine.network.state_dict().items()}

    draw_first_batch(run, shown.draw)

    [samples] = shown
    assert any(sample.previous.any() for sample in samples)
    assert all(sample.positive.any() or sample.negative.any() for sample in samples)
    after = run.engine.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_labels_keep_their_numbers_in_the_previous_mask(make_plan: MakePlan) -> None:
    plan = make_plan((4, 4, 4), labels={"tumour": 1, "node": 3})
    data = torch.zeros(1, 7, 4, 4, 4)
    data[0, 3, 0], data[0, 4, 1] = 0.7, 0.4
    data[0, 5, 2], data[0, 6, 3] = 1, 1

    [sample] = preview._split(data, torch.zeros(1, 4, 4, 4, dtype=torch.uint8), n_labels=len(plan.labels))

    assert sample.previous[:, 0, 0].tolist() == [0, 0, 1, 2]
    assert sample.positive[:, 0, 0].tolist() == pytest.approx([0.7, 0, 0, 0])
    assert sample.negative[:, 0, 0].tolist() == pytest.approx([0, 0.4 * 1, 0, 0])
