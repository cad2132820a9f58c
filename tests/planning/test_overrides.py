from __future__ import annotations

import pytest

from interactivepet.core.plan import Budget, Plans, UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS, find_most_gb
from interactivepet.planning.overrides import apply_overrides, explain_excess
from interactivepet.planning.plan import PlanOptions, make_plans
from tests.planning.factory import make_fingerprint


@pytest.fixture(scope="module")
def plans() -> Plans:
    return make_plans(make_fingerprint(shape=(400, 400, 300), spacings=((2.0, 2.0, 3.0),) * 5), "8gb")


def test_nothing_asked_changes_nothing(plans: Plans) -> None:
    assert apply_overrides(plans, []) == plans


@pytest.mark.parametrize("text", ["64,64,48", "[64, 64, 48]", " 64, 64,48 "])
def test_a_patch_brings_its_network_and_its_memory(plans: Plans, text: str) -> None:
    changed = apply_overrides(plans, [f"patch_size={text}"])
    full, before = changed.configurations["3d_fullres"], plans.configurations["3d_fullres"]
    assert full.patch_size == (64, 64, 48)
    assert isinstance(full.network, UNetPlan)
    assert full.network.divisor == (16, 16, 8)
    assert full.memory.mixed_gb < before.memory.mixed_gb
    assert changed.configurations["3d_cascade"].patch_size == (64, 64, 48)
    assert changed.configurations["3d_lowres"] == plans.configurations["3d_lowres"]


def test_a_patch_that_cannot_be_halved_is_refused_with_the_next_that_can(plans: Plans) -> None:
    with pytest.raises(PlanError, match="the next that is: 64,64,64"):
        apply_overrides(plans, ["patch_size=64,64,60"])


def test_one_configuration_can_be_named(plans: Plans) -> None:
    changed = apply_overrides(plans, ["3d_lowres:patch_size=64,64,64", "3d_lowres:training.batch_size=5"])
    low = changed.configurations["3d_lowres"]
    assert (low.patch_size, low.training.batch_size) == ((64, 64, 64), 5)
    assert changed.configurations["3d_fullres"] == plans.configurations["3d_fullres"]


def test_what_all_share_is_set_in_all(plans: Plans) -> None:
    changed = apply_overrides(plans, ["training.batch_size=4", "training.negatives=exclude", "guidance.scale_mm=7.5"])
    for name, own in changed.configurations.items():
        assert (own.training.batch_size, own.training.negatives, own.guidance.scale_mm) == (4, "exclude", 7.5)
        assert own.memory.mixed_gb > plans.configurations[name].memory.mixed_gb
        assert own.network == plans.configurations[name].network


def test_a_spacing_scales_the_median_shape(plans: Plans) -> None:
    full = apply_overrides(plans, ["spacing_mm=4,4,6"]).configurations["3d_fullres"]
    assert full.spacing_mm == (4.0, 4.0, 6.0)
    assert full.median_shape == (200, 200, 150)


def test_one_edge_of_a_spacing_or_patch_counts_too(plans: Plans) -> None:
    changed = apply_overrides(plans, ["spacing_mm.2=6", "patch_size=64,64,64"])
    full = changed.configurations["3d_fullres"]
    assert full.median_shape == (400, 400, 150)
    assert full == apply_overrides(plans, ["spacing_mm=2,2,6", "patch_size=64,64,64"]).configurations["3d_fullres"]
    with pytest.raises(PlanError, match="the next that is: 64,64,64"):
        apply_overrides(plans, ["patch_size=64,64,64", "patch_size.2=60"])


def test_a_fixed_grid_keeps_its_median_shape() -> None:
    fingerprint = make_fingerprint(shape=(400, 400, 300), spacings=((2.0, 2.0, 3.0),) * 5)
    fixed = make_plans(fingerprint, "8gb", options=PlanOptions(target_shape=(64, 64, 64)))
    before = fixed.configurations[fixed.default]
    after = apply_overrides(fixed, ["spacing_mm=4,4,6"]).configurations[fixed.default]
    assert after.spacing_mm == (4.0, 4.0, 6.0) != before.spacing_mm
    assert after.median_shape == before.median_shape


def test_a_step_beyond_the_budget_is_warned_of(plans: Plans, caplog: pytest.LogCaptureFixture) -> None:
    assert explain_excess(plans.configurations["3d_fullres"], plans.budget) is None
    apply_overrides(plans, ["training.batch_size=2"])
    assert not caplog.records
    large = apply_overrides(plans, ["3d_fullres:training.batch_size=64"])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("3d_fullres: patch")
    assert "the budget 8gb has 6.5 GB" in record.getMessage()
    by_hand = large.configurations["3d_fullres"].model_copy(
        update={"memory": plans.configurations["3d_fullres"].memory}
    )
    assert explain_excess(by_hand, "8gb") is not None


@pytest.mark.parametrize("text", ["spacing_mm=4,4,6", "crop.margin_mm=5", "normalisation.0.std=2.5"])
def test_the_cascade_keeps_the_cases_of_the_full_resolution(plans: Plans, text: str) -> None:
    changed = apply_overrides(plans, [f"3d_fullres:{text}", "3d_fullres:training.epochs=3"])
    full, cascade = changed.plan("3d_fullres"), changed.plan("3d_cascade")
    assert full.preprocessing_hash() == cascade.preprocessing_hash()
    assert full.preprocessing_hash() != plans.plan("3d_fullres").preprocessing_hash()
    assert (full.training.epochs, cascade.training) == (3, plans.plan("3d_cascade").training)
    assert changed.configurations["3d_lowres"] == plans.configurations["3d_lowres"]


