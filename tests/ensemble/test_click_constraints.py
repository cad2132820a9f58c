from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.ensemble.click_constraints import REACH_MM, enforce_clicks, make_mask
from interactivepet.ensemble.fuse import to_segmentation

FUSION = FusionRule(configurations=("3d_fullres",))
GRIDS = {
    "isotropic": ((24, 22, 20), (4.0, 4.0, 4.0)),
    "anisotropic": ((31, 27, 9), (1.5, 2.0, 6.0)),
    "coarse": ((8, 7, 6), (12.0, 12.0, 12.0)),
    "flat": ((30, 26, 1), (2.0, 2.0, 5.0)),
}


def make_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Geometry:
    affine = np.eye(4)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine[:3, :3] = turn @ np.diag([-spacing[0], spacing[1], spacing[2]])
    affine[:3, 3] = (-40.0, 12.0, 700.0)
    return Geometry(shape, affine)


def make_prediction(grid: Geometry, rng: np.random.Generator, *, n_labels: int) -> Prediction:
    """Smooth random probabilities with plateaus of exactly 0 and 1."""
    noise = rng.normal(size=(1 + n_labels, *grid.shape))
    logits = 40 * ndimage.gaussian_filter(noise, (0, *(min(2.0, 8.0 / mm) for mm in grid.spacing_mm)))
    logits = np.where(np.abs(logits) > 25, 200 * np.sign(logits), logits).astype(np.float32)
    exps = np.exp(logits - logits.max(axis=0))
    return Prediction("A", (exps / exps.sum(axis=0)).astype(np.float32), grid, (1, 3)[:n_labels])


def draw_clicks(grid: Geometry, rng: np.random.Generator, labels: tuple[int, ...]) -> tuple[Click, ...]:
    """Random places, some of them close together or the same."""
    centre = rng.integers(0, grid.shape)
    clicks = []
    for _ in range(int(rng.integers(1, 11))):
        voxel = centre + rng.integers(-2, 3, size=3) if rng.random() < 0.6 else rng.integers(0, grid.shape)
        voxel = np.clip(voxel, 0, np.asarray(grid.shape) - 1) + rng.uniform(-0.49, 0.49, size=3)
        clicks.append(click(grid, tuple(voxel), int(rng.choice(labels)), is_positive=bool(rng.random() < 0.5)))
    return tuple(clicks)


def click(grid: Geometry, voxel: tuple[float, ...], label: int = 1, *, is_positive: bool = True) -> Click:
    x, y, z = grid.to_mm(voxel).tolist()
    return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)


def find_voxel(grid: Geometry, item: Click) -> tuple[int, ...]:
    return tuple(np.rint(grid.to_voxel(item.position_mm)).astype(int).tolist())


def is_met(mask: np.ndarray, grid: Geometry, item: Click) -> bool:
    return bool(mask[find_voxel(grid, item)] == item.label) is item.is_positive


def check(mask: np.ndarray, unmet: tuple[Click, ...], clicks: tuple[Click, ...], grid: Geometry) -> None:
    """Every click holds but those that a newer one in the same voxel contradicts."""
    remaining = list(unmet)
    for n, item in enumerate(clicks):
        same = [c for c in clicks[n + 1 :] if find_voxel(grid, c) == find_voxel(grid, item)]
        if is_met(mask, grid, item):
            continue
        assert item in remaining
        remaining.remove(item)
        assert any(
            (c.label == item.label and c.is_positive is not item.is_positive)
            or (c.is_positive and item.is_positive and c.label != item.label)
            for c in same
        )
    assert remaining == []


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n_labels", [1, 2])
def test_a_thousand_random_sequences_are_obeyed(name: str, n_labels: int) -> None:
    grid = make_grid(*GRIDS[name])
    rng = np.random.default_rng([n_labels, *grid.shape])
    changed = 0
    for round_ in range(125):
        if round_ % 25 == 0:
            prediction = make_prediction(grid, rng, n_labels=n_labels)
            mask = to_segmentation(prediction, threshold=0.4).mask
        clicks = draw_clicks(grid, rng, prediction.labels)
        before = mask.copy()
        found, unmet = enforce_clicks(mask, prediction, clicks, threshold=0.4, geometry=grid)
        check(found, unmet, clicks, grid)
        assert np.array_equal(mask, before)
        assert found.dtype == np.uint8
        again, _ = enforce_clicks(found, prediction, clicks, threshold=0.4, geometry=grid)
        assert np.array_equal(again, found)
        places = np.argwhere(found != mask)
        changed += len(places) > 0
        offsets = places[:, None] - np.array([find_voxel(grid, c) for c in clicks])
        distance = np.linalg.norm(offsets * grid.spacing_mm, axis=-1).min(axis=1, initial=np.inf)
        assert (distance <= REACH_MM + 1e-6).all()
    assert changed > 50


