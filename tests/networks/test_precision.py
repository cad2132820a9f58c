from __future__ import annotations

import pytest
import torch

from interactivepet.errors import SettingsError
from interactivepet.networks.precision import choose_device, choose_precision, describe_device


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_the_cpu_when_there_is_nothing_else() -> None:
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("cpu") == torch.device("cpu")
    assert describe_device(torch.device("cpu")) == "cpu"


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--device {name}.*use auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--device {name} is not a device"):
        choose_device(name)


def test_a_visible_card_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert choose_device("auto").type == "cuda"
    assert describe_device(choose_device("cuda:1")) == "Card 1"
    with pytest.raises(SettingsError, match="2 CUDA devices"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx2": True, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, None),
        ({}, None),
    ],
)
def test_bfloat16_is_for_processors_that_multiply_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_older_cards_compute_in_float16(monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: native)
    assert choose_precision(torch.device("cuda")) == expected


def test_other_devices_compute_in_float32() -> None:
    assert choose_precision(torch.device("mps")) is None
