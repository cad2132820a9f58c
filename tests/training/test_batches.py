from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.dataset.files.arrays import write_array
from interactivepet.errors import MissingArtefactError
from interactivepet.guidance.encode import encode_clicks
from interactivepet.guidance.region import find_guided_box
from interactivepet.training import augment, batches
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import (
    MOST_EXTRA_CLICKS,
    NEGATIVE_DISTANCE_VOXELS,
    PatchLoader,
    StoredCase,
    draw_clicks,
    encode_patch,
    load_cases,
)

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

NONE = ClickSampling(none=1.0, extreme=0.0, more=0.0, noise_mm=0.0)
EXTREME = ClickSampling(none=0.0, extreme=1.0, more=0.0, noise_mm=0.0)
MORE = ClickSampling(none=0.0, extreme=0.0, more=1.0, noise_mm=0.0)


def make_volume(shape: Shape, *, label: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """An image that numbers its voxels, and one small object."""
    image = 1.0 + np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(n // 2, n // 2 + 3) for n in shape)] = label
    return image, mask


@pytest.mark.parametrize("start", [(0, 0, 0), (3, 4, 5), (-3, 1, -20), (15, 8, 2), (-2, -2, -2)])
def test_reading_beyond_the_border_gives_zeros(store_case: StoreCase, start: Shape) -> None:
    image, label = make_volume((20, 12, 9))
    case = store_case(image, label)
    shape = (8, 30, 16)

    out = case.read(start, shape)

    padded = np.pad(np.concatenate((image, label[None])), [(0, 0)] + [(40, 40)] * 3)
    box = tuple(slice(40 + a, 40 + a + n) for a, n in zip(start, shape, strict=True))
    assert out.dtype == np.float32
    assert np.array_equal(out, padded[(slice(None), *box)])


def test_a_volume_that_is_gone_names_the_command(store_case: StoreCase) -> None:
    case = store_case(*make_volume((8, 8, 8)))
    case.path.unlink()
    with pytest.raises(MissingArtefactError, match="interactivepet_plan_and_process"):
        case.read((0, 0, 0), (2, 2, 2))


def test_clicks_are_known_in_voxels(store_case: StoreCase) -> None:
    case = store_case(*make_volume((8, 8, 8)), click_voxels=[(1.25, 2.0, 3.5)], click_label=2)
    ((voxel, label, positive),) = case.clicks
    assert voxel == pytest.approx([1.25, 2.0, 3.5])
    assert (label, positive) == (2, True)


def test_records_are_paired_with_their_volumes(store_case: StoreCase, tmp_path: Path) -> None:
    stored = store_case(*make_volume((8, 8, 8)), name="A")
    (case,) = load_cases(tmp_path, {"A": stored.record})
    assert case.path == stored.path
    assert case.volume.shape == (2, 8, 8, 8)


@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize(("patch", "volume"), [((16, 16, 16), (30, 12, 20)), ((16, 24, 1), (40, 30, 1))])
def test_a_batch_has_the_plans_shape(
    make_plan: MakePlan, store_case: StoreCase, patch: Shape, volume: Shape, augmented: bool
) -> None:
    plan = make_plan(patch, labels={"b": 3, "a": 1}, batch_size=3)
    cases = [store_case(*make_volume(volume, label=v), name=str(v), click_voxels=[(5, 5, 0)]) for v in (1, 3)]
    loader = PatchLoader(cases, plan, seed=(1,), augmentation=make_augmentation(patch) if augmented else None)

    for _ in range(4):
        batch = next(loader)
        assert batch["data"].shape == (3, 1 + 6, *patch)
        assert batch["data"].dtype == np.float32
        assert batch["target"].shape == (3, *patch)
        assert batch["target"].dtype == np.uint8
        # the label of value 3 is the network's second
        assert set(np.unique(batch["target"])) <= {0, 1, 2}


def store_coarse(case: StoredCase, folder: Path, **masks: np.ndarray) -> StoredCase:
    """Add the first step's masks to a case."""
    paths = {}
    boxes = []
    for mode, mask in masks.items():
        paths[mode] = folder / f"{mode}.b2nd"
        write_array(paths[mode], mask[None])
        boxes.append(find_guided_box(mask, case.record.clicks, case.record.resampled.geometry()))
    return replace(case, coarse_paths=paths, guided=boxes[0].union(boxes[1]))


def test_the_second_step_sees_the_first_ones_mask_of_the_same_clicks(
    make_plan: MakePlan, store_case: StoreCase, tmp_path: Path
) -> None:
    image, label = make_volume((24, 24, 24))
    none, extreme = np.roll(label, 3, axis=0), np.roll(label, 2, axis=1)
    case = store_coarse(store_case(image, label, click_voxels=[(13, 13, 13)]), tmp_path, none=none, extreme=extreme)
    for clicks, expected in ((NONE, none), (EXTREME, extreme)):
        plan = make_plan((24, 24, 24), clicks=clicks, foreground_share=0.0)
        data = next(PatchLoader([case], plan, seed=(0,), augmentation=None))["data"]
        assert np.array_equal(data[0, -1], expected)


def test_the_second_step_looks_near_the_first_ones_mask(
    make_plan: MakePlan, store_case: StoreCase, tmp_path: Path
) -> None:
    image, label = make_volume((80, 24, 24))
    mask = np.zeros_like(label)
    mask[70:72, 10:12, 10:12] = 1
    case = store_coarse(store_case(image, label), tmp_path, none=mask, extreme=mask)
    plan = make_plan((8, 8, 8), foreground_share=0.0, batch_size=4)
    loader = PatchLoader([case], plan, seed=(0,), augmentation=None)
    seen = np.concatenate([next(loader)["data"][:, 0].reshape(4, -1) for _ in range(20)])
    rows = (seen[seen > 0] - 1) // (24 * 24)
    # 20 mm of 4 mm voxels on each side
    assert rows.min() >= 65
    assert rows.max() <= 76


def test_augmentation_moves_image_and_mask_alike(make_plan: MakePlan, store_case: StoreCase, tmp_path: Path) -> None:
    _, label = make_volume((24, 24, 24))
    case = store_coarse(store_case(label[None].astype(np.float32), label), tmp_path, none=label, extreme=label)
    plan = make_plan((16, 16, 16), clicks=NONE)
    patches = PatchLoader([case], plan, seed=(3,), augmentation=make_augmentation((16, 16, 16)))
    for _ in range(6):
        batch = next(patches)
        overlap = (batch["data"][:, -1] > 0.5) & (batch["target"] > 0)
        assert overlap.sum() > 0.6 * (batch["target"] > 0).sum() > 0


def test_half_of_a_batch_is_centred_on_the_foreground(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(*make_volume((60, 60, 60)))
    loader = PatchLoader([case], make_plan((8, 8, 8), batch_size=4), seed=(0,), augmentation=None)
    holds = np.array([[target[4, 4, 4] == 1 for target in next(loader)["target"]] for _ in range(20)])
    assert holds[:, 2:].all()
    assert holds[:, :2].mean() < 0.1


@pytest.mark.parametrize(("batch_size", "share"), [(1, 0.5), (2, 0.2), (5, 0.5)])
def test_the_share_of_forced_samples_holds_over_batches(
    batch_size: int, share: float, make_plan: MakePlan, store_case: StoreCase
) -> None:
    case = store_case(*make_volume((60, 60, 60)))
    plan = make_plan((8, 8, 8), batch_size=batch_size, foreground_share=share)
    loader = PatchLoader([case], plan, seed=(0,), augmentation=None)
    holds = [target[4, 4, 4] == 1 for _ in range(400 // batch_size) for target in next(loader)["target"]]
    assert np.mean(holds) == pytest.approx(share, abs=0.08)


def test_a_drawn_case_is_not_kept_open_and_can_be_sent_to_a_worker(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(*make_volume((60, 60, 60)))
    loader = PatchLoader(
        [case], make_plan((8, 8, 8)), seed=(0,), augmentation=make_augmentation((8, 8, 8), mirror_axes=(0,))
    )
    next(loader)
    assert pickle.loads(pickle.dumps(case)) == case
    again = pickle.loads(pickle.dumps(loader._augmentation))
    assert again.spatial is not None


def test_every_label_is_a_centre_equally_often(make_plan: MakePlan, store_case: StoreCase) -> None:
    image, label = make_volume((30, 30, 30))
    label[0, 0, 0] = 2
    plan = make_plan((8, 8, 8), labels={"a": 1, "b": 2}, foreground_share=1.0)
    loader = PatchLoader([store_case(image, label)], plan, seed=(0,), augmentation=None)
    centres = np.concatenate([next(loader)["target"][:, 4, 4, 4] for _ in range(60)])
    assert set(centres) == {1, 2}
    assert (centres == 2).mean() == pytest.approx(0.5, abs=0.15)


def test_augmentation_keeps_the_forced_voxel_near_the_centre(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(*make_volume((60, 60, 60)))
    plan = make_plan((16, 16, 16), foreground_share=1.0)
    loader = PatchLoader([case], plan, seed=(0,), augmentation=make_augmentation(plan.patch_size))
    targets = np.concatenate([next(loader)["target"] for _ in range(10)])
    assert targets[:, 5:11, 5:11, 5:11].any(axis=(1, 2, 3)).all()


def test_a_case_without_foreground_gives_patches_from_anywhere(make_plan: MakePlan, store_case: StoreCase) -> None:
    image, label = make_volume((30, 20, 10))
    loader = PatchLoader([store_case(image, 0 * label)], make_plan((8, 8, 8)), seed=(0,), augmentation=None)
    corners = [values[0, 0, 0, 0] for _ in range(20) for values in next(loader)["data"]]
    assert min(corners) > 0
    assert len(set(corners)) > 30


def test_a_small_volume_lies_anywhere_inside_the_patch(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(np.ones((1, 5, 16, 20), np.float32), np.zeros((5, 16, 20), np.uint8))
    loader = PatchLoader([case], make_plan((8, 16, 16)), seed=(0,), augmentation=None)
    first = {int(np.argmax(values[0].any((1, 2)))) for _ in range(20) for values in next(loader)["data"]}
    assert first == {0, 1, 2, 3}
    assert next(loader)["data"][0, 0].sum() == 5 * 16 * 16


def test_augmented_patches_reach_the_border_of_the_volume(
    make_plan: MakePlan, store_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "SPATIAL_PROBABILITY", 0.0)
    label = np.ones((40, 40, 40), np.uint8)
    label[1:-1, 1:-1, 1:-1] = 0
    plan = make_plan((16, 16, 16), foreground_share=0.0)
    loader = PatchLoader(
        [store_case(np.ones((1, 40, 40, 40), np.float32), label)],
        plan,
        seed=(0,),
        augmentation=make_augmentation(plan.patch_size),
    )
    assert any(next(loader)["target"].any() for _ in range(40))


def test_the_seed_decides_on_the_stream(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(*make_volume((30, 30, 30)), click_voxels=[(16, 16, 16)])
    plan = make_plan((8, 8, 8))

    def draw(seed: tuple[int, ...]) -> np.ndarray:
        loader = PatchLoader([case], plan, seed=seed, augmentation=make_augmentation((8, 8, 8)))
        return np.concatenate([next(loader)["data"] for _ in range(2)])

    assert np.array_equal(draw((1, 2)), draw((1, 2)))
    assert not np.array_equal(draw((1, 2)), draw((1, 3)))


STORED = tuple((np.array([10.0 + i, 12.0, 14.0]), 1, True) for i in range(6))


def test_samples_see_none_six_or_other_clicks_in_the_planned_shares(make_plan: MakePlan) -> None:
    plan = make_plan(clicks=ClickSampling(none=0.2, extreme=0.5, more=0.3, noise_mm=0.0))
    label = np.zeros((16, 16, 16), np.uint8)
    label[5:12, 5:12, 5:12] = 1
    rng = np.random.default_rng(0)
    none = exact = 0
    numbers = set()
    for _ in range(1000):
        clicks = draw_clicks(STORED, (4, 4, 4), label=label, plan=plan, spacing_mm=plan.spacing_mm, rng=rng)
        points = [p.tolist() for p, _, _ in clicks]
        none += not clicks
        exact += points == [[6.0 + i, 8.0, 10.0] for i in range(6)]
        numbers.add(len(clicks))
    assert none / 1000 == pytest.approx(0.2, abs=0.05)
    assert exact / 1000 == pytest.approx(0.5, abs=0.05)
    assert max(numbers) > 6


def test_further_clicks_are_inside_or_beside_their_label(make_plan: MakePlan) -> None:
    plan = make_plan(labels={"a": 1, "b": 2}, clicks=MORE)
    label = np.zeros((24, 24, 24), np.uint8)
    label[3:9, 3:9, 3:9] = 1
    label[14:20, 14:20, 14:20] = 2
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        clicks = draw_clicks((), (50, 60, 70), label=label, plan=plan, spacing_mm=plan.spacing_mm, rng=rng)
        for value in (1, 2):
            signs = [positive for _, own, positive in clicks if own == value]
            assert signs.count(True) <= MOST_EXTRA_CLICKS
            assert signs.count(False) <= MOST_EXTRA_CLICKS
        for point, value, positive in clicks:
            voxel = tuple(int(v) for v in point)
            assert (label[voxel] == value) == positive
            gap = np.abs(np.argwhere(label == value) - voxel).max(axis=1).min()
            assert gap <= NEGATIVE_DISTANCE_VOXELS
            seen.add((value, positive))
    assert seen == {(1, True), (1, False), (2, True), (2, False)}


def test_noise_is_given_in_millimetres(make_plan: MakePlan) -> None:
    plan = make_plan(clicks=EXTREME.model_copy(update={"noise_mm": 2.0})).model_copy(
        update={"spacing_mm": (1.0, 2.0, 8.0)}
    )
    rng = np.random.default_rng(0)
    label = np.zeros((8, 8, 8), np.uint8)
    moved = [
        point - stored
        for _ in range(300)
        for (point, _, _), (stored, _, _) in zip(
            draw_clicks(STORED, (0, 0, 0), label=label, plan=plan, spacing_mm=plan.spacing_mm, rng=rng),
            STORED,
            strict=True,
        )
    ]
    assert np.std(moved, axis=0) == pytest.approx([2.0, 1.0, 0.25], rel=0.1)
    assert np.mean(moved, axis=0) == pytest.approx([0, 0, 0], abs=0.2)


def test_noise_is_in_millimetres_of_each_case_on_a_fixed_grid(
    make_plan: MakePlan, store_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = store_case(*make_volume((8, 8, 8)), click_voxels=[(4, 4, 4)])
    clicks = EXTREME.model_copy(update={"noise_mm": 6.0})
    plan = make_plan((8, 8, 8), clicks=clicks, batch_size=200, foreground_share=0.0)
    fixed = plan.model_copy(update={"spacing_mm": (1.0, 2.0, 8.0), "target_shape": (8, 8, 8)})
    seen: list[np.ndarray] = []

    def look(clicks: batches.VoxelClicks, shape: Shape, *, plan: Plan, spacing_mm: Spacing) -> np.ndarray:
        seen.extend(point for point, _, _ in clicks)
        return encode_patch(clicks, shape, plan=plan, spacing_mm=spacing_mm)

    monkeypatch.setattr(batches, "encode_patch", look)
    next(PatchLoader([case], fixed, seed=(0,), augmentation=None))

    assert case.record.resampled.geometry().spacing_mm == (4.0, 4.0, 4.0)
    assert np.std(seen, axis=0) == pytest.approx([1.5, 1.5, 1.5], rel=0.2)


def test_stored_clicks_are_not_changed(make_plan: MakePlan) -> None:
    before = [point.copy() for point, _, _ in STORED]
    plan = make_plan(clicks=EXTREME)
    label, rng = np.zeros((8, 8, 8), np.uint8), np.random.default_rng(0)
    draw_clicks(STORED, (1, 2, 3), label=label, plan=plan, spacing_mm=plan.spacing_mm, rng=rng)
    assert all(np.array_equal(a, b) for a, (b, _, _) in zip(before, STORED, strict=True))


def test_each_label_and_sign_has_its_own_channel(make_plan: MakePlan) -> None:
    plan = make_plan(labels={"b": 3, "a": 1})
    clicks = (
        (np.array([2.0, 3.0, 4.0]), 1, True),
        (np.array([5.0, 6.0, 7.0]), 1, False),
        (np.array([8.0, 9.0, 10.0]), 3, True),
        (np.array([11.0, 12.0, 13.0]), 3, False),
    )
    maps = encode_patch(clicks, (16, 16, 16), plan=plan, spacing_mm=plan.spacing_mm)
    assert maps.shape == (4, 16, 16, 16)
    assert maps.dtype == np.float32
    for channel, (point, _, _) in zip(maps, clicks, strict=True):
        assert channel[tuple(point.astype(int))] == 1.0
        assert np.unravel_index(channel.argmax(), channel.shape) == tuple(point.astype(int))


def test_training_and_prediction_encode_clicks_alike(make_plan: MakePlan, store_case: StoreCase) -> None:
    voxels = [(3.0, 4.0, 5.5), (20.0, 10.0, 7.0), (12.0, 19.0, 18.0)]
    case = store_case(*make_volume((24, 20, 20)), click_voxels=voxels)
    plan = make_plan((24, 20, 20), clicks=EXTREME)
    grid = case.record.resampled.geometry()

    batch = next(PatchLoader([case], plan, seed=(0,), augmentation=None))

    whole = encode_clicks(case.record.clicks, grid, labels=plan.label_values, guidance=plan.guidance)
    free = batch["data"][0]
    assert np.array_equal(free[0], make_volume((24, 20, 20))[0][0])
    assert free[1:-1] == pytest.approx(whole, abs=1e-6)
    assert not free[-1].any()


def test_without_clicks_the_guidance_is_empty(make_plan: MakePlan, store_case: StoreCase) -> None:
    case = store_case(*make_volume((24, 20, 20)), click_voxels=[(12, 10, 10)])
    loader = PatchLoader([case], make_plan((16, 16, 16), clicks=NONE), seed=(0,), augmentation=None)
    assert not next(loader)["data"][:, 1:].any()


def test_noise_leaves_a_2d_click_in_its_plane(make_plan: MakePlan) -> None:
    plan = make_plan((16, 16, 1), clicks=EXTREME.model_copy(update={"noise_mm": 5.0}))
    stored = ((np.array([5.0, 6.0, 0.0]), 1, True),)
    label = np.zeros((16, 16, 1), np.uint8)
    rng = np.random.default_rng(0)
    ((point, _, _),) = draw_clicks(stored, (0, 0, 0), label=label, plan=plan, spacing_mm=plan.spacing_mm, rng=rng)
    assert point[2] == 0.0
    assert (point[:2] != (5.0, 6.0)).all()


@pytest.mark.parametrize(("negatives", "expected"), [("keep", 0.5), ("exclude", 0.0), (0.25, 0.25)])
def test_lesion_free_cases_make_up_the_planned_share(
    make_plan: MakePlan, store_case: StoreCase, negatives: str | float, expected: float
) -> None:
    image, label = make_volume((16, 16, 16))
    cases = [
        store_case(image, label, name="A"),
        store_case(image, label, name="B"),
        store_case(-image, np.zeros_like(label), name="C"),
        store_case(-image, np.zeros_like(label), name="D"),
    ]
    plan = make_plan(batch_size=2, negatives=negatives)
    loader = PatchLoader(cases, plan, seed=(0,), augmentation=None)
    batches = [loader.generate_train_batch() for _ in range(100)]
    # only the image of a lesion-free case is negative
    share = np.mean([batch["data"][:, 0].min(axis=(1, 2, 3)) < 0 for batch in batches])
    assert share == pytest.approx(expected, abs=0.06)
    # the second half of each batch is forced onto a label
    assert all((batch["target"][1] > 0).any() for batch in batches)
