from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.networks.build import build_network
from interactivepet.reporting.batch_pictures import Sample
from interactivepet.training import show
from interactivepet.training.batches import StoredCase
from interactivepet.training.data import FoldData
from interactivepet.training.epochs import Run, make_batches
from interactivepet.training.loop import make_engine
from interactivepet.training.options import TrainingOptions
from interactivepet.training.stop import Interruption

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]
Shown = list[tuple[list[Sample], str]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Collect samples and titles in place of drawing them."""
    calls: Shown = []

    def keep(samples: list[Sample], *, title: str, **_: object) -> bytes:
        calls.append((samples, title))
        return b"png"

    monkeypatch.setattr(show, "draw_batch", keep)
    return calls


def open_run(plan: Plan, cases: list[StoredCase], folder: Path) -> Run:
    torch.manual_seed(0)
    engine = make_engine(build_network(plan.network, deep_supervision=True), plan, device=torch.device("cpu"))
    options = TrainingOptions(device="cpu", n_threads=1)
    return Run(engine, plan, FoldData(3, cases, cases, folder), options, Interruption(), [], None)


@pytest.fixture
def case(store_case: StoreCase) -> StoredCase:
    rng = np.random.default_rng(0)
    label = np.zeros((20, 18, 16), np.uint8)
    label[6:13, 6:12, 5:12] = 1
    image = rng.normal(size=(1, 20, 18, 16)) + 3.0 * label
    return store_case(image, label, click_voxels=[(6, 9, 9), (12, 9, 9)])


def test_the_first_batch_is_shown_as_the_network_gets_it(
    case: StoredCase, make_plan: MakePlan, tmp_path: Path, shown: Shown
) -> None:
    clicks = ClickSampling(none=0.0, extreme=1.0, more=0.0, noise_mm=0.0, corrected=0.0)
    plan = make_plan((16, 16, 16), clicks=clicks, batch_size=6, foreground_share=1.0)
    run = open_run(plan, [case], tmp_path)

    assert show.draw_first_batch(run, plan) == b"png"

    [(samples, title)] = shown
    assert title == "Task001 3d_fullres, fold 3: first batch"
    assert len(samples) == show.MOST_SAMPLES
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
    case: StoredCase, make_plan: MakePlan, tmp_path: Path, shown: Shown
) -> None:
    clicks = ClickSampling(none=1.0, extreme=0.0, more=0.0, noise_mm=0.0, corrected=1.0)
    plan = make_plan((16, 16, 16), clicks=clicks, batch_size=4)
    run = open_run(plan, [case], tmp_path)
    before = {name: tensor.clone() for name, tensor in run.engine.network.state_dict().items()}

    show.draw_first_batch(run, plan)

    [(samples, _)] = shown
    assert any(sample.previous.any() for sample in samples)
    assert all(sample.positive.any() or sample.negative.any() for sample in samples)
    after = run.engine.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_labels_keep_their_numbers_in_the_previous_mask(make_plan: MakePlan) -> None:
    plan = make_plan((4, 4, 4), labels={"tumour": 1, "node": 3})
    data = torch.zeros(1, 7, 4, 4, 4)
    data[0, 3, 0], data[0, 4, 1] = 0.7, 0.4
    data[0, 5, 2], data[0, 6, 3] = 1, 1

    [sample] = show._split(data, torch.zeros(1, 4, 4, 4, dtype=torch.uint8), plan)

    assert sample.previous[:, 0, 0].tolist() == [0, 0, 1, 2]
    assert sample.positive[:, 0, 0].tolist() == pytest.approx([0.7, 0, 0, 0])
    assert sample.negative[:, 0, 0].tolist() == pytest.approx([0, 0.4 * 1, 0, 0])


def test_a_real_picture_is_drawn(case: StoredCase, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan((16, 16, 16))
    assert show.draw_first_batch(open_run(plan, [case], tmp_path), plan).startswith(b"\x89PNG")
