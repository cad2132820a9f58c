from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import ClickSampling, Plan
from interactivepet.guidance.encode import encode_points
from interactivepet.networks.build import build_network
from interactivepet.training import correct
from interactivepet.training.correct import MOST_ROUNDS, add_corrections, draw_rounds, find_errors, measure_depth

MakePlan = Callable[..., Plan]


class Fixed(nn.Module):
    """A network that answers with the same classes whatever it sees, and remembers what it saw."""

    def __init__(self, classes: Tensor, n_classes: int) -> None:
        super().__init__()
        self.logits = nn.functional.one_hot(classes, n_classes).movedim(-1, 1).float()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, data: Tensor) -> list[Tensor]:
        assert not torch.is_grad_enabled()  # or each prediction would keep its activations
        self.seen.append(data.clone())
        return [self.logits * self.weight, self.logits[..., ::2, ::2, :]]


@pytest.fixture
def plan_for(make_plan: MakePlan) -> MakePlan:
    def make(
        patch: Shape = (16, 16, 16),
        *,
        labels: Mapping[str, int] | None = None,
        spacing_mm: Spacing = (4.0, 4.0, 4.0),
        noise_mm: float = 0.0,
    ) -> Plan:
        made = make_plan(patch, labels=labels, clicks=ClickSampling(noise_mm=noise_mm))
        return made.model_copy(update={"spacing_mm": spacing_mm})

    return make


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(
    network: nn.Module,
    data: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    rounds: int = 1,
    seed: int = 0,
    spacing_mm: Tensor | None = None,
) -> Tensor:
    """Correct samples that have the plan's spacing, or their own."""
    return add_corrections(
        network,
        data,
        target=target,
        plan=plan,
        spacing_mm=torch.tensor(plan.spacing_mm).expand(len(data), 3) if spacing_mm is None else spacing_mm,
        precision=None,
        generator=make_generator(seed),
        rounds=rounds,
    )


def make_box(shape: Shape, *slices: slice, value: int = 1) -> Tensor:
    """(1, I, J, K) classes with one box."""
    box = torch.zeros(1, *shape, dtype=torch.int64)
    box[(0, *slices)] = value
    return box


def make_data(plan: Plan, n: int = 1) -> Tensor:
    data = torch.zeros(n, plan.network.input_channels, *plan.patch_size)
    data[:, 0] = torch.rand(n, *plan.patch_size, generator=make_generator(9))
    return data


def peak(channel: Tensor) -> tuple[int, ...]:
    return tuple(int(v) for v in np.unravel_index(int(channel.argmax()), channel.shape))


@pytest.fixture(autouse=True)
def keep_every_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct, "DROPPED_MASK_SHARE", 0.0)


def test_a_missed_object_gets_a_positive_click_in_its_middle(plan_for: MakePlan) -> None:
    plan = plan_for()
    target = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    out = run(Fixed(torch.zeros_like(target), 2), make_data(plan), target, plan)
    assert out.shape == (1, 4, 16, 16, 16)
    assert peak(out[0, 1]) == (5, 7, 8)
    assert out[0, 1, 5, 7, 8] == 1.0
    assert not out[0, 2:].any()


def test_a_spilled_object_gets_a_negative_click_in_its_middle(plan_for: MakePlan) -> None:
    plan = plan_for()
    spilled = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    out = run(Fixed(spilled, 2), make_data(plan), torch.zeros_like(spilled), plan)
    assert peak(out[0, 2]) == (5, 7, 8)
    assert not out[0, 1].any()
    assert torch.equal(out[0, 3], spilled[0].float())


def test_the_thickest_error_is_clicked_first_and_only_once_a_round(plan_for: MakePlan) -> None:
    plan = plan_for()
    target = make_box((16, 16, 16), slice(1, 4), slice(1, 4), slice(1, 4))
    guess = make_box((16, 16, 16), slice(7, 14), slice(7, 14), slice(7, 14))
    out = run(Fixed(guess, 2), make_data(plan), target, plan)
    assert peak(out[0, 2]) == (10, 10, 10)
    assert not out[0, 1].any()


def test_each_sample_of_a_batch_is_corrected_for_itself(plan_for: MakePlan) -> None:
    plan = plan_for()
    box = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    empty = torch.zeros_like(box)
    out = run(Fixed(torch.cat((empty, box, box)), 2), make_data(plan, 3), torch.cat((box, empty, box)), plan)
    assert [bool(out[n, c].any()) for n in range(3) for c in (1, 2)] == [True, False, False, True, False, False]


