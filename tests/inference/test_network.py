from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    UNetPlan,
)
from interactivepet.core.prediction import Prediction
from interactivepet.dataset.dicom.images import read_dicom_case
from interactivepet.dataset.files.read import read_image
from interactivepet.ensemble import folds as folds_module
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.errors import InteractionError, PlanError
from interactivepet.inference import network as network_module
from interactivepet.inference.network import FoldNetwork, open_network
from interactivepet.inference.tiles import FEWEST_TILES
from interactivepet.networks import precision
from interactivepet.networks.build import build_network
from interactivepet.preprocessing.pipeline import preprocess
from tests.fold_prediction import predict_with_folds
from tests.whole_body import SHAPE, make_body_case, make_whole_body
from tests.whole_body import make_ready as make_whole_ready

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: False)


def make_plan(patch: Shape = (16, 16, 16), spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0)) -> Plan:
    kernel = tuple(3 if n > 1 else 1 for n in patch)
    return Plan(
        task="Task001",
        budget="cpu",
        channels=("PET",),
        labels={"edema": 3, "tumour": 1},
        spacing_mm=spacing_mm,
        median_shape=patch,
        patch_size=patch,
        normalisation=(Normalisation(scheme="suv", clip=(0.0, 10.0), std=2.0),),
        network=UNetPlan(
            input_channels=7,
            output_channels=3,
            features_per_stage=(4, 8),
            kernel_sizes=(kernel, kernel),
            strides=((1, 1, 1), tuple(2 if n > 1 else 1 for n in patch)),
            n_conv_per_stage=(2, 2),
            n_conv_per_stage_decoder=(2,),
        ),
        guidance=GuidancePlan(scale_mm=5.0),
        training=TrainingPlan(batch_size=2, epochs=1, iterations_per_epoch=1, clicks=ClickSampling(noise_mm=1.0)),
        memory=MemoryEstimate(float32_gb=0.1, mixed_gb=0.1),
    )


class Threshold(nn.Module):
    """Finds uptake as the first label, and clicks for the second one as the second."""

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        image, second = tile[:, :1], tile[:, 3:4]
        return torch.cat((torch.zeros_like(image), 20 * (image - 1.25), 60 * (second - 0.5)), 1)


def make_fold(plan: Plan, network: nn.Module | None = None, *, tta: bool = True) -> FoldNetwork:
    return FoldNetwork("fold_0", "MIT", plan, network or Threshold(), CPU, tta)


def segment(fold: FoldNetwork, case: Case, clicks: Sequence[Click] = ()) -> Prediction:
    """Segment a raw case by one fold."""
    return predict_with_folds(FoldEnsemble(fold.plan, (fold,)), case, clicks)


def make_grid(shape: Shape, spacing: tuple[float, float, float], flips: Shape, turn_deg: float) -> Geometry:
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", [turn_deg, -turn_deg, turn_deg / 2], degrees=True).as_matrix()
    affine[:3, :3] = turned @ np.diag(np.multiply(flips, spacing))
    affine[:3, 3] = (-211.0, 33.3, 940.0)
    return Geometry(shape, affine)


