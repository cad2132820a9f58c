"""A new network begins to answer as the pretrained one does, and what does not fit stays random."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interactivepet.core.plan import GuidancePlan, Normalisation, Plan
from interactivepet.networks.build import build_network
from interactivepet.training.checkpoint import save_weights
from interactivepet.training.pretrained import PretrainedNetwork
from interactivepet.training.tasks import FoldTask
from interactivepet.training.transfer import Transfer, transfer_weights

MakePlan = Callable[..., Plan]

NARROW, WIDE = (Normalisation(scheme="suv", clip=(0.0, 20.0), std=std) for std in (2.0, 6.0))
CT = Normalisation(scheme="ct", mean=30.0, std=60.0)
LATER_CT = Normalisation(scheme="ct", mean=0.0, std=30.0)


def change(plan: Plan, *, network: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """Change a plan; the numbers of its network's channels follow."""
    changed = plan.model_copy(update=changes)
    n_labels = len(changed.labels)
    channels = {"input_channels": len(changed.channels) + 3 * n_labels, "output_channels": 1 + n_labels}
    content = {**changed.network.model_dump(), **channels, **(network or {})}
    return Plan.model_validate({**changed.model_dump(), "network": content})


def give(plan: Plan, *, is_known: bool = True) -> tuple[nn.Module, PretrainedNetwork]:
    """Build a network whose normalisation, too, has weights that differ from those of a new one."""
    torch.manual_seed(1)
    network = build_network(plan.network, deep_supervision=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network, PretrainedNetwork("given", network.state_dict(), plan=plan if is_known else None)


def take(plan: Plan, given: PretrainedNetwork) -> tuple[nn.Module, Transfer]:
    torch.manual_seed(2)
    network = build_network(plan.network, deep_supervision=True)
    return network, transfer_weights(network, given, plan=plan)


def infer(network: nn.Module, *channels: Tensor) -> Tensor:
    """Give probabilities (classes, I, J, K)."""
    with torch.no_grad():
        result: Tensor = network.eval()(torch.stack(channels)[None])[0][0].softmax(0)
    return result


def make_maps(n: int) -> list[Tensor]:
    return list(torch.randn(n, 16, 16, 16, generator=torch.Generator().manual_seed(3)))


@pytest.fixture
def pet(make_plan: MakePlan) -> Plan:
    return change(make_plan(), normalisation=(NARROW,))


@pytest.mark.parametrize(
    ("channels", "is_known"),
    [
        (("PET", "CT"), True),
        (("CT", "PET"), True),
        (("CT", "PET", "MR"), True),
        # without names, images are matched by position
        (("PET", "CT"), False),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_further_image_changes_nothing_at_first(
    pet: Plan, channels: tuple[str, ...], is_known: bool, kind: str
) -> None:
    pet = change(pet, network={"architecture": kind})
    rules = {"PET": NARROW, "CT": CT, "MR": Normalisation(scheme="zscore")}
    plan = change(pet, channels=channels, normalisation=tuple(rules[name] for name in channels))
    before, given = give(pet, is_known=is_known)
    network, transfer = take(plan, given)
    image, *clicks = make_maps(4)
    for other in (torch.zeros(16, 16, 16), 1000.0 * torch.randn(16, 16, 16)):
        images = [image if name == "PET" else other for name in channels]
        assert torch.allclose(infer(network, *images, *clicks), infer(before, image, *clicks), atol=1e-5)
    n_first = 4 * 27 * (len(channels) - 1)
    n_values = sum(parameter.numel() for parameter in network.parameters())
    assert transfer.share == pytest.approx(1 - n_first / n_values)


@pytest.mark.parametrize(
    ("rule", "image", "image_there"),
    [
        (WIDE, lambda suv: suv / 6.0, lambda suv: suv / 2.0),
        (NARROW, lambda suv: suv / 2.0, lambda suv: suv / 2.0),
        (NARROW.model_copy(update={"std": 0.5}), lambda suv: suv / 0.5, lambda suv: suv / 2.0),
    ],
)
def test_another_scale_of_intensities_changes_nothing_at_first(
    pet: Plan, rule: Normalisation, image: Callable[[Tensor], Tensor], image_there: Callable[[Tensor], Tensor]
) -> None:
    before, given = give(pet)
    network, transfer = take(change(pet, normalisation=(rule,)), given)
    suv, *clicks = make_maps(4)
    suv = 8.0 * suv.abs()
    assert torch.allclose(infer(network, image(suv), *clicks), infer(before, image_there(suv), *clicks), atol=1e-5)
    assert transfer == Transfer(1.0, ())


def test_another_offset_changes_nothing_away_from_the_border(pet: Plan) -> None:
    before, given = give(change(pet, channels=("CT",), normalisation=(LATER_CT,)))
    network, _ = take(change(pet, channels=("CT",), normalisation=(CT,)), given)
    hounsfield, *clicks = make_maps(4)
    hounsfield = 200.0 * hounsfield
    mine, theirs = network.encoder.stages[0][0].convs[0].conv, before.encoder.stages[0][0].convs[0].conv
    with torch.no_grad():
        here = mine(torch.stack([(hounsfield - 30.0) / 60.0, *clicks])[None])
        there = theirs(torch.stack([hounsfield / 30.0, *clicks])[None])
    inside = (slice(1, -1),) * 3
    assert torch.allclose(here[0, :, *inside], there[0, :, *inside], atol=1e-4)


def test_several_labels_share_the_probability_of_the_only_one(pet: Plan) -> None:
    before, given = give(pet)
    network, transfer = take(change(pet, labels={"tumour": 1, "node": 2, "bone": 3}), given)
    image, positive, negative, mask = make_maps(4)
    nothing = torch.zeros(16, 16, 16)
    # the clicks are of the second label
    guidance = [nothing, nothing, positive, negative, nothing, nothing]
    found = infer(network, image, *guidance, nothing, mask, nothing)
    expected = infer(before, image, positive, negative, mask)
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    assert torch.allclose(found[1], expected[1] / 3, atol=1e-5)
    assert transfer.share == 1.0
    assert transfer.notes == ("all of tumour, node, bone begin as its tumour",)


def test_a_deeper_network_takes_the_levels_of_equal_resolution(pet: Plan) -> None:
    shallow = {
        "features_per_stage": (4, 8, 8),
        "kernel_sizes": ((3, 3, 3),) * 3,
        "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        "n_conv_per_stage": (2, 2, 2),
        "n_conv_per_stage_decoder": (2, 2),
    }
    deep = {
        "features_per_stage": (4, 8, 8, 8),
        "kernel_sizes": ((3, 3, 3),) * 4,
        "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        "n_conv_per_stage": (2, 2, 2, 2),
        "n_conv_per_stage_decoder": (2, 2, 2),
    }
    before, given = give(change(pet, network=shallow))
    network, transfer = take(change(pet, network=deep), given)
    theirs, mine = before.state_dict(), network.state_dict()
    for level in (0, 1):
        for part in ("stages", "transpconvs", "seg_layers"):
            names = [name for name in theirs if name.startswith(f"decoder.{part}.{level}.")]
            assert names
            for name in names:
                counterpart = name.replace(f"{part}.{level}.", f"{part}.{level + 1}.", 1)
                assert torch.equal(theirs[name], mine[counterpart])
    assert 0.5 < transfer.share < 1.0


@pytest.mark.parametrize(
    ("guidance", "notes"),
    [
        (GuidancePlan(scale_mm=6.0), ()),
        (GuidancePlan(scale_mm=8.0), ("clicks are gaussian of 6.0 mm, there gaussian of 8.0 mm",)),
        (
            GuidancePlan(scale_mm=6.0).model_copy(update={"encoding": "other"}),
            (
                "clicks are gaussian of 6.0 mm, there other of 6.0 mm (plan with --set guidance.encoding=other for the "
                "same)",
            ),
        ),
    ],
)
def test_other_guidance_is_named(pet: Plan, guidance: GuidancePlan, notes: tuple[str, ...]) -> None:
    _, given = give(pet)
    _, transfer = take(pet, replace(given, plan=pet.model_copy(update={"guidance": guidance})))
    assert transfer.notes == notes


FEATURES = {
    "the same layers": ((4, 8), True),
    "one stage wider": ((4, 16), False),
    "all wider": ((6, 12), False),
}


@pytest.mark.parametrize(("features", "fits"), FEATURES.values(), ids=FEATURES)
def test_a_warning_tells_how_to_plan_the_same_layers(
    pet: Plan, features: tuple[int, int], fits: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, given = give(pet)
    task = FoldTask(change(pet, network={"features_per_stage": features}), read_pretrained=lambda path: given)
    network = build_network(task.plan.network, deep_supervision=True)
    with caplog.at_level(logging.WARNING):
        first = task.set_first_weights(network, pretrained=Path("starter"))
    command = "interactivepet_plan_and_process -t Task001 --architecture starter"
    assert (command in caplog.text) is not fits
    assert first.pretrained is not None
    assert (first.pretrained.share < 0.8) is not fits
    assert first.words == f"given: {first.pretrained.share:.0%} of the weights are taken"
    save_weights(tmp_path / "weights.pt", network)


def test_bare_weights_of_a_foreign_network_are_taken_by_shape_alone(pet: Plan) -> None:
    network = build_network(pet.network.model_copy(update={"input_channels": 1}), deep_supervision=True)
    given = PretrainedNetwork("given", network.state_dict())
    own, transfer = take(pet, given)
    first = own.encoder.stages[0][0].convs[0].conv.weight.detach()
    assert first.abs().min() > 0
    assert transfer.share == pytest.approx(1 - first.numel() / sum(p.numel() for p in own.parameters()))