def test_a_perfect_prediction_adds_no_click_but_the_mask(plan_for: MakePlan) -> None:
    plan = plan_for()
    target = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    data = make_data(plan)
    data[0, 1, 5, 5, 5] = 0.5
    out = run(Fixed(target, 2), data, target, plan, rounds=3)
    assert torch.equal(out[:, :3], data[:, :3])
    assert torch.equal(out[0, 3], target[0].float())


def test_clicks_that_were_there_stay(plan_for: MakePlan) -> None:
    plan = plan_for()
    target = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    data = make_data(plan)
    data[0, 1, 15, 15, 15] = 1.0
    data[0, 2, 5, 7, 8] = 1.0
    before = data.clone()
    out = run(Fixed(torch.zeros_like(target), 2), data, target, plan)
    assert out[0, 1, 15, 15, 15] == 1.0
    assert out[0, 1, 5, 7, 8] == 1.0
    assert torch.equal(out[:, [0, 2]], data[:, [0, 2]])
    assert torch.equal(data, before)


def test_the_network_sees_its_last_clicks_and_mask_in_the_next_round(plan_for: MakePlan) -> None:
    plan = plan_for()
    target = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11))
    network = Fixed(make_box((16, 16, 16), slice(12, 14), slice(12, 14), slice(12, 14)), 2)
    data = make_data(plan)
    out = run(network, data, target, plan, rounds=3)
    assert len(network.seen) == 3
    assert torch.equal(network.seen[0], data)
    assert peak(network.seen[1][0, 1]) == (5, 7, 8)
    assert torch.equal(network.seen[1][0, 3], network.logits[0, 1])
    assert not torch.equal(network.seen[2], data)
    assert torch.equal(out[:, 3:], network.seen[2][:, 3:])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_some_samples_keep_the_mask_they_came_with(
    plan_for: MakePlan, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correct, "DROPPED_MASK_SHARE", share)
    plan = plan_for((8, 8, 8))
    n = 200
    guess = make_box((8, 8, 8), slice(2, 5), slice(2, 5), slice(2, 5)).expand(n, -1, -1, -1)
    data = make_data(plan, n)
    data[:, 3] = 0.25
    out = run(Fixed(guess, 2), data, torch.zeros_like(guess), plan)
    own = (out[:, 3] == 0.25).flatten(1).all(1)
    new = (out[:, 3] == guess).flatten(1).all(1)
    assert torch.equal(own, ~new)
    assert float(own.float().mean()) == pytest.approx(share, abs=0.1 if 0 < share < 1 else 0)


def test_a_target_may_come_as_the_loader_gives_it(plan_for: MakePlan) -> None:
    plan = plan_for(labels={"a": 1, "b": 2})
    target = make_box((16, 16, 16), slice(3, 8), slice(5, 10), slice(6, 11), value=2)
    outs = [run(Fixed(0 * target, 3), make_data(plan), t, plan) for t in (target, target.to(torch.uint8))]
    assert outs[0][0, 3, 5, 7, 8] == 1.0
    assert torch.equal(outs[0], outs[1])


@pytest.mark.parametrize("values", [{"a": 1, "b": 2}, {"b": 7, "a": 3}])
def test_labels_have_channels_of_their_own_in_the_order_of_their_values(
    plan_for: MakePlan, values: Mapping[str, int]
) -> None:
    plan = plan_for(labels=values)
    first = (slice(1, 6), slice(1, 6), slice(1, 6))
    second = (slice(9, 14), slice(9, 14), slice(9, 14))
    target = make_box((16, 16, 16), *second, value=2)
    out = run(Fixed(torch.zeros_like(target), 3), make_data(plan), target, plan)
    assert [c for c in range(1, 7) if out[0, c].any()] == [3]
    spilled = make_box((16, 16, 16), *first, value=1)
    out = run(Fixed(target + spilled, 3), make_data(plan), target, plan)
    assert [c for c in range(1, 7) if out[0, c].any()] == [2, 5, 6]
    assert torch.equal(out[0, 5], spilled[0].float())
    assert torch.equal(out[0, 6], (target[0] == 2).float())