@pytest.mark.real_data
def test_random_sequences_on_real_cases_are_obeyed(real_data: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("STS_001", "STS_004"):
        image, grid = read_image([real_data / "Task501_STSPET" / "imagesTr" / f"{name}_0000.nii.gz"])
        label, _ = read_mask(real_data / "Task501_STSPET" / "labelsTr" / f"{name}.nii.gz")
        # a cheap segmenter: uptake against 40 % of the tumour's highest
        peak = float(image[0][label > 0].max())
        foreground = 1 / (1 + np.exp(-10 * (image[0] / peak - 0.4)))
        prediction = Prediction(name, np.stack([1 - foreground, foreground]).astype(np.float32), grid, (1,))
        mask = to_segmentation(prediction, threshold=0.5).mask
        tumour = np.argwhere(label > 0)
        for _ in range(50):
            clicks = []
            for _ in range(int(rng.integers(1, 11))):
                voxel = tumour[rng.integers(len(tumour))] + rng.integers(-6, 7, size=3)
                voxel = np.clip(voxel, 0, np.asarray(grid.shape) - 1)
                clicks.append(click(grid, tuple(voxel), is_positive=bool(rng.random() < 0.5)))
            found, unmet = enforce_clicks(mask, prediction, clicks, threshold=0.5, geometry=grid)
            check(found, unmet, tuple(clicks), grid)


def make_slope(*, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> Prediction:
    """Foreground that falls along i from 1 to 0, with the threshold 0.5 between voxels 9 and 10."""
    grid = make_grid((20, 15, 15), spacing)
    foreground = np.broadcast_to(np.linspace(1, 0, 20, dtype=np.float32)[:, None, None], grid.shape)
    return Prediction("A", np.stack([1 - foreground, foreground]), grid, (1,))


def test_a_mask_that_meets_all_clicks_stays_as_it_is() -> None:
    prediction = make_slope()
    mask = to_segmentation(prediction, threshold=0.5).mask
    clicks = (click(prediction.geometry, (3, 7, 7)), click(prediction.geometry, (16, 7, 7), is_positive=False))
    found, unmet = enforce_clicks(mask, prediction, clicks, threshold=0.5, geometry=prediction.geometry)
    assert np.array_equal(found, mask)
    assert unmet == ()


@pytest.mark.parametrize(("place", "is_positive"), [(11, True), (8, False)])
def test_the_threshold_follows_a_click_beside_the_border(place: int, is_positive: bool) -> None:
    prediction = make_slope()
    mask = to_segmentation(prediction, threshold=0.5).mask
    item = click(prediction.geometry, (place, 7, 7), is_positive=is_positive)
    found, _ = enforce_clicks(mask, prediction, [item], threshold=0.5, geometry=prediction.geometry)
    change = np.argwhere(found != mask)
    # a dent or a bulge between the border and the click, not one voxel and not the ball
    assert 1 < len(change) < 60
    assert bool(found[place, 7, 7]) is is_positive
    low, high = sorted((place, 10 if is_positive else 9))
    assert ((change[:, 0] >= low) & (change[:, 0] <= high)).all()


@pytest.mark.parametrize(("level", "is_positive"), [(0.0, True), (0.01, True), (1.0, False), (0.8, False)])
def test_where_probabilities_are_flat_the_clicked_voxel_alone_changes(level: float, is_positive: bool) -> None:
    grid = make_grid((11, 11, 11), (4.0, 4.0, 4.0))
    foreground = np.full(grid.shape, level, np.float32)
    prediction = Prediction("A", np.stack([1 - foreground, foreground]), grid, (1,))
    mask = to_segmentation(prediction, threshold=0.5).mask
    item = click(grid, (5, 5, 5), is_positive=is_positive)
    found, unmet = enforce_clicks(mask, prediction, [item], threshold=0.5, geometry=grid)
    assert np.argwhere(found != mask).tolist() == [[5, 5, 5]]
    assert unmet == ()


def test_what_was_missed_as_a_whole_is_found_from_one_click() -> None:
    grid = make_grid((25, 25, 25), (2.0, 2.0, 2.0))
    distance = np.linalg.norm(np.indices(grid.shape) - 12, axis=0) * 2
    foreground = (0.45 / (1 + np.exp(distance - 6))).astype(np.float32)
    prediction = Prediction("A", np.stack([1 - foreground, foreground]), grid, (1,))
    mask = to_segmentation(prediction, threshold=0.5).mask
    assert not mask.any()
    found, _ = enforce_clicks(mask, prediction, [click(grid, (13, 12, 12))], threshold=0.5, geometry=grid)
    assert found[12, 12, 12] == 1
    assert 1 < found.sum() <= (distance <= 6).sum()


def test_the_newest_of_contradicting_clicks_counts() -> None:
    prediction = make_slope()
    grid = prediction.geometry
    mask = to_segmentation(prediction, threshold=0.5).mask
    yes, no = click(grid, (12, 7, 7)), click(grid, (12.2, 7, 7), is_positive=False)
    for clicks in ((yes, no), (no, yes)):
        found, unmet = enforce_clicks(mask, prediction, clicks, threshold=0.5, geometry=grid)
        assert unmet == clicks[:1]
        assert bool(found[12, 7, 7]) is clicks[1].is_positive


def test_a_change_does_not_touch_what_another_click_says() -> None:
    prediction = make_slope()
    grid = prediction.geometry
    mask = to_segmentation(prediction, threshold=0.5).mask
    guard = click(grid, (10, 7, 7), is_positive=False)
    found, unmet = enforce_clicks(mask, prediction, [guard, click(grid, (11, 7, 7))], threshold=0.5, geometry=grid)
    assert (found[10, 7, 7], found[11, 7, 7], unmet) == (0, 1, ())
    assert (found[10] == 1).any()


def test_one_label_takes_the_clicked_voxels_from_another() -> None:
    grid = make_grid((20, 9, 9), (2.0, 2.0, 2.0))
    first = np.broadcast_to(np.linspace(0.9, 0.1, 20, dtype=np.float32)[:, None, None], grid.shape)
    prediction = Prediction("A", np.stack([np.zeros_like(first), first, 1 - first]), grid, (1, 3))
    mask = to_segmentation(prediction, threshold=0.5).mask
    found, unmet = enforce_clicks(mask, prediction, [click(grid, (11, 4, 4), 1)], threshold=0.5, geometry=grid)
    assert (found[11, 4, 4], unmet) == (1, ())
    assert set(np.unique(found)) == {1, 3}
    both = [click(grid, (15, 4, 4), label, is_positive=False) for label in (1, 3)]
    found, unmet = enforce_clicks(mask, prediction, both, threshold=0.5, geometry=grid)
    assert (found[15, 4, 4], unmet) == (0, ())


def test_clicks_outside_or_of_an_unknown_label_are_reported() -> None:
    prediction = make_slope()
    mask = to_segmentation(prediction, threshold=0.5).mask
    lost = (click(prediction.geometry, (25, 7, 7)), click(prediction.geometry, (5, 7, 7), 2))
    found, unmet = enforce_clicks(mask, prediction, lost, threshold=0.5, geometry=prediction.geometry)
    assert unmet == lost
    assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    "rule",
    [
        PostprocessingRule(largest_component=True),
        PostprocessingRule(minimum_volume_ml=50.0),
        PostprocessingRule(keep_clicked=True, largest_component=True, fill_holes=True),
    ],
)
def test_the_clean_up_keeps_what_was_clicked_on(rule: PostprocessingRule) -> None:
    grid = make_grid((30, 20, 20), (2.0, 2.0, 2.0))
    foreground = np.full(grid.shape, 0.02, np.float32)
    foreground[2:14, 2:18, 2:18] = 0.95
    foreground[20:23, 5:8, 5:8] = 0.95
    foreground[26:28, 15:17, 15:17] = 0.95
    prediction = Prediction("A", np.stack([1 - foreground, foreground]), grid, (1,))
    clicks = (click(grid, (21, 6, 6)), click(grid, (7, 7, 7), is_positive=False))
    mask, unmet = make_mask(prediction, clicks, fusion=FUSION, postprocessing=rule)
    assert unmet == ()
    assert (mask[20:23, 5:8, 5:8] == 1).all()
    assert mask[7, 7, 7] == 0
    assert not mask[26:28, 15:17, 15:17].any()


def test_without_clicks_the_rule_alone_counts() -> None:
    prediction = make_slope()
    mask, unmet = make_mask(prediction, (), fusion=FUSION, postprocessing=PostprocessingRule())
    assert np.array_equal(mask, to_segmentation(prediction, threshold=0.5).mask)
    assert unmet == ()


def test_what_a_negative_click_emptied_does_not_come_back_with_a_positive_one_beside_it() -> None:
    grid = Geometry((30, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    foreground = np.full(grid.shape, 0.1, np.float32)
    foreground[5:12, 6:13, 6:13] = 0.505
    foreground[8, 9, 9] = 0.55
    foreground[12:15, 6:13, 6:13] = 0.45
    prediction = Prediction("A", np.stack([1 - foreground, foreground]), grid, (1,))
    spill = click(grid, (8, 9, 9), is_positive=False)
    emptied, _ = make_mask(prediction, (spill,), fusion=FUSION, postprocessing=PostprocessingRule())
    whole = to_segmentation(prediction, threshold=FUSION.threshold).mask
    wanted = click(grid, (13, 9, 9))
    both, unmet = make_mask(prediction, (spill, wanted), fusion=FUSION, postprocessing=PostprocessingRule())
    assert unmet == ()
    assert both[13, 9, 9] == 1
    gone = (whole == 1) & (emptied == 0)
    assert gone.sum() > 100
    assert not both[gone].any()


def test_what_was_taken_from_one_label_may_go_to_another() -> None:
    grid = Geometry((30, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    first = np.full(grid.shape, 0.05, np.float32)
    first[5:12, 6:13, 6:13] = 0.505
    first[8, 9, 9] = 0.55
    third = np.where(first > 0.5, 0.44, 0.05).astype(np.float32)
    prediction = Prediction("A", np.stack([1 - first - third, first, third]), grid, (1, 3))
    clicks = (click(grid, (8, 9, 9), is_positive=False), click(grid, (8, 9, 9), 3))
    mask, unmet = make_mask(prediction, clicks, fusion=FUSION, postprocessing=PostprocessingRule())
    assert unmet == ()
    assert (mask == 3).sum() > 100
