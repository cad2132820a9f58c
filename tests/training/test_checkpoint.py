from __future__ import annotations

import hashlib
import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from interactivepet.core.checkpoint import EpochRecord
from interactivepet.errors import StaleArtefactError, TrainingError
from interactivepet.training.checkpoint import (
    TrainingState,
    has_state,
    load_state,
    load_weights,
    remove_state,
    save_state,
    save_weights,
)


def make_record(epoch: int, *, validation_loss: float = 0.7) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        loss=0.1 + 0.2,
        validation_loss=validation_loss,
        pseudo_dice=(0.5, None),
        learning_rate=0.01,
        seconds=1.5,
        memory_gb=0.3,
    )


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2, affine=True))


def step(network: nn.Module, optimizer: torch.optim.SGD) -> None:
    optimizer.zero_grad()
    network(torch.ones(1, 1, 5, 5, 5)).square().sum().backward()
    optimizer.step()


def make_state(network: nn.Module, optimizer: torch.optim.SGD, *, run_id: str | None = "run") -> TrainingState:
    return TrainingState(
        made_from="cafe",
        epochs=(make_record(0), make_record(1)),
        ended=True,
        network=network.state_dict(),
        average={},
        optimizer=optimizer.state_dict(),
        scaler=torch.amp.GradScaler("cpu", enabled=False).state_dict(),
        run_id=run_id,
    )


def make_optimizer(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)


@pytest.mark.parametrize("run_id", ["run", None])
def test_a_state_comes_back_whole(tmp_path: Path, run_id: str | None) -> None:
    network = make_network()
    optimizer = make_optimizer(network)
    step(network, optimizer)
    path = tmp_path / "new" / "checkpoint.pt"

    save_state(path, make_state(network, optimizer, run_id=run_id))
    state = load_state(path, made_from="cafe")

    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]
    assert state.epochs == (make_record(0), make_record(1))
    assert (state.made_from, state.ended, state.run_id, dict(state.scaler)) == ("cafe", True, run_id, {})
    again = make_network(1)
    continued = make_optimizer(again)
    again.load_state_dict(state.network)
    continued.load_state_dict(dict(state.optimizer))
    step(network, optimizer)
    step(again, continued)
    for old, new in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_loss_that_is_not_finite_survives(tmp_path: Path) -> None:
    network = make_network()
    state = make_state(network, make_optimizer(network))
    broken = TrainingState(
        state.made_from,
        (make_record(0, validation_loss=math.inf),),
        False,
        state.network,
        {},
        state.optimizer,
        state.scaler,
        None,
    )
    save_state(tmp_path / "c.pt", broken)
    assert load_state(tmp_path / "c.pt", made_from="cafe").epochs[0].validation_loss == math.inf


def test_a_state_of_another_plan_is_stale(tmp_path: Path) -> None:
    network = make_network()
    save_state(tmp_path / "c.pt", make_state(network, make_optimizer(network)))
    with pytest.raises(StaleArtefactError, match=r"cafe, which are now beef.*--no-continue"):
        load_state(tmp_path / "c.pt", made_from="beef")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_truncated_state_is_reported(tmp_path: Path, share: float) -> None:
    network = make_network()
    path = tmp_path / "c.pt"
    save_state(path, make_state(network, make_optimizer(network)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TrainingError, match=r"c.pt is damaged.*--no-continue"):
        load_state(path, made_from="cafe")


def test_what_is_no_state_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(TrainingError, match="is damaged"):
        load_state(path, made_from="cafe")


class Harmful:
    """What a pickle may do to the one who opens it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harm"),))


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"made_from": "cafe", "network": Harmful()}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful(), protocol=2))
    for name, message in {"zip.pt": "holds more than tensors.*--no-continue", "plain.pt": "is damaged"}.items():
        with pytest.raises(TrainingError, match=message):
            load_state(tmp_path / name, made_from="cafe")
    assert not (tmp_path / "harm").exists()


def test_weights_come_back_and_carry_their_hash(tmp_path: Path) -> None:
    network = make_network()
    path = tmp_path / "weights.pt"

    sha256 = save_weights(path, network)

    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    weights = load_weights(path, sha256=sha256)
    assert weights.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(weights[name], tensor)


def test_weights_that_the_card_does_not_describe_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    sha256 = save_weights(path, make_network(0))
    save_weights(path, make_network(1))
    with pytest.raises(TrainingError, match=rf"its card says {sha256[:16]}"):
        load_weights(path, sha256=sha256)
    path.unlink()
    with pytest.raises(TrainingError, match="is not there; train it again"):
        load_weights(path, sha256=sha256)


def test_an_interrupted_write_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network()
    path = tmp_path / "c.pt"
    save_state(path, make_state(network, make_optimizer(network)))
    before = path.read_bytes()

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, make_state(network, make_optimizer(network), run_id="other"))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def save_twice(path: Path) -> None:
    """Leave the states of run `first` and, over it, `second`."""
    network = make_network()
    for run_id in ("first", "second"):
        save_state(path, make_state(network, make_optimizer(network), run_id=run_id))


def damage(path: Path, *, share: float) -> None:
    """Flip one bit of a tensor's content."""
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)


def test_the_state_before_is_kept_and_used_when_the_last_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.pt"
    save_twice(path)
    assert load_state(path, made_from="cafe").run_id == "second"
    path.write_bytes(path.read_bytes()[:500])
    assert load_state(path, made_from="cafe").run_id == "first"
    assert "going on with the state before it, c.previous.pt" in caplog.text
    # the next state must not push the whole one out
    assert not path.exists()
    assert load_state(path, made_from="cafe").run_id == "first"


def test_a_kill_between_the_two_renames_costs_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_twice(path)
    path.unlink()
    assert has_state(path)
    assert load_state(path, made_from="cafe").run_id == "first"


def test_a_flipped_bit_of_a_tensor_is_recognised(tmp_path: Path) -> None:
    network = nn.Linear(200, 200)
    path = tmp_path / "c.pt"
    save_state(path, make_state(network, make_optimizer(network)))
    damage(path, share=0.5)
    with pytest.raises(TrainingError, match="is damaged"):
        load_state(path, made_from="cafe")


def test_both_states_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_twice(path)
    assert len(list(tmp_path.iterdir())) == 2
    remove_state(path)
    assert list(tmp_path.iterdir()) == []
    assert not has_state(path)


def test_a_state_of_an_older_version_is_stale(tmp_path: Path) -> None:
    torch.save({"plan_hash": "cafe"}, tmp_path / "c.pt")
    with pytest.raises(StaleArtefactError, match="--no-continue"):
        load_state(tmp_path / "c.pt", made_from="cafe")
