from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import Plan
from interactivepet.training import augment_device
from interactivepet.training.augment import NO_BLUR_VOXELS, find_source_shape
from interactivepet.training.augment_device import (
    Chance,
    DeviceAugmentation,
    IntensityDraw,
    SpatialDraw,
    apply_intensity,
    apply_spatial,
)

MakePlan = Callable[..., Plan]
PATCHES = [(24, 24, 24), (24, 16, 21), (24, 20, 1), (1, 24, 20)]


@pytest.fixture
def plan_for(make_plan: MakePlan) -> MakePlan:
    def make(patch: Shape, *, spacing_mm: Spacing = (4.0, 4.0, 4.0), labels: Mapping[str, int] | None = None) -> Plan:
        edges = tuple(n + n % 2 if n > 1 else 1 for n in patch)
        plan = make_plan(edges, labels=labels)
        # odd patches are no plan's, but must lie in the middle all the same
        return plan.model_copy(update={"patch_size": patch, "spacing_mm": spacing_mm})

    return make


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_noise(plan: Plan, n: int = 2, *, seed: int = 0) -> dict[str, Tensor]:
    source = find_source_shape(plan.patch_size)
    generator = make_generator(seed)
    values = torch.tensor((0, *plan.label_values), dtype=torch.uint8)
    chosen = torch.randint(len(values), (n, *source), generator=generator)
    return {"data": torch.rand(n, plan.network.input_channels, *source, generator=generator), "target": values[chosen]}