def draw_ball(grid: Geometry, centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    distance = grid.to_mm(np.indices(grid.shape).reshape(3, -1).T) - grid.to_mm(centre)
    return (np.linalg.norm(distance, axis=1) <= radius_mm).reshape(grid.shape)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def click(grid: Geometry, voxel: tuple[float, float, float], label: int) -> Click:
    return Click(position_mm=tuple(grid.to_mm(voxel).tolist()), label=label)


@pytest.mark.parametrize(
    ("shape", "spacing", "flips", "turn_deg"),
    [
        ((30, 31, 29), (3.0, 3.0, 3.0), (1, 1, 1), 0.0),
        ((41, 37, 21), (2.0, 2.2, 4.4), (-1, -1, 1), 0.0),
        ((31, 40, 33), (2.7, 2.1, 2.5), (1, -1, -1), 25.0),
    ],
)
def test_a_prediction_lies_on_the_cases_own_grid(
    shape: Shape, spacing: tuple[float, float, float], flips: Shape, turn_deg: float
) -> None:
    grid = make_grid(shape, spacing, flips, turn_deg)
    ball = draw_ball(grid, (16.2, 15.0, 10.4), 16.0)
    image = np.zeros((1, *shape), np.float32)
    image[0, 2:-1, 1:-3, 1:-1] = 1.0
    image[0][ball] = 4.0
    case = Case("A", image, grid)
    place = (25.0, 23.0, 15.0)

    prediction = segment(make_fold(make_plan()), case, [click(grid, place, 3)])

    assert prediction.case_id == "A"
    assert prediction.geometry.matches(grid, tolerance_mm=0.0)
    assert prediction.labels == (1, 3)
    assert prediction.probabilities.shape == (3, *shape)
    assert prediction.probabilities.dtype == np.float32
    assert prediction.probabilities.sum(0) == pytest.approx(np.ones(shape), abs=1e-5)
    assert dice(prediction.probabilities[1] > 0.5, ball) > 0.93
    near = np.argwhere(prediction.probabilities[2] > 0.5).mean(0)
    assert np.linalg.norm((near - place) * spacing) < 1.5
    assert (prediction.probabilities[0, :2] == 1.0).all()


def test_a_2d_case_is_segmented() -> None:
    grid = make_grid((40, 37, 1), (2.0, 2.0, 5.0), (-1, 1, 1), 0.0)
    disk = draw_ball(grid, (20.0, 17.0, 0.0), 14.0)
    case = Case("A", (1.0 + 3.0 * disk[None]).astype(np.float32), grid)
    for tta in (True, False):
        prediction = segment(make_fold(make_plan((16, 16, 1), (3.0, 3.0, 5.0)), tta=tta), case)
        assert prediction.probabilities.shape == (3, 40, 37, 1)
        assert dice(prediction.probabilities[1] > 0.5, disk) > 0.93


def test_a_constant_image_and_one_voxel_are_background() -> None:
    for shape in ((1, 1, 1), (9, 8, 7)):
        case = Case("A", np.full((1, *shape), 1.0, np.float32), Geometry(shape, np.eye(4)))
        prediction = segment(make_fold(make_plan()), case)
        assert prediction.probabilities.shape == (3, *shape)
        assert (prediction.probabilities[0] > 0.99).all()


@pytest.mark.slow
def test_mirrored_inputs_are_averaged_when_asked_to() -> None:
    plan = make_plan()
    torch.manual_seed(0)
    network = build_network(plan.network, deep_supervision=False)
    grid = make_grid((20, 21, 22), (3.0, 3.0, 3.0), (1, 1, 1), 0.0)
    image = np.random.default_rng(0).gamma(2.0, size=(1, 20, 21, 22)).astype(np.float32)
    case = Case("A", image, grid)
    mirrored = Case("A", np.ascontiguousarray(image[:, ::-1]), grid)

    def find(tta: bool, given: Case) -> np.ndarray:
        return segment(make_fold(plan, network, tta=tta), given).probabilities

    assert np.abs(find(True, case) - find(True, mirrored)[:, ::-1]).max() < 1e-4
    assert np.abs(find(False, case) - find(False, mirrored)[:, ::-1]).max() > 1e-3
    symmetric = segment(make_fold(plan, tta=True), case).probabilities
    assert symmetric == pytest.approx(segment(make_fold(plan, tta=False), case).probabilities, abs=1e-5)


def test_trained_weights_are_opened() -> None:
    plan = make_plan()
    torch.manual_seed(0)
    trained = build_network(plan.network, deep_supervision=True)

    opened = open_network(plan, trained.state_dict(), name="fold_2", licence="MIT", device=CPU, tta=False)

    assert (opened.name, opened.licence, opened.tta) == ("fold_2", "MIT", False)
    assert not opened.network.training
    image = np.random.default_rng(0).gamma(2.0, size=(1, 16, 16, 16)).astype(np.float32)
    case = Case("A", image, Geometry((16, 16, 16), np.diag([3.0, 3.0, 3.0, 1.0])))
    out = segment(opened, case)
    same = segment(replace(opened, network=trained), case)
    assert np.array_equal(out.probabilities, same.probabilities)


def test_a_click_for_an_unknown_label_is_refused() -> None:
    case = Case("A", np.ones((1, 8, 8, 8), np.float32), Geometry((8, 8, 8), np.eye(4)))
    with pytest.raises(InteractionError, match=r"label \[2\]"):
        segment(make_fold(make_plan()), case, [Click(position_mm=(1, 1, 1), label=2)])


def test_the_image_given_is_not_changed() -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, 18, 17, 16)).astype(np.float32)
    before = image.copy()
    segment(make_fold(make_plan()), Case("A", image, Geometry((18, 17, 16), np.eye(4) * 3)))
    assert np.array_equal(image, before)


class Copy(nn.Module):
    """Finds as the first label what the previous mask says."""

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        first = tile[:, 5:6]
        return torch.cat((torch.zeros_like(first), 20 * (first - 0.5), torch.full_like(first, -20.0)), 1)