def test_a_confused_label_is_missed_of_one_and_spilled_of_the_other() -> None:
    target = make_box((6, 6, 6), slice(1, 5), slice(1, 5), slice(1, 5), value=1)
    errors = find_errors(2 * target, target, n_labels=2)
    assert errors.shape == (1, 4, 6, 6, 6)
    assert torch.equal(errors[0, 0], target[0] == 1)
    assert not errors[0, 1].any()
    assert not errors[0, 2].any()
    assert torch.equal(errors[0, 3], target[0] == 1)


@pytest.mark.parametrize(
    ("patch", "spacing_mm"),
    [((16, 16, 16), (4.0, 4.0, 4.0)), ((20, 14, 6), (1.0, 2.0, 5.0)), ((20, 18, 1), (2.0, 3.0, 9.0))],
)
@pytest.mark.parametrize("noise_mm", [0.0, 6.0])
def test_clicks_lie_in_the_error_and_look_as_in_prediction(
    plan_for: MakePlan, patch: Shape, spacing_mm: Spacing, noise_mm: float
) -> None:
    plan = plan_for(patch, spacing_mm=spacing_mm, noise_mm=noise_mm)
    rng = np.random.default_rng(0)
    centres = set()
    for seed in range(25):
        start = [int(rng.integers(0, max(1, n - 4))) for n in patch]
        target = make_box(patch, *(slice(s, s + 4) for s in start))
        out = run(Fixed(torch.zeros_like(target), 2), make_data(plan), target, plan, seed=seed)
        voxel = peak(out[0, 1])
        centres.add(tuple(v - s for v, s in zip(voxel, start, strict=True)))
        assert target[(0, *voxel)] == 1
        assert not out[0, 2].any()
        if noise_mm == 0.0:
            wanted = encode_points(np.array([voxel]), patch, spacing_mm=spacing_mm, scale_mm=6.0)
            assert out[0, 1].numpy() == pytest.approx(wanted, abs=1e-5)
    assert len(centres) > 1


def test_noise_moves_clicks_between_voxels(plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    encode = correct._encode

    def watch(points: Tensor, shape: torch.Size, *, scale: Tensor) -> Tensor:
        drawn.append(points.clone())
        heat = encode(points, shape, scale=scale)
        for point, made in zip(points, heat, strict=True):
            wanted = encode_points(point[None].numpy(), shape, spacing_mm=plan.spacing_mm, scale_mm=6.0)
            assert made.numpy() == pytest.approx(wanted, abs=1e-5)
        return heat

    monkeypatch.setattr(correct, "_encode", watch)
    plan = plan_for((24, 24, 1), spacing_mm=(2.0, 4.0, 9.0), noise_mm=2.0)
    n = 300
    target = make_box((24, 24, 1), slice(4, 21), slice(4, 21), slice(0, 1)).expand(n, -1, -1, -1)
    monkeypatch.setattr(correct, "MOST_DEPTH", 20)
    run(Fixed(torch.zeros_like(target), 2), make_data(plan, n), target, plan)
    (points,) = drawn
    assert (points[:, 2] == 0).all()
    assert points[:, 0].std().item() == pytest.approx(1.0, rel=0.15)
    assert (points[:, :2] != points[:, :2].round()).all()
    assert points[:, :2].mean(0).tolist() == pytest.approx([12.0, 12.0], abs=0.5)


def test_noise_that_leaves_the_error_is_left_out(plan_for: MakePlan) -> None:
    plan = plan_for(noise_mm=100.0)
    target = make_box((16, 16, 16), slice(4, 5), slice(4, 5), slice(4, 5))
    for seed in range(20):
        out = run(Fixed(torch.zeros_like(target), 2), make_data(plan), target, plan, seed=seed)
        assert out[0, 1, 4, 4, 4] == 1.0


def test_depth_follows_the_spacing() -> None:
    masks = torch.zeros(1, 1, 15, 15, 9, dtype=torch.bool)
    masks[0, 0, 1:14, 1:14, 1:8] = True
    depth = measure_depth(masks, spacing_mm=torch.tensor([(1.0, 1.0, 3.0)]))[0, 0]
    assert depth[7, 7].tolist() == [0, 3, 6, 7, 7, 7, 6, 3, 0]
    assert depth[:, 7, 4].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0]
    assert torch.equal(depth > 0, masks[0, 0])