def make_cube(plan: Plan, n: int = 1, *, value: int = 1) -> dict[str, Tensor]:
    """An off-centre cuboid, the same in image, positive guidance, previous mask and label."""
    source = find_source_shape(plan.patch_size)
    cube = torch.zeros(n, 1, *source)
    cube[(..., *(slice(s // 2 - s // 6, s // 2 + s // 4 + 1) for s in source))] = 1.0
    data = torch.cat((cube, cube, 0 * cube, cube), 1)
    return {"data": data, "target": (value * cube[:, 0]).to(torch.uint8)}


def crop(values: Tensor, patch: Shape) -> Tensor:
    source = values.shape[-3:]
    starts = [s // 2 - p // 2 for s, p in zip(source, patch, strict=True)]
    return values[(..., *(slice(a, a + p) for a, p in zip(starts, patch, strict=True)))]


def make_still(n: int, **changes: Tensor | None) -> SpatialDraw:
    still = SpatialDraw(
        torch.zeros(n, dtype=torch.bool), torch.eye(3).repeat(n, 1, 1), None, torch.zeros(n, 3, dtype=torch.bool)
    )
    return dataclasses.replace(still, **changes)


def make_neutral(n: int, c: int, **changes: Tensor) -> IntensityDraw:
    one = torch.ones(n, c)
    blur = torch.full((n, c, 3), NO_BLUR_VOXELS)
    return dataclasses.replace(IntensityDraw(torch.zeros(n, c, 1, 1, 1), blur, one, one, one, one, one), **changes)


def set_intensity(monkeypatch: pytest.MonkeyPatch, probability: float) -> None:
    for name in ("NOISE", "BLUR", "BLUR_CHANNEL", "BRIGHTNESS", "CONTRAST", "COARSE", "COARSE_CHANNEL", "GAMMA"):
        monkeypatch.setattr(augment_device, f"{name}_PROBABILITY", probability)
    monkeypatch.setattr(augment_device, "INVERTED_GAMMA_PROBABILITY", probability)


def augment(
    plan: Plan,
    batch: Mapping[str, torch.Tensor],
    *,
    seed: int = 0,
    elastic_probability: float = 0.0,
    spacing_mm: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Augment samples that have the plan's spacing, or their own."""
    if spacing_mm is None:
        spacing_mm = torch.tensor(plan.spacing_mm).expand(len(batch["data"]), 3)
    return DeviceAugmentation(plan, elastic_probability)({**batch, "spacing_mm": spacing_mm}, make_generator(seed))


def set_spatial(monkeypatch: pytest.MonkeyPatch, probability: float, *, mirror: float) -> None:
    monkeypatch.setattr(augment_device, "SPATIAL_PROBABILITY", probability)
    monkeypatch.setattr(augment_device, "MIRROR_PROBABILITY", mirror)


@pytest.mark.parametrize("patch", PATCHES)
def test_what_does_not_move_is_the_middle_of_its_region(
    plan_for: MakePlan, patch: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_spatial(monkeypatch, 0.0, mirror=0.0)
    set_intensity(monkeypatch, 0.0)
    plan = plan_for(patch, labels={"a": 1, "b": 2})
    batch = make_noise(plan)
    out = augment(plan, batch)
    assert torch.equal(out["data"], crop(batch["data"], patch))
    assert torch.equal(out["target"], crop(batch["target"], patch))


@pytest.mark.parametrize("patch", PATCHES)
def test_interpolation_has_the_same_middle(plan_for: MakePlan, patch: Shape) -> None:
    plan = plan_for(patch, spacing_mm=(2.0, 3.0, 5.0))
    batch = make_noise(plan)
    moved = make_still(2, moved=torch.ones(2, dtype=torch.bool))
    data, target = apply_spatial(batch["data"], batch["target"], draw=moved, plan=plan)
    assert torch.allclose(data, crop(batch["data"], patch), atol=1e-4)
    assert torch.equal(target, crop(batch["target"], patch))


@pytest.mark.parametrize("moved", [True, False])
def test_each_sample_is_mirrored_for_itself(plan_for: MakePlan, moved: bool) -> None:
    plan = plan_for((24, 16, 20))
    batch = make_noise(plan, 3)
    mirrored = torch.tensor([[True, False, False], [False, False, False], [False, True, True]])
    draw = make_still(3, mirrored=mirrored, moved=torch.full((3,), moved))
    data, target = apply_spatial(batch["data"], batch["target"], draw=draw, plan=plan)
    for n, axes in enumerate([(0,), (), (1, 2)]):
        wanted = crop(batch["data"], plan.patch_size)[n].flip([1 + a for a in axes])
        assert torch.allclose(data[n], wanted, atol=1e-4 if moved else 0.0)
        assert torch.equal(target[n], crop(batch["target"], plan.patch_size)[n].flip(axes))


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("elastic", [0.0, 1.0])
def test_guidance_mask_and_label_move_with_the_image(
    plan_for: MakePlan, patch: Shape, elastic: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_spatial(monkeypatch, 1.0, mirror=0.5)
    set_intensity(monkeypatch, 0.0)
    plan = plan_for(patch, labels={"only": 7}, spacing_mm=(2.0, 3.0, 4.0))
    out = augment(plan, make_cube(plan, 12, value=7), elastic_probability=elastic)
    data, target = out["data"], out["target"]
    assert data.shape == (12, 4, *patch)
    assert target.shape == (12, *patch)
    assert target.dtype == torch.uint8
    assert set(target.unique().tolist()) == {0, 7}
    assert torch.equal(data[:, 0], data[:, 1])
    assert torch.equal(data[:, 0], data[:, 3])
    assert not data[:, 2].any()
    clear = (data[:, 0] - 0.5).abs() > 0.01
    assert torch.equal((data[:, 0] > 0.5)[clear], (target == 7)[clear])
    places = {tuple(torch.argwhere(t).float().mean(0).round(decimals=1).tolist()) for t in target}
    assert len(places) > 6


def test_the_peak_of_the_guidance_stays_on_its_object(plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    set_spatial(monkeypatch, 1.0, mirror=0.5)
    plan = plan_for((32, 32, 32), spacing_mm=(2.0, 2.0, 4.0))
    place = [torch.arange(40.0) - c for c in (16, 22, 18)]
    squares = sum((s * p).square() for s, p in zip((2, 2, 4), torch.meshgrid(*place, indexing="ij"), strict=True))
    data = torch.zeros(8, 4, 40, 40, 40)
    data[:, 1] = torch.exp(-squares / 72)
    target = (squares <= 8**2).to(torch.uint8).expand(8, -1, -1, -1)
    out = augment(plan, {"data": data, "target": target})
    for heat, label in zip(out["data"][:, 1], out["target"], strict=True):
        assert label.flatten()[heat.argmax()] == 1
        # linear interpolation between voxels lowers a peak
        assert heat.max() > 0.8


def test_rotation_keeps_a_ball_a_ball_between_uneven_voxels(
    plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_spatial(monkeypatch, 1.0, mirror=0.5)
    set_intensity(monkeypatch, 0.0)
    monkeypatch.setattr(augment_device, "SCALING", (1.0, 1.0))
    spacing_mm = (2.0, 2.0, 6.0)
    plan = plan_for((32, 32, 16), spacing_mm=spacing_mm)
    source = find_source_shape(plan.patch_size)
    offsets = [s * (torch.arange(n) - n // 2 + 0.5) for n, s in zip(source, spacing_mm, strict=True)]
    squares = sum(o.square() for o in torch.meshgrid(*offsets, indexing="ij"))
    ball = (squares <= 20**2).to(torch.uint8).expand(8, -1, -1, -1)
    out = augment(plan, {"data": torch.zeros(8, 4, *source), "target": ball})["target"]
    before = crop(ball, plan.patch_size)
    overlap = 2 * (out * before).flatten(1).sum(1) / (out.flatten(1).sum(1) + before.flatten(1).sum(1))
    assert overlap.min() > 0.92
    draw = SpatialDraw.draw(
        Chance(make_generator(), 8, 1), plan.patch_size, spacing_mm=torch.tensor([spacing_mm]), elastic_probability=0.0
    )
    in_mm = draw.affine * torch.tensor(spacing_mm)[:, None] / torch.tensor(spacing_mm)
    assert torch.allclose(in_mm @ in_mm.mT, torch.eye(3), atol=1e-5)
    assert (in_mm.diagonal(dim1=1, dim2=2).sum(1) < 2.999).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_is_a_quarter_turn(plan_for: MakePlan, axis: int) -> None:
    plan = plan_for((16, 16, 16))
    batch = make_noise(plan, 1)
    angles = torch.zeros(1, 3)
    angles[0, axis] = math.pi / 2
    draw = make_still(1, moved=torch.tensor([True]), affine=augment_device._make_rotation(angles))
    data, target = apply_spatial(batch["data"], batch["target"], draw=draw, plan=plan)
    plane = [a for a in range(3) if a != axis]
    turned = [torch.rot90(crop(batch["target"], (16, 16, 16)), k, [1 + a for a in plane]) for k in (1, -1)]
    assert sum(torch.equal(target, t) for t in turned) == 1
    whole = [torch.rot90(crop(batch["data"], (16, 16, 16)), k, [2 + a for a in plane]) for k in (1, -1)]
    assert sum(torch.allclose(data, w, atol=1e-3) for w in whole) == 1


def test_beyond_the_region_there_is_nothing(plan_for: MakePlan) -> None:
    plan = plan_for((16, 16, 16))
    batch = {"data": torch.ones(1, 4, 20, 20, 20), "target": torch.ones(1, 20, 20, 20, dtype=torch.uint8)}
    draw = make_still(1, moved=torch.tensor([True]), affine=1.6 * torch.eye(3)[None])
    data, target = apply_spatial(batch["data"], batch["target"], draw=draw, plan=plan)
    assert not data[..., 0, :, :].any()
    assert not target[:, 0].any()
    assert data[..., 4:12, 4:12, 4:12] == pytest.approx(1.0, abs=1e-6)
    assert (target[:, 4:12, 4:12, 4:12] == 1).all()


@pytest.mark.parametrize("single", [0, 1, 2])
def test_a_2d_patch_stays_in_its_plane(plan_for: MakePlan, single: int, monkeypatch: pytest.MonkeyPatch) -> None:
    set_spatial(monkeypatch, 1.0, mirror=1.0)
    patch = tuple(1 if axis == single else 24 for axis in range(3))
    plan = plan_for(patch)
    chance = Chance(make_generator(), 50, 1)
    draw = SpatialDraw.draw(chance, patch, spacing_mm=torch.tensor([(2.0, 3.0, 4.0)]), elastic_probability=1.0)
    assert not draw.mirrored[:, single].any()
    assert draw.mirrored.sum() == 100
    assert draw.offset is not None
    assert not draw.offset[:, single].any()
    assert draw.offset.any()
    plane = [a for a in range(3) if a != single]
    assert not draw.affine[:, single, plane].any()
    assert not draw.affine[:, plane, single].any()
    source = find_source_shape(patch)
    ones = {"data": torch.ones(8, 4, *source), "target": torch.ones(8, *source, dtype=torch.uint8)}
    out = augment(plan, ones)
    middle = tuple(0 if n == 1 else slice(8, 16) for n in patch)
    # turned out of its plane, a slice of ones would fade
    assert out["data"][(slice(None), slice(1, None), *middle)] == pytest.approx(1.0, abs=1e-5)
    assert (out["target"][(slice(None), *middle)] == 1).all()


def test_values_of_labels_stay_and_the_majority_wins(plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    set_spatial(monkeypatch, 1.0, mirror=0.5)
    plan = plan_for((24, 24, 24), labels={"b": 9, "a": 4})
    source = find_source_shape(plan.patch_size)
    target = torch.full((6, *source), 4, dtype=torch.int64)
    target[:, 15:] = 9
    data = torch.zeros(6, plan.network.input_channels, *source)
    data[:, 0] = target
    out = augment(plan, {"data": data, "target": target})
    inside = out["target"][:, 6:18, 6:18, 6:18]
    # between 4 and 9 there is no third label
    assert set(inside.unique().tolist()) == {4, 9}
    assert out["target"].dtype == torch.int64


def test_elastic_displacements_are_in_mm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment_device, "ELASTIC_STEP_VOXELS", 4)
    chance = Chance(make_generator(), 30, 1)
    draw = SpatialDraw.draw(chance, (24, 24, 24), spacing_mm=torch.tensor([(1.0, 2.0, 8.0)]), elastic_probability=0.5)
    assert draw.offset is not None
    deformed = draw.offset.flatten(1).any(1)
    assert 8 <= int(deformed.sum()) <= 22
    assert draw.moved[deformed].all()
    corners = draw.offset[deformed][:, :, ::23, ::23, ::23]
    assert corners.std((0, 2, 3, 4)).tolist() == pytest.approx([4.0, 2.0, 0.5], rel=0.25)
    still = SpatialDraw.draw(chance, (24, 24, 24), spacing_mm=torch.tensor([(1.0, 2.0, 8.0)]), elastic_probability=0.0)
    assert still.offset is None


def test_probabilities_and_ranges_are_those_of_the_workers() -> None:
    chance = Chance(make_generator(), 3000, 2)
    space = SpatialDraw.draw(chance, (4, 4, 4), spacing_mm=torch.tensor([(1.0, 1.0, 1.0)]), elastic_probability=0.0)
    assert space.moved.float().mean().item() == pytest.approx(1 - 0.8**2, abs=0.03)
    assert space.mirrored.float().mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    zoom = torch.linalg.det(space.affine) ** (1 / 3)
    assert 0.7 - 1e-3 <= zoom.min() <= 0.72
    assert 1.38 <= zoom.max() <= 1.4 + 1e-3
    draw = IntensityDraw.draw(chance, (4, 4, 4))
    assert draw.noise.flatten(1).any(1).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert draw.noise.flatten(1).std(1).max() < 0.12
    assert (draw.blur > NO_BLUR_VOXELS).all(-1).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (draw.zoom < 1).float().mean().item() == pytest.approx(0.125, abs=0.02)
    assert 0.5 <= draw.zoom.min() < 0.52
    for name, share, low, high in [
        ("brightness", 0.15, 0.75, 1.25),
        ("contrast", 0.15, 0.75, 1.25),
        ("inverted_gamma", 0.1, 0.7, 1.5),
        ("gamma", 0.3, 0.7, 1.5),
    ]:
        factor = getattr(draw, name)
        changed = factor[factor != 1]
        assert len(changed) / factor.numel() == pytest.approx(share, abs=0.02)
        assert torch.equal((factor != 1).all(1), (factor != 1).any(1))
        assert (changed < 1).float().mean().item() == pytest.approx(0.5, abs=0.06)
        assert low <= changed.min() < low + 0.01
        assert high - 0.02 < changed.max() <= high


@pytest.mark.parametrize("shape", [(17, 12, 9), (17, 12, 1)])
def test_low_resolution_is_the_librarys(shape: Shape) -> None:
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    single = tuple(a for a in range(3) if shape[a] == 1) or None
    library = SimulateLowResolutionTransform((0.5, 1), False, True, single)
    image = torch.rand(2, 3, *shape, generator=make_generator())
    zoom = torch.tensor([[0.5, 0.63, 1.0], [0.71, 0.9, 0.55]])
    out = apply_intensity(image, make_neutral(2, 3, zoom=zoom))
    for n in range(2):
        scales = zoom[n, :, None].repeat(1, 3)
        if single:
            scales[:, single] = 1
        wanted = library._apply_to_image(image[n].clone(), apply_to_channel=[0, 1, 2], scales=scales)
        assert torch.allclose(out[n], wanted, atol=1e-5)
    assert torch.equal(out[0, 2], image[0, 2])


def test_blur_is_the_librarys_away_from_the_border() -> None:
    from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension

    image = torch.rand(1, 2, 20, 18, 16, generator=make_generator())
    sigma = torch.full((1, 2, 3), NO_BLUR_VOXELS)
    sigma[0, 1] = torch.tensor([0.5, 0.7, 1.0])
    out = apply_intensity(image, make_neutral(1, 2, blur=sigma))
    wanted = image[0, 1:]
    for axis in range(3):
        wanted = blur_dimension(wanted, float(sigma[0, 1, axis]), axis)
    inner = (slice(None), *(slice(5, -5),) * 3)
    assert torch.equal(out[0, 0], image[0, 0])
    assert torch.allclose(out[0, 1:][inner], wanted[inner], atol=0.02)
    assert out[0, 1].std() < 0.7 * image[0, 1].std()
    flat = apply_intensity(torch.full_like(image, 2.5), make_neutral(1, 2, blur=sigma))
    assert flat == pytest.approx(2.5)


def test_contrast_and_gamma_are_the_librarys() -> None:
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    image = torch.randn(1, 2, 8, 9, 10, generator=make_generator())
    factors = torch.tensor([[0.8, 1.2]])
    chosen = {"apply_to_channel": torch.arange(2)}
    contrast = ContrastTransform((1, 1), True, False)._apply_to_image(
        image[0].clone(), multipliers=factors[0], **chosen
    )
    assert torch.allclose(apply_intensity(image, make_neutral(1, 2, contrast=factors))[0], contrast, atol=1e-5)
    for inverted in (True, False):
        gamma = GammaTransform((1, 1), 1, False, 1, 1)._apply_to_image(
            image[0].clone(),
            gamma=factors[0],
            retain_stats=torch.ones(2, dtype=torch.bool),
            invert_image=torch.full((2,), inverted),
            **chosen,
        )
        drawn = make_neutral(1, 2, **{"inverted_gamma" if inverted else "gamma": factors})
        assert torch.allclose(apply_intensity(image, drawn)[0], gamma, atol=1e-4)
    brighter = apply_intensity(image, make_neutral(1, 2, brightness=factors))
    assert torch.equal(brighter, image * factors[..., None, None, None])


def test_neutral_values_change_nothing_at_all() -> None:
    image = torch.randn(2, 3, 8, 9, 10, generator=make_generator())
    assert torch.equal(apply_intensity(image, make_neutral(2, 3)), image)


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16, 1), (1, 16, 16), (16, 1, 16)])
def test_intensities_change_in_the_image_only(
    plan_for: MakePlan, patch: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(patch)
    batch = make_noise(plan, 4)
    set_intensity(monkeypatch, 0.0)
    plain = augment(plan, batch)
    set_intensity(monkeypatch, 1.0)
    changed = augment(plan, batch)
    assert torch.equal(plain["data"][:, 1:], changed["data"][:, 1:])
    assert torch.equal(plain["target"], changed["target"])
    assert torch.isfinite(changed["data"]).all()
    assert ((plain["data"][:, 0] - changed["data"][:, 0]).abs().flatten(1).mean(1) > 0.01).all()


def test_a_constant_image_stays_finite(plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    set_intensity(monkeypatch, 1.0)
    monkeypatch.setattr(augment_device, "NOISE_PROBABILITY", 0.0)
    set_spatial(monkeypatch, 0.0, mirror=0.5)
    plan = plan_for((16, 16, 16))
    source = find_source_shape(plan.patch_size)
    batch = {"data": torch.full((2, 4, *source), 3.0), "target": torch.zeros(2, *source, dtype=torch.uint8)}
    out = augment(plan, batch)["data"][:, 0]
    assert torch.isfinite(out).all()
    assert out.flatten(1).std(1).max() < 1e-4


def test_one_generator_state_gives_one_batch_and_leaves_the_input(plan_for: MakePlan) -> None:
    plan = plan_for((16, 16, 16))
    batch = make_noise(plan, 3)
    copies = {name: values.clone() for name, values in batch.items()}
    outs = []
    for seed in (0, 0, 1):
        torch.rand(3)
        outs.append(augment(plan, batch, seed=seed, elastic_probability=0.5))
    for name in batch:
        assert torch.equal(outs[0][name], outs[1][name])
        assert not torch.equal(outs[0][name], outs[2][name])
        assert torch.equal(batch[name], copies[name])


def test_each_sample_turns_in_its_own_millimetres(plan_for: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    set_spatial(monkeypatch, 1.0, mirror=0.0)
    plan = plan_for((16, 16, 16), spacing_mm=(2.0, 2.0, 6.0))
    own = torch.tensor([[2.0, 2.0, 6.0], [4.0, 2.0, 1.0]])
    draw = SpatialDraw.draw(Chance(make_generator(), 2, 1), plan.patch_size, spacing_mm=own, elastic_probability=0.0)
    in_mm = draw.affine * own[..., None] / own[:, None]
    scale = torch.linalg.det(in_mm).abs() ** (1 / 3)
    turned = in_mm / scale[:, None, None]
    assert torch.allclose(turned @ turned.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5)
    batch = make_noise(plan, 2)
    same, other = augment(plan, batch), augment(plan, batch, spacing_mm=own)
    assert torch.equal(same["target"][0], other["target"][0])
    assert not torch.equal(same["target"][1], other["target"][1])