def make_ready(shape: Shape) -> PreprocessedCase:
    grid = Geometry(shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    trace = SpatialTrace(grid, BoundingBox((0, 0, 0), shape), grid)
    return PreprocessedCase("A", np.full((1, *shape), 9.0, np.float32), None, trace)


def test_the_mask_to_correct_is_seen() -> None:
    previous = np.zeros((20, 18, 17), np.uint8)
    previous[4:7, 5:9, 6:8] = 1
    fold = make_fold(make_plan(), Copy())
    found = fold.predict(make_ready(previous.shape), (), previous=previous)
    assert np.array_equal(found.probabilities[1] > 0.5, previous == 1)
    assert not (fold.predict(make_ready(previous.shape), ()).probabilities[1] > 0.5).any()


def test_the_second_step_refines_near_the_first_ones_mask_only() -> None:
    plan = make_plan().model_copy(update={"configuration": "3d_cascade"})
    previous = np.zeros((60, 18, 17), np.uint8)
    previous[4:7, 5:9, 6:8] = 1
    found = make_fold(plan).predict(make_ready(previous.shape), (), previous=previous).probabilities
    # 20 mm of 3 mm voxels beyond the mask there is uptake everywhere
    assert (found[1, :14, :16, :15] > 0.5).all()
    assert np.array_equal(found[0, 20:], np.ones((40, 18, 17)))
    assert found.sum(0) == pytest.approx(np.ones(previous.shape), abs=1e-5)
    empty = make_fold(plan).predict(make_ready(previous.shape), (), previous=np.zeros_like(previous))
    assert np.array_equal(empty.probabilities[0], np.ones(previous.shape))


def test_the_second_step_alone_is_refused() -> None:
    plan = make_plan().model_copy(update={"configuration": "3d_cascade"})
    with pytest.raises(PlanError, match="A: 3d_cascade refines the mask of 3d_lowres"):
        make_fold(plan).predict(make_ready((16, 16, 16)), ())


class Crowded(Copy):
    """Runs out of memory once."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        self.n_calls += 1
        if self.n_calls == 2:
            raise torch.OutOfMemoryError
        return super().forward(tile)


def test_a_volume_that_does_not_fit_is_predicted_tile_by_tile() -> None:
    previous = np.zeros((20, 18, 17), np.uint8)
    previous[4:7, 5:9, 6:8] = 1
    found, expected = (
        make_fold(make_plan(), network).predict(make_ready(previous.shape), (), previous=previous).probabilities
        for network in (Crowded(), Copy())
    )
    assert np.array_equal(found, expected)


class Counting(Threshold):
    """Counts how often it runs, and differs a little from tile to tile and mirroring to mirroring."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        self.n_calls += 1
        return super().forward(tile) + 0.1 * tile[:, :1].mean() + 0.1 * tile[:, :1, 0].mean()


def predict_body(
    monkeypatch: pytest.MonkeyPatch, *channels: np.ndarray, clicks: Sequence[Click] = (), skip: bool = True
) -> tuple[Prediction, int]:
    """Predict a whole body of 8 mm voxels with patches of 128 mm; count the runs of the network."""
    plan, network = make_plan(spacing_mm=(8.0, 8.0, 8.0)), Counting()
    case = make_body_case(*channels)
    monkeypatch.setattr(network_module, "FEWEST_TILES", FEWEST_TILES if skip else 10**9)
    return segment(make_fold(plan, network), case, clicks), network.n_calls


def test_air_is_skipped_with_the_same_mask_in_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    body = make_whole_body()
    full, n_full = predict_body(monkeypatch, body.uptake, skip=False)
    found, n_found = predict_body(monkeypatch, body.uptake)

    assert n_found <= 0.5 * n_full
    assert found.skipped == pytest.approx(1 - n_found / n_full)
    assert full.skipped == 0.0
    assert np.array_equal(found.probabilities.argmax(0)[body.body], full.probabilities.argmax(0)[body.body])
    assert (found.probabilities[1][body.lesions] > 0.5).all()
    assert (found.probabilities[0, :4] == 1.0).all()
    assert not found.probabilities[1:, :4].any()
    assert found.probabilities.sum(0) == pytest.approx(np.ones(SHAPE), abs=1e-5)
    same = (found.probabilities == full.probabilities).all(axis=0)
    assert same[38:42, 38:42, 10:80].all()


def test_a_click_in_the_air_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    place = click(make_body_case(make_whole_body().uptake).geometry, (3.0, 40.0, 30.0), 3)
    full, _ = predict_body(monkeypatch, make_whole_body().uptake, clicks=[place], skip=False)
    found, _ = predict_body(monkeypatch, make_whole_body().uptake, clicks=[place])
    assert found.probabilities[2, 3, 40, 30] > 0.5
    assert np.array_equal(found.probabilities[:, 3, 40, 30], full.probabilities[:, 3, 40, 30])


def test_a_cut_out_with_air_is_predicted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    part = np.ascontiguousarray(make_whole_body().uptake[:32, 20:60, :24])
    plan, network = make_plan(spacing_mm=(8.0, 8.0, 8.0)), Counting()
    case = make_body_case(part)
    found = segment(make_fold(plan, network), case)
    monkeypatch.setattr(network_module, "find_body", lambda case, plan: None)
    again = segment(make_fold(plan, network), case)
    assert found.skipped == 0.0
    assert np.array_equal(found.probabilities, again.probabilities)


def test_mr_is_predicted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(spacing_mm=(8.0, 8.0, 8.0)).model_copy(update={"channels": ("MR",)})
    case = make_body_case(make_whole_body().uptake)
    found = segment(make_fold(plan, tta=False), case)
    assert found.skipped == 0.0


def test_the_second_step_skips_air_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(spacing_mm=(8.0, 8.0, 8.0)).model_copy(update={"configuration": "3d_cascade"})
    previous = np.zeros(SHAPE, np.uint8)
    previous[2, 2, 2] = previous[-3, -3, -3] = 1
    ready = make_whole_ready(make_whole_body().uptake / 2)
    fold = make_fold(plan)
    found = fold.predict(ready, (), previous=previous)
    monkeypatch.setattr(network_module, "FEWEST_TILES", 10**9)
    full = fold.predict(ready, (), previous=previous)
    body = make_whole_body().body
    assert found.skipped > 0.3
    assert np.array_equal(found.probabilities.argmax(0)[body], full.probabilities.argmax(0)[body])


def test_every_run_of_every_fold_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    network = Counting()
    fold = make_fold(make_plan(spacing_mm=(8.0, 8.0, 8.0)), network)
    told: list[int] = []

    @contextmanager
    def show(case_id: str, n_passes: int) -> Iterator[Callable[[int], object]]:
        assert case_id == "A"
        yield told.append
        assert sum(told) == n_passes == network.n_calls

    monkeypatch.setattr(folds_module, "show_progress", show)
    case = make_body_case(make_whole_body().uptake)
    with caplog.at_level("INFO"):
        found = predict_with_folds(FoldEnsemble(fold.plan, (fold, fold, fold)), case, ())
    assert len(told) > 100
    assert found.skipped > 0.5
    assert f"A: {100 * found.skipped:.0f} % of the network's runs skipped" in caplog.text


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "channels", "patch", "spacing_mm"),
    [
        ("Task501_STSPET", ("PET",), (32, 32, 64), (5.47, 5.47, 3.27)),
        ("Task004_Hippocampus", ("MR",), (32, 48, 32), (1.0, 1.0, 1.0)),
    ],
)
def test_cut_outs_are_predicted_whole(
    real_data: Path, folder: str, channels: tuple[str, ...], patch: Shape, spacing_mm: tuple[float, float, float]
) -> None:
    fold = make_fold(make_plan(patch, spacing_mm).model_copy(update={"channels": channels}))
    paths = sorted((real_data / folder / "imagesTr").glob("[!.]*.nii.gz"))
    assert len(paths) >= 36
    for path in paths:
        image, geometry = read_image([path])
        case = Case(path.name, image, geometry)
        ready = preprocess(case, fold.plan, box=BoundingBox((0, 0, 0), geometry.shape))
        tiles = fold.plan_tiles(ready, ())
        assert tiles.region is None, path
        assert tiles.find_skipped((0, 1, 2)) == 0, path


@pytest.mark.real_data
def test_most_of_a_whole_body_series_is_air(real_data: Path) -> None:
    case = read_dicom_case(real_data / "dicom" / "STS_001")
    fold = make_fold(make_plan((32, 32, 64), (5.46875, 5.46875, 3.27)))
    ready = preprocess(case, fold.plan, box=BoundingBox((0, 0, 0), case.geometry.shape))

    tiles = fold.plan_tiles(ready, ())

    assert tiles.find_skipped((0, 1, 2)) > 0.5
    # nothing that is as hot as tissue is left out
    assert tiles.region is not None
    assert (ready.image[0][~tiles.region] * 2 > 0.3).mean() < 1e-3
