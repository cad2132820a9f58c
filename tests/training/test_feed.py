from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
import torch

from interactivepet.core.plan import Plan
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.feed import open_feed

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]


@pytest.fixture
def make_loader(make_plan: MakePlan, store_case: StoreCase) -> Callable[[], PatchLoader]:
    rng = np.random.default_rng(0)
    label = np.zeros((20, 20, 20), np.uint8)
    label[8:12, 8:12, 8:12] = 1
    case = store_case(rng.normal(size=(1, 20, 20, 20)), label, click_voxels=[(8, 10, 10)])
    plan = make_plan((8, 8, 8))
    return lambda: PatchLoader([case], plan, seed=(3,), augmentation=make_augmentation((8, 8, 8)))


def test_batches_are_drawn_here(make_loader: Callable[[], PatchLoader]) -> None:
    with closing(open_feed(make_loader(), n_workers=0)) as feed:
        first = [next(feed) for _ in range(3)]
    loader = make_loader()
    for batch in first:
        expected = next(loader)
        assert np.array_equal(batch["data"], expected["data"])
        assert np.array_equal(batch["target"], expected["target"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_worker_draws_its_own_stream_and_ends_with_the_feed(make_loader: Callable[[], PatchLoader]) -> None:
    with closing(open_feed(make_loader(), n_workers=1)) as feed:
        batches = [next(feed) for _ in range(3)]
        assert len(multiprocessing.active_children()) == 1
    assert multiprocessing.active_children() == []
    loader = make_loader()
    loader.set_thread_id(0)
    for batch in batches:
        assert np.array_equal(batch["data"], next(loader)["data"])


def test_a_worker_computes_in_one_thread(make_loader: Callable[[], PatchLoader]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        # what a worker process calls first: torch's other threads do not exist there
        make_loader().set_thread_id(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_feed_that_was_never_used_can_be_closed(make_loader: Callable[[], PatchLoader]) -> None:
    for n_workers in (0, 1):
        open_feed(make_loader(), n_workers=n_workers).close()
    assert multiprocessing.active_children() == []
