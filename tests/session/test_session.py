from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

import interactivepet
from interactivepet.core.case import Case
from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.core.plan import (
    ClickSampling,
    Configuration,
    CropPlan,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    UNetPlan,
)
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import FoldEnsemble
from interactivepet.errors import CaseError, InteractionError, SegmenterError
from interactivepet.inference import network
from interactivepet.inference.network import FoldNetwork
from interactivepet.inference.segmenter import Segmenter
from interactivepet.networks import precision
from interactivepet.session import history as states
from interactivepet.session import session as session_module
from interactivepet.session.segmenter import FAST_FOLDS, EnsembleSegmenter
from interactivepet.session.session import MOST_STATES, Session
from tests.fold_prediction import predict_with_folds
from tests.whole_body import SPACING_MM, make_body_case, make_whole_body

CPU = torch.device("cpu")
SPACING = (2.0, 2.0, 4.0)


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: False)


class Network(nn.Module):
    """Two labels: uptake is the first; clicks pull for 10 mm; the previous mask is kept. Remembers what it saw."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = bias
        self.tiles: list[torch.Tensor] = []

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        self.tiles.append(tile)
        image, plus1, minus1, plus3, minus3, mask1, mask3 = (tile[:, n : n + 1] for n in range(7))
        # an average over the tile, so that every tile differs a little from the next
        level = 0.05 * image.mean()
        first = 6 * (image - 1.5) + 8 * plus1 - 14 * minus1 + mask1 + level + self.bias
        second = -6 + 14 * plus3 - 8 * minus3 + mask3
        return torch.cat((torch.zeros_like(image), first, second), 1)


@dataclass(frozen=True)
class Model:
    folds: Mapping[Configuration, FoldEnsemble]
    fusion: FusionRule
    postprocessing: PostprocessingRule = field(default_factory=PostprocessingRule)
    promptable: Segmenter | None = None
    corrected: FusionRule | None = None

    def choice(self, clicks: Sequence[Click], *, is_corrected: bool) -> tuple[FusionRule, PostprocessingRule]:
        return self.corrected if is_corrected and self.corrected else self.fusion, self.postprocessing


def make_plan(
    configuration: Configuration = "3d_fullres",
    *,
    patch: Shape = (16, 16, 8),
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 5.0),
    crop: CropPlan | None = None,
) -> Plan:
    kernel = tuple(3 if n > 1 else 1 for n in patch)
    return Plan(
        task="Task001",
        configuration=configuration,
        budget="cpu",
        channels=("PET",),
        labels={"edema": 3, "tumour": 1},
        spacing_mm=spacing_mm,
        median_shape=patch,
        patch_size=patch,
        crop=crop or CropPlan(),
        normalisation=(Normalisation(scheme="suv"),),
        network=UNetPlan(
            input_channels=7,
            output_channels=3,
            features_per_stage=(4,),
            kernel_sizes=(kernel,),
            strides=((1, 1, 1),),
            n_conv_per_stage=(1,),
            n_conv_per_stage_decoder=(),
        ),
        guidance=GuidancePlan(scale_mm=4.0),
        training=TrainingPlan(batch_size=2, epochs=1, iterations_per_epoch=1, clicks=ClickSampling(noise_mm=1.0)),
        memory=MemoryEstimate(float32_gb=0.1, mixed_gb=0.1),
    )


def make_ensemble(plan: Plan, *, n_folds: int = 2, tta: bool = False) -> FoldEnsemble:
    folds = [FoldNetwork(f"fold_{n}", "MIT", plan, Network(0.1 * n), CPU, tta) for n in range(n_folds)]
    return FoldEnsemble(plan, tuple(folds))


def make_model(*plans: Plan, fused: tuple[Configuration, ...] = (), n_folds: int = 2, tta: bool = False) -> Model:
    folds = {p.configuration: make_ensemble(p, n_folds=n_folds, tta=tta) for p in plans or (make_plan(),)}
    return Model(folds, FusionRule(configurations=fused or tuple(folds)))


def make_case(shape: Shape = (70, 50, 21)) -> Case:
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine[:3, :3] = turn @ np.diag([-SPACING[0], SPACING[1], SPACING[2]])
    affine[:3, 3] = (70.0, -20.0, 400.0)
    centre = (np.array(shape) - 1) / 2 - (15, 0, 0)
    offset = (np.indices(shape).reshape(3, -1).T - centre) * SPACING
    image = rng.gamma(2.0, 0.2, size=shape) + 3 * (np.linalg.norm(offset, axis=1) < 15).reshape(shape)
    return Case("A", image[None].astype(np.float32), Geometry(shape, affine))


def place(case: Case, voxel: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = case.geometry.to_mm(voxel).tolist()
    return (x, y, z)


def count_tiles(model: Model) -> int:
    return sum(len(fold.network.tiles) for folds in model.folds.values() for fold in folds.folds)


def forget_tiles(model: Model) -> None:
    for folds in model.folds.values():
        for fold in folds.folds:
            fold.network.tiles.clear()


@pytest.mark.parametrize("shape", [(70, 50, 21), (41, 37, 1)])
def test_all_clicks_at_once_give_what_the_folds_give(shape: Shape) -> None:
    plan = make_plan() if shape[2] > 1 else make_plan("2d", patch=(16, 16, 1))
    model, case = make_model(plan), make_case(shape)
    clicks = [Click(position_mm=place(case, (5, 30, shape[2] // 2)), label=label) for label in (1, 3)]
    segmenter: Segmenter = EnsembleSegmenter(model)
    found = segmenter.segment(case, clicks)
    expected = predict_with_folds(model.folds[plan.configuration], case, clicks)
    assert found.geometry is case.geometry
    assert (found.case_id, found.labels) == ("A", (1, 3))
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert (segmenter.name, segmenter.licence) == (f"{plan.configuration} fold_0 fold_1", "MIT")


def test_a_correction_predicts_one_window_and_changes_nothing_else() -> None:
    model, case = make_model(), make_case()
    session = Session(model)
    session.set_image(case)
    automatic = session.segment()
    before = session.probabilities.probabilities
    forget_tiles(model)

    session.add_click(place(case, (48, 28, 10)))
    after = session.segment()

    assert count_tiles(model) == 2
    assert all(fold.network.tiles[0].shape[2:] == (16, 16, 8) for fold in model.folds["3d_fullres"].folds)
    changed = np.argwhere(np.abs(session.probabilities.probabilities - before).max(axis=0) > 0)
    # half a patch in mm and one voxel of the network, on the scanner's grid
    assert (np.abs(changed - (48, 28, 10)) <= np.array([8, 8, 4]) * (3, 3, 5) / SPACING + 3).all()
    assert automatic.mask[48, 28, 10] == 0
    assert after.mask[48, 28, 10] == 1
    assert 5 < (after.mask != automatic.mask).sum() < 2000
    assert session.probabilities.probabilities.sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_first_clicks_come_without_a_mask_and_corrections_with_it() -> None:
    model, case = make_model(n_folds=1), make_case()
    network = model.folds["3d_fullres"].folds[0].network
    session = Session(model)
    session.set_image(case)
    session.segment()
    for place_ in ((20, 25, 10), (22, 27, 10)):
        session.add_click(place(case, place_))
    forget_tiles(model)
    session.segment()
    (tile,) = network.tiles
    assert tile[0, 1].max() > 0.9
    assert not tile[0, 5:].any()
    session.add_click(place(case, (12, 25, 10)), 3, is_positive=False)
    session.segment()
    tile = network.tiles[-1]
    assert tile[0, 1].max() > 0.9
    assert tile[0, 4].max() > 0.9
    assert 50 < tile[0, 5].sum() < tile[0, 5].numel()
    assert set(np.unique(tile[0, 5:])) == {0, 1}


def test_no_seam_shows() -> None:
    model, noisy = make_model(n_folds=1), make_case()
    case = Case("A", np.ones_like(noisy.image), noisy.geometry)
    session = Session(model)
    session.set_image(case)
    before = session.probabilities.probabilities
    model.folds["3d_fullres"].folds[0].network.bias = 3.0  # another answer all over the window
    session.add_click(place(case, (40, 25, 10)), 3, is_positive=False)
    change = np.abs(session.probabilities.probabilities - before)[1]
    assert change.max() > 0.4
    for axis in range(3):
        assert np.abs(np.diff(change, axis=axis)).max() < 0.2
    assert change[[0, -1]].max() == 0


def test_undo_and_redo_return_to_the_very_same_results() -> None:
    model, case = make_model(), make_case()
    session = Session(model)
    session.set_image(case)
    results = [(session.segment().mask, session.probabilities.probabilities, session.unmet)]
    steps = [
        lambda: session.add_click(place(case, (60, 10, 10))),
        lambda: session.add_click(place(case, (61, 12, 9)), 3),
        lambda: session.add_click(place(case, (20, 25, 10)), is_positive=False),
        lambda: session.add_click(place(case, (20, 25, 10))),
        lambda: session.add_box(place(case, (5, 30, 3)), place(case, (25, 45, 15)), label=3),
        lambda: session.add_scribble([place(case, (40 + n / 4, 20, 10)) for n in range(60)]),
    ]
    for step in steps:
        step()
        results.append((session.segment().mask, session.probabilities.probabilities, session.unmet))
    assert len({mask.tobytes() for mask, _, _ in results}) == len(results)
    forget_tiles(model)
    order = [*range(len(steps) - 1, -1, -1), *range(1, len(steps) + 1)]
    for n, expected in enumerate(order):
        assert session.undo() if n < len(steps) else session.redo()
        mask, probabilities, unmet = results[expected]
        assert np.array_equal(session.segment().mask, mask)
        assert np.array_equal(session.probabilities.probabilities, probabilities)
        assert session.unmet == unmet
    assert count_tiles(model) == 0
    assert not session.redo()


def test_undo_of_a_batch_that_was_never_seen_click_by_click() -> None:
    model, case = make_model(), make_case()
    session = Session(model)
    session.set_image(case)
    assert not session.undo()
    for voxel in ((60, 10, 10), (58, 12, 10), (62, 8, 10)):
        session.add_click(place(case, voxel))
    together = session.segment().mask
    session.undo()
    assert len(session.clicks) == 2
    fewer = session.segment().mask
    session.redo()
    assert np.array_equal(session.segment().mask, together)
    session.undo()
    assert np.array_equal(session.segment().mask, fewer)
    session.add_click(place(case, (30, 30, 5)))
    assert not session.redo()


def test_reset_keeps_the_image_and_its_prediction() -> None:
    model, case = make_model(), make_case()
    session = Session(model)
    session.set_image(case)
    automatic = session.segment().mask
    session.add_click(place(case, (60, 10, 10)))
    session.segment()
    session.reset()
    forget_tiles(model)
    assert session.clicks == ()
    assert np.array_equal(session.segment().mask, automatic)
    assert count_tiles(model) == 0
    assert not session.undo()
    assert not session.redo()


def test_a_long_session_keeps_a_bounded_number_of_states() -> None:
    model, case = make_model(n_folds=1), make_case((40, 37, 9))
    session = Session(model)
    session.set_image(case)
    automatic = session.segment().mask
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(MOST_STATES + 8):
        session.add_click(place(case, tuple(rng.integers(1, (39, 36, 8)).tolist())), int(rng.choice([1, 3])))
        masks.append(session.segment().mask)
    assert len(session._states) == MOST_STATES
    for n in range(len(masks) - 2, len(masks) - MOST_STATES, -1):
        session.undo()
        assert np.array_equal(session.segment().mask, masks[n])
    while session.undo():
        pass
    assert np.array_equal(session.segment().mask, automatic)


def test_what_clicks_do_not_change_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, case = make_model(), make_case()
    calls = []
    real = states.preprocess
    monkeypatch.setattr(states, "preprocess", lambda *a, **k: calls.append(1) or real(*a, **k))
    session = Session(model)
    session.set_image(case)
    for voxel in ((60, 10, 10), (20, 20, 5), (40, 40, 15)):
        session.add_click(place(case, voxel))
        session.segment()
    assert len(calls) == 1


def test_clicks_are_obeyed_and_contradictions_told() -> None:
    class Deaf(nn.Module):
        def forward(self, tile: torch.Tensor) -> torch.Tensor:
            image = tile[:, :1]
            return torch.cat((torch.zeros_like(image), 2 * (image - 1.5), torch.full_like(image, -9.0)), 1)

    case, plan = make_case(), make_plan()
    folds = FoldEnsemble(plan, (FoldNetwork("fold_0", "MIT", plan, Deaf(), CPU, False),))
    rule = PostprocessingRule(largest_component=True, minimum_volume_ml=5.0, fill_holes=True)
    session = Session(Model({"3d_fullres": folds}, FusionRule(configurations=("3d_fullres",)), rule))
    session.set_image(case)
    session.add_click(place(case, (60, 10, 10)))
    session.add_click(place(case, (61, 11, 10)), 3)
    session.add_click(place(case, (20, 25, 10)), is_positive=False)
    mask = session.segment().mask
    assert (mask[60, 10, 10], mask[61, 11, 10], mask[20, 25, 10]) == (1, 3, 0)
    assert session.unmet == ()
    session.add_click(place(case, (60, 10, 10)), is_positive=False)
    assert session.segment().mask[60, 10, 10] != 1
    assert session.unmet == session.clicks[:1]
    session.undo()
    assert np.array_equal(session.segment().mask, mask)
    assert session.unmet == ()


def test_a_fast_session_uses_fewer_folds_without_mirrored_inputs() -> None:
    case = make_case((20, 18, 9))
    counts = []
    for fast in (False, True):
        model = make_model(n_folds=4, tta=True)
        session = Session(model, fast=fast)
        session.set_image(case)
        session.add_click(place(case, (10, 9, 5)))
        session.segment()
        counts.append(count_tiles(model))
    assert counts[0] == 8 * 4 * counts[1] / FAST_FOLDS


def test_several_configurations_and_a_cascade_follow_the_clicks() -> None:
    case = make_case()
    coarse = make_plan("3d_lowres", spacing_mm=(6.0, 6.0, 6.0))
    plans = (make_plan(), coarse, make_plan("3d_cascade"))
    model = make_model(*plans, fused=("3d_fullres", "3d_cascade"))
    clicks = [Click(position_mm=place(case, (25, 24, 10))), Click(position_mm=place(case, (14, 25, 12)))]
    found = EnsembleSegmenter(model).segment(case, clicks)
    low = predict_with_folds(model.folds["3d_lowres"], case, clicks)
    parts = [
        predict_with_folds(model.folds["3d_fullres"], case, clicks),
        predict_with_folds(model.folds["3d_cascade"], case, clicks, coarse=low),
    ]
    assert found.skipped == np.mean([p.skipped for p in parts])
    assert found.probabilities == pytest.approx(np.mean([p.probabilities for p in parts], axis=0), abs=1e-5)
    session = Session(model)
    session.set_image(case)
    session.add_clicks(clicks)
    first = session.segment().mask
    near = session.probabilities.probabilities
    assert near[:, 14:26, 20:30] == pytest.approx(found.probabilities[:, 14:26, 20:30], abs=0.1)
    session.add_click(place(case, (58, 10, 10)))
    assert session.segment().mask[58, 10, 10] == 1
    session.undo()
    assert np.array_equal(session.segment().mask, first)


def test_a_plan_that_crops_to_clicks_follows_them() -> None:
    plan = make_plan(crop=CropPlan(region="clicks", margin_mm=20.0))
    model, case = make_model(plan), make_case()
    session = Session(model)
    session.set_image(case)
    with pytest.raises(InteractionError, match="no clicks"):
        session.segment()
    session.add_click(place(case, (20, 25, 10)))
    first = session.segment().mask
    assert first[20, 25, 10] == 1
    assert session.probabilities.probabilities[0, 60:].min() == 1.0
    session.add_click(place(case, (60, 10, 10)))
    assert session.segment().mask[60, 10, 10] == 1
    expected = predict_with_folds(model.folds["3d_fullres"], case, session.clicks).probabilities
    assert session.probabilities.probabilities == pytest.approx(expected, abs=1e-5)
    session.undo()
    assert np.array_equal(session.segment().mask, first)


def test_a_2d_network_answers_in_a_volume() -> None:
    model, case = make_model(make_plan("2d", patch=(16, 16, 1), spacing_mm=(3.0, 3.0, 4.0))), make_case()
    session = Session(model)
    session.set_image(case)
    before = session.probabilities.probabilities
    session.add_click(place(case, (60, 10, 10)))
    changed = np.argwhere(np.abs(session.probabilities.probabilities - before).max(axis=0) > 0.01)
    assert len(np.unique(changed[:, 2])) > 1
    assert (np.abs(changed[:, 2] - 10) <= 4).all()


def test_misuse_is_refused_and_changes_nothing() -> None:
    model, case = make_model(), make_case((20, 18, 9))
    session = Session(model)
    for use in (session.segment, lambda: session.add_click((0, 0, 0)), lambda: session.probabilities):
        with pytest.raises(SegmenterError, match="call set_image first"):
            use()
    with pytest.raises(CaseError, match="A: 2 channels, expected PET"):
        session.set_image(Case("A", np.repeat(case.image, 2, axis=0), case.geometry))
    session.set_image(case)
    with pytest.raises(InteractionError, match="outside"):
        session.add_click(place(case, (-2, 0, 0)))
    with pytest.raises(InteractionError, match="label 2"):
        session.add_click(place(case, (2, 2, 2)), 2)
    assert session.clicks == ()


def test_the_package_offers_the_session_without_loading_torch() -> None:
    assert interactivepet.Session is session_module.Session
    code = "import sys, interactivepet; assert 'torch' not in sys.modules; from interactivepet import Session"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        interactivepet.Nothing  # noqa: B018


class Everything:
    """Finds all voxels of the first label, and remembers how many clicks it saw."""

    name, licence = "everything", "CC0"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        self.seen.append(len(clicks))
        probabilities = np.zeros((3, *case.geometry.shape), np.float32)
        probabilities[1] = 1
        return Prediction(case.id, probabilities, case.geometry, (1, 3))


def test_nninteractive_answers_with_its_share_and_not_without_clicks() -> None:
    other, case = Everything(), make_case()
    model = replace(make_model(), promptable=other)
    session = Session(replace(model, fusion=replace_weight(model.fusion, 0.25)))
    session.set_image(case)
    session.segment()
    assert other.seen == []
    session.add_click(place(case, (20, 25, 10)))
    folds = session.fold_probabilities.probabilities
    found = session.probabilities.probabilities
    assert found[1] == pytest.approx(0.75 * folds[1] + 0.25, abs=1e-6)
    assert found[2] == pytest.approx(0.75 * folds[2], abs=1e-6)
    assert other.seen == [1]
    segmenter = session.segmenter
    assert (segmenter.name, segmenter.licence) == ("3d_fullres fold_0 fold_1; everything", "MIT; CC0")
    alone = Session(replace(model, fusion=replace_weight(model.fusion, 1.0)))
    alone.set_image(case)
    alone.add_click(place(case, (20, 25, 10)))
    assert (alone.segment().mask == 1).all()
    assert count_tiles(model) > 0, "the folds know more of the label that nobody showed"
    alone.add_click(place(case, (5, 5, 5)), 3)
    forget_tiles(model)
    assert (alone.segment().mask == 1).mean() > 0.99
    assert count_tiles(model) == 0, "folds without a share are not asked"


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("labels", [(), (1,), (1, 3)])
@pytest.mark.parametrize("fast", [False, True])
def test_all_clicks_at_once_and_a_session_take_one_path(weight: float, labels: tuple[int, ...], fast: bool) -> None:
    model, case = make_model(n_folds=3), make_case((22, 20, 9))
    model = replace(model, promptable=Everything(), fusion=replace_weight(model.fusion, weight))
    clicks = [Click(position_mm=place(case, (12, 12, 2 * label)), label=label) for label in labels]
    forget_tiles(model)
    session = Session(model, fast=fast)
    session.set_image(case)
    session.add_clicks(clicks)
    expected = session.probabilities
    n_tiles = count_tiles(model)
    found = EnsembleSegmenter(model, fast=fast).segment(case, clicks)
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert count_tiles(model) == 2 * n_tiles
    assert (n_tiles == 0) == (weight == 1.0 and labels == (1, 3))


@pytest.mark.parametrize(
    ("n_channels", "click", "error", "message"),
    [
        (2, None, CaseError, "2 channels, expected PET"),
        (1, ((-2, 0, 0), 1), InteractionError, "outside"),
        (1, ((2, 2, 2), 2), InteractionError, "label"),
    ],
)
def test_what_a_session_refuses_all_clicks_at_once_refuse(
    n_channels: int,
    click: tuple[tuple[float, float, float], int] | None,
    error: type[CaseError | InteractionError],
    message: str,
) -> None:
    model, case = make_model(), make_case((20, 18, 9))
    case = replace(case, image=np.repeat(case.image, n_channels, axis=0))
    clicks = [] if click is None else [Click(position_mm=place(case, click[0]), label=click[1])]
    session = Session(model)

    def click_on() -> None:
        session.set_image(case)
        session.add_clicks(clicks)

    for use in (lambda: EnsembleSegmenter(model).segment(case, clicks), click_on):
        with pytest.raises(error, match=message):
            use()


def test_probabilities_belong_to_whoever_asked_for_them() -> None:
    session = Session(make_model())
    session.set_image(make_case((20, 18, 9)))
    expected = session.probabilities.probabilities.copy()
    session.probabilities.probabilities[:] = 0
    assert np.array_equal(session.probabilities.probabilities, expected)


def replace_weight(fusion: FusionRule, weight: float) -> FusionRule:
    return fusion.model_copy(update={"nninteractive_weight": weight})


def test_clicks_after_a_mask_with_clicks_follow_the_rule_for_corrections() -> None:
    model, case = make_model(), make_case()
    model = replace(model, promptable=Everything(), corrected=replace_weight(model.fusion, 1.0))
    session = Session(model)
    session.set_image(case)

    def is_corrected() -> bool:
        return bool((session.segment().mask == 1).all())

    assert not is_corrected()
    for voxel in ((20, 25, 10), (22, 27, 10)):
        session.add_click(place(case, voxel))
    assert not is_corrected(), "the first clicks follow a mask without any"
    session.add_click(place(case, (30, 25, 10)))
    assert is_corrected()
    session.undo()
    assert not is_corrected()
    session.redo()
    assert is_corrected()
    session.reset()
    session.add_click(place(case, (20, 25, 10)))
    assert not is_corrected()


def test_a_closed_session_forgets_its_image() -> None:
    case = make_case((20, 18, 9))
    with Session(make_model()) as session:
        session.set_image(case)
        session.add_click(place(case, (10, 9, 5)))
        session.segment()
    assert session.clicks == ()
    for use in (session.segment, lambda: session.case):
        with pytest.raises(SegmenterError, match="call set_image first"):
            use()
    session.set_image(case)
    assert session.segment().case_id == "A"


def test_clicks_are_added_all_or_none() -> None:
    model, case = make_model(), make_case((20, 18, 9))
    session = Session(model)
    session.set_image(case)
    good, bad = Click(position_mm=place(case, (2, 2, 2))), Click(position_mm=place(case, (-2, 0, 0)))
    session.add_clicks([good])
    with pytest.raises(InteractionError, match="outside"):
        session.add_clicks([good, bad])
    assert session.clicks == (good,)
    with pytest.raises(InteractionError, match="outside"):
        EnsembleSegmenter(model).segment(make_case((22, 18, 9)), [bad])
    assert session.case is case
    assert session.clicks == (good,)


def test_thousands_of_clicks_are_taken_at_once() -> None:
    case = make_case((20, 18, 9))
    session = Session(make_model())
    session.set_image(case)
    clicks = [Click(position_mm=place(case, (n % 20, n % 18, n % 9))) for n in range(5000)]
    session.add_clicks(clicks)
    assert session.clicks == tuple(clicks)
    session.undo()
    assert len(session.clicks) == 4999


def test_states_hold_what_a_crop_covers_and_not_the_whole_image() -> None:
    plan = make_plan(crop=CropPlan(region="clicks", margin_mm=20.0))
    model, case = make_model(plan), make_case()
    session = Session(model)
    session.set_image(case)
    session.add_click(place(case, (20, 25, 10)))
    session.segment()
    (state,) = session._states.values()
    assert state.canvas.values[0].size < 0.5 * np.prod(case.geometry.shape)


def test_a_detour_over_a_wider_crop_changes_nothing() -> None:
    plan = make_plan(crop=CropPlan(region="clicks", margin_mm=20.0))
    case = make_case()
    found = []
    for detour in (False, True):
        session = Session(make_model(plan))
        session.set_image(case)
        session.add_click(place(case, (20, 25, 10)))
        session.segment()
        if detour:
            session.add_click(place(case, (60, 10, 10)))
            session.segment()
            session.undo()
        session.add_click(place(case, (20, 25, 10)), is_positive=False)
        session.segment()
        found.append(session.probabilities.probabilities)
    assert np.array_equal(*found)


def test_the_first_mask_of_a_whole_body_skips_air_and_is_that_of_a_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "FEWEST_TILES", 1)
    case = make_body_case(make_whole_body().uptake[::2, ::2, ::2])
    model = make_model(make_plan(patch=(16, 16, 16), spacing_mm=SPACING_MM), n_folds=1)
    session = Session(model)
    session.set_image(case)

    found = session.probabilities.probabilities

    predicted = predict_with_folds(model.folds["3d_fullres"], case, ())
    assert predicted.skipped > 0
    assert found == pytest.approx(predicted.probabilities, abs=1e-6)
    assert session.probabilities.skipped == EnsembleSegmenter(model).segment(case, ()).skipped == predicted.skipped
    assert (found[0, :2] == 1.0).all()
    session.add_click(place(case, (1, 20, 30)))
    assert session.segment().mask[1, 20, 30] == 1
