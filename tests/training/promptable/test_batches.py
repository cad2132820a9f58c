from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Shape
from interactivepet.core.promptable import PromptablePlan
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import StoredCase
from interactivepet.training.promptable import batches
from interactivepet.training.promptable.batches import draw_prompt_batch
from interactivepet.training.promptable.cases import make_prompt_case

MakePlan = Callable[..., PromptablePlan]
StoreCase = Callable[..., StoredCase]


def test_a_case_is_normalised_as_a_session_does_it(make_balls: Callable[..., Case]) -> None:
    case = make_balls()
    ready = make_prompt_case(case, rng=np.random.default_rng(0))
    box = BoundingBox.of(case.image[0] != 0)
    assert box is not None
    assert box.start[0] == 2
    inside = case.image[0][box.slices]
    expected = (case.image[0] - inside.mean()) / inside.std(ddof=1)
    np.testing.assert_allclose(ready.image[0], expected, rtol=1e-4, atol=1e-4)


def test_objects_are_numbered_with_their_middle_first(make_balls: Callable[..., Case]) -> None:
    ready = make_prompt_case(make_balls(), rng=np.random.default_rng(0))
    assert [voxels[0] for voxels in ready.voxels.values()] == [(9, 9, 11), (21, 17, 11)]
    assert all(ready.objects[voxel] == number for number, voxels in ready.voxels.items() for voxel in voxels)


def test_validation_shows_one_object_around_its_middle(make_prompt_plan: MakePlan, store_balls: StoreCase) -> None:
    batch = draw_prompt_batch([store_balls()], make_prompt_plan(), seed=(1,), augmentation=None)
    assert batch["data"].shape == (2, 3, 16, 16, 16)
    assert batch["data"].dtype == np.float32
    assert (batch["target"][:, 8, 8, 8] == 1).all()
    n_voxels = int((np.indices((9, 9, 9)) - 4).__pow__(2).sum(axis=0).__le__(16).sum())
    assert (batch["target"].sum(axis=(1, 2, 3)) == n_voxels).all()
    assert (batch["data"][:, 1] == 0).all()
    assert (batch["data"][:, 2] == 1).all()
    assert batch["data"][:, 0][batch["target"] > 0].min() > batch["data"][:, 0][batch["target"] == 0].mean()


def test_training_samples_have_masks_and_zooms_and_repeat_themselves(
    make_prompt_plan: MakePlan, store_balls: StoreCase
) -> None:
    plan, cases = make_prompt_plan((16, 16, 16), batch_size=20), [store_balls()]
    augmentation = make_augmentation(plan.patch_size)
    first, second = (draw_prompt_batch(cases, plan, seed=(3, 4), augmentation=augmentation) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    zooms, masks = first["data"][:, 2, 0, 0, 0], first["data"][:, 1]
    assert zooms.min() == 1.0
    assert 1.0 < zooms.max() <= batches.LARGEST_ZOOM
    assert 0 < np.mean(masks.any(axis=(1, 2, 3))) < 0.6
    assert set(np.unique(first["target"])) == {0, 1}


def test_one_object_among_several_is_asked_for_and_now_and_then_two() -> None:
    objects = np.zeros((4, 4, 4), np.int32)
    objects[0], objects[2], objects[3] = 3, 5, 7
    rng = np.random.default_rng(0)
    targets = [batches._choose_target(objects, 5, rng) for _ in range(200)]
    assert all((target[2] == 1).all() and (target[1] == 0).all() for target in targets)
    n_wanted = np.array([sum(bool((target[i] == 1).all()) for i in (0, 2, 3)) for target in targets])
    assert set(n_wanted) == {1, 2}
    assert np.mean(n_wanted == 2) == pytest.approx(batches.UNION_SHARE, abs=0.06)
    assert all((target > 0).sum() == 48 for target in targets), "the others are marked as such"


@pytest.mark.parametrize("shape", [(30, 26, 1), (3, 40, 22)])
def test_flat_and_thin_images_are_padded(shape: Shape, make_prompt_plan: MakePlan, store_balls: StoreCase) -> None:
    plan, cases = make_prompt_plan(batch_size=12), [store_balls(shape=shape)]
    batch = draw_prompt_batch(cases, plan, seed=(0,), augmentation=make_augmentation(plan.patch_size))
    assert batch["data"].shape == (12, 3, 16, 16, 16)
    assert np.isfinite(batch["data"]).all()
    assert batch["target"].any()


def test_zoomed_samples_show_the_object_smaller(store_balls: StoreCase) -> None:
    case, centre = store_balls(), np.array((9, 9, 11))
    _, close = batches._read(case, centre, (16, 16, 16), zoom=1.0)
    image, far = batches._read(case, centre, (16, 16, 16), zoom=2.0)
    assert image.shape == far.shape == (16, 16, 16)
    assert (far == 1).sum() == pytest.approx((close == 1).sum() / 8, rel=0.35)
    np.testing.assert_allclose(np.argwhere(far == 1).mean(axis=0), (8, 8, 8), atol=1.0)
    assert (far == 2).any(), "the second object comes into view"