def test_sgd_takes_less_memory(plans: Plans) -> None:
    changed = apply_overrides(plans, ["training.optimizer=sgd"]).configurations["3d_fullres"]
    assert changed.memory.float32_gb < plans.configurations["3d_fullres"].memory.float32_gb


def test_a_network_that_is_set_stays(plans: Plans) -> None:
    before = plans.configurations["3d_fullres"].network
    assert isinstance(before, UNetPlan)
    features = [8 * 2**stage for stage in range(len(before.strides))]
    changed = apply_overrides(plans, ["patch_size=96,96,96", f"network.features_per_stage={features}"])
    network = changed.configurations["3d_fullres"].network
    assert isinstance(network, UNetPlan)
    assert network.features_per_stage == tuple(features)
    assert network.strides == before.strides


@pytest.mark.parametrize("architecture", ["residual", "swinunetr"])
def test_an_architecture_brings_its_network(plans: Plans, architecture: str) -> None:
    changed = apply_overrides(plans, [f"network.architecture={architecture}", "patch_size=64,64,64"])
    network = changed.configurations["3d_fullres"].network
    assert network.architecture == architecture
    assert network.input_channels == 4


def test_an_element_of_a_list_can_be_set(plans: Plans) -> None:
    changed = apply_overrides(plans, ["normalisation.0.scheme=zscore", "normalisation.0.clip=null"])
    assert {own.normalisation[0].scheme for own in changed.configurations.values()} == {"zscore"}
    assert changed.configurations["3d_fullres"].normalisation[0].clip is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patchsize=8,8,8", "^patchsize=8,8,8: no such key, did you mean patch_size?"),
        ("batch_size=8", "did you mean training.batch_size?"),
        ("training.bacth_size=8", "did you mean training.batch_size?"),
        ("normalisation.3.scheme=ct", "did you mean normalisation.0?"),
        ("patch_size", "is not KEY=VALUE"),
        ("2d:patch_size=8,8,1", "2d was not planned; there is 3d_fullres, 3d_lowres, 3d_cascade"),
        ("training.batch_size=0", "^3d_fullres: training.batch_size=0: Input .*greater than or equal to 1"),
        ("training.batch_size=many", "training.batch_size=many: .*integer"),
        ("=3", "^=3 is not KEY=VALUE"),
        ("3d_fullres:=3", "is not KEY=VALUE"),
        ("training..epochs=3", "is not KEY=VALUE"),
        ("target_shape=32,32,32", "use --target-shape"),
        ("network.architecture=nope", "=nope: there is plain, residual, unetr, swinunetr"),
        ("guidance.scale_mm=-1", "guidance.scale_mm=-1: .*greater than 0"),
        ("patch_size=Infinity,64,64", "not three numbers above 0"),
        ("patch_size=64,64", "not three numbers above 0"),
        ("patch_size=wide", "not three numbers above 0"),
        ("training.clicks.none=0.9", "1 together"),
        ("network.input_channels=9", "input and output channels must be"),
        ("network.strides=[[1,1,1]]", r"^3d_fullres: network.strides=\[\[1,1,1\]\]: network: features, .*same stages"),
        ("network.features_per_stage.1=0", "^3d_fullres: network.features_per_stage.1=0: Input .*equal to 1"),
        ("spacing_mm=2,2,0", "not three numbers above 0"),
        ("qqq=1", "known here: spacing_mm"),
        ("3d_cascade:spacing_mm=4,4,6", "3d_cascade has the cases of 3d_fullres, so spacing_mm must be the same"),
    ],
)
def test_what_cannot_be_is_refused_by_name(plans: Plans, text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        apply_overrides(plans, [text])


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.batch_size=1e9"],
        ["training.batch_size=1000000000"],
        ["3d_fullres:training.batch_size=1e9"],
        ["patch_size=6400,6400,6400"],
        ["training.batch_size=100", "patch_size=256,256,256"],
    ],
)
@pytest.mark.parametrize("budget", ["cpu", "8gb", "80gb"])
def test_a_step_that_no_machine_can_hold_is_refused(overrides: list[str], budget: Budget) -> None:
    plans = make_plans(make_fingerprint(shape=(400, 400, 300), spacings=((2.0, 2.0, 3.0),) * 5), budget)
    with pytest.raises(PlanError, match=rf"GB a training step, the budget {budget} .* no plan above \d+ GB is written"):
        apply_overrides(plans, overrides)


def test_the_limit_is_four_of_the_largest_cards_or_the_machines_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_most_gb("8gb") == find_most_gb("80gb") == 4 * BUDGETS["80gb"].memory_gb
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 10**6, "SC_PAGE_SIZE": 4096}.get)
    assert find_most_gb("cpu") == pytest.approx(4.096)


def test_a_plan_of_a_larger_machine_is_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    plans = apply_overrides(make_plans(make_fingerprint(), "cpu"), ["training.batch_size=40"])
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 4096}.get)
    assert apply_overrides(plans, []) == plans


@pytest.mark.parametrize("value", ["[" * 50_000, '{"a":' * 20_000, "[" * 100 + "]" * 100])
def test_a_nested_value_is_refused(plans: Plans, value: str) -> None:
    with pytest.raises(PlanError, match=r"training\.batch_size"):
        apply_overrides(plans, [f"training.batch_size={value}"])