def test_the_border_of_the_grid_ends_a_mask_and_a_single_slice_does_not() -> None:
    depth = measure_depth(torch.ones(1, 1, 7, 7, 1, dtype=torch.bool), spacing_mm=torch.tensor([(2.0, 2.0, 2.0)]))[
        0, 0, :, :, 0
    ]
    assert depth[3].tolist() == [1, 2, 3, 4, 3, 2, 1]
    narrow = measure_depth(torch.ones(1, 1, 7, 2, 3, dtype=torch.bool), spacing_mm=torch.tensor([(2.0, 2.0, 2.0)]))
    assert int(narrow.max()) == 1


def test_one_generator_state_gives_one_result(plan_for: MakePlan) -> None:
    plan = plan_for(noise_mm=4.0)
    target = make_box((16, 16, 16), slice(2, 12), slice(2, 12), slice(2, 12)).expand(2, -1, -1, -1)
    outs = [
        run(Fixed(torch.zeros_like(target), 2), make_data(plan, 2), target, plan, rounds=2, seed=seed)
        for seed in (0, 0, 1)
    ]
    torch.rand(3)
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert not torch.equal(outs[0][0, 1], outs[0][1, 1])


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16, 1)])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_no_gradient_flows_and_the_step_that_follows_has_all(
    plan_for: MakePlan, patch: Shape, precision: torch.dtype | None
) -> None:
    plan = plan_for(patch)
    network = build_network(plan.network, deep_supervision=True)
    target = make_box(patch, slice(3, 9), slice(3, 9), slice(0, 9))
    data = make_data(plan).requires_grad_()
    # as careless as a caller can be: one context for all
    with torch.autocast("cpu", precision, enabled=precision is not None):
        out = add_corrections(
            network,
            data,
            target=target,
            plan=plan,
            spacing_mm=torch.tensor([plan.spacing_mm]),
            precision=precision,
            generator=make_generator(),
            rounds=2,
        )
        assert not out.requires_grad
        assert out.dtype == torch.float32
        assert out[0, 1:3].any()
        assert all(p.grad is None for p in network.parameters())
        loss = sum(o.float().square().mean() for o in network(out))
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())
    assert data.grad is None


def test_iterations_are_corrected_in_the_planned_share() -> None:
    rng = np.random.default_rng(0)
    rounds = np.array([draw_rounds(rng, share=0.4) for _ in range(2000)])
    assert (rounds > 0).mean() == pytest.approx(0.4, abs=0.05)
    assert set(rounds) == set(range(MOST_ROUNDS + 1))
    assert {draw_rounds(rng, share=0.0) for _ in range(50)} == {0}


def test_without_rounds_nothing_changes(plan_for: MakePlan) -> None:
    plan = plan_for()
    data = make_data(plan)
    network = Fixed(torch.zeros(1, 16, 16, 16, dtype=torch.int64), 2)
    assert torch.equal(run(network, data, torch.ones(1, 16, 16, 16, dtype=torch.int64), plan, rounds=0), data)
    assert network.seen == []


def test_clicks_have_the_spacing_of_their_sample(plan_for: MakePlan) -> None:
    plan = plan_for(spacing_mm=(4.0, 4.0, 4.0))
    target = make_box((16, 16, 16), slice(7, 10), slice(7, 10), slice(7, 10)).expand(2, -1, -1, -1)
    own = torch.tensor([[4.0, 4.0, 4.0], [2.0, 4.0, 8.0]])
    out = run(Fixed(torch.zeros_like(target), 2), make_data(plan, 2), target, plan, spacing_mm=own)
    for sample, spacing_mm in zip(out, own.tolist(), strict=True):
        expected = encode_points(
            np.array([peak(sample[1])], float), (16, 16, 16), spacing_mm=tuple(spacing_mm), scale_mm=6.0
        )
        assert sample[1].numpy() == pytest.approx(expected, abs=1e-5)


def test_each_sample_is_eroded_by_its_own_spacing() -> None:
    masks = torch.ones(2, 1, 13, 13, 13, dtype=torch.bool)
    own = torch.tensor([[1.0, 1.0, 3.0], [2.0, 1.0, 1.0]])
    both = measure_depth(masks, spacing_mm=own)
    for sample in (0, 1):
        alone = measure_depth(masks[:1], spacing_mm=own[sample : sample + 1])
        assert torch.equal(both[sample], alone[0])
    assert not torch.equal(both[0], both[1])
