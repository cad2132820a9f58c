"""Weights and states of unfinished folds on disk, written so that a kill at any moment leaves a whole file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactivepet.core.checkpoint import EpochRecord, Pretraining
from interactivepet.dataset.files.write import atomic_path
from interactivepet.errors import StaleArtefactError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "TrainingState",
    "has_state",
    "load_state",
    "load_weights",
    "read_tensors",
    "remove_foreign_state",
    "remove_previous",
    "remove_state",
    "save_state",
    "save_weights",
]

logger = logging.getLogger(__name__)

Tensors = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """Everything that the next epoch needs.

    Attributes:
        made_from: hash of the plan that the run follows and of its cases.
        epochs: the finished epochs.
        ended: whether they are all that the run's own options asked for.
        network: `state_dict` of the network.
        average: `state_dict` of the weights' moving average, empty when there is none.
        optimizer: `state_dict` of the optimiser.
        scaler: `state_dict` of the gradient scaler, empty when none is used.
        run_id: the tracker's run, so that a continued fold stays one run.
        pretrained: the model that the run started from; None for random weights.
    """

    made_from: str
    epochs: tuple[EpochRecord, ...]
    ended: bool
    network: Tensors
    average: Tensors
    optimizer: Tensors
    scaler: Tensors
    run_id: str | None
    pretrained: Pretraining | None = None


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state atomically and keep the one before beside it, for the case that a disk damages this one."""
    import torch

    content = {field.name: getattr(state, field.name) for field in fields(state)}
    content["epochs"] = json.dumps([epoch.model_dump() for epoch in state.epochs])
    content["pretrained"] = None if state.pretrained is None else state.pretrained.model_dump_json()
    with atomic_path(path) as partial:
        torch.save(content, partial)
        if path.is_file():
            path.replace(_previous(path))


def has_state(path: Path) -> bool:
    """Whether a state, or the one before it, is there."""
    return path.is_file() or _previous(path).is_file()


def remove_previous(path: Path) -> None:
    """Remove the state before the last one: a complete fold needs a single one to be trained further."""
    _previous(path).unlink(missing_ok=True)


def remove_state(path: Path) -> None:
    """Remove the state and the one before it."""
    path.unlink(missing_ok=True)
    _previous(path).unlink(missing_ok=True)


def remove_foreign_state(path: Path, *, made_from: str) -> None:
    """Remove states of another plan or other cases, and damaged ones; one that training can go on from stays."""
    try:
        content = _load_either(path)
    except TrainingError:
        content = {}
    if content.get("made_from") != made_from:
        remove_state(path)


def load_state(path: Path, *, made_from: str) -> TrainingState:
    """Read the state of an interrupted fold onto the CPU; a damaged or missing one gives way to the one before.

    Raises:
        StaleArtefactError: the plan or the cases have changed since.
        TrainingError: both files are damaged.
    """
    content = _load_either(path)
    found = content.get("made_from", "of an older version")
    if found != made_from:
        raise StaleArtefactError(
            f"{path} was trained with plan and cases {found}, which are now {made_from}; restore "
            "plan, images, labels, clicks and --patients, or start again with the same command and --no-continue"
        )
    epochs = tuple(EpochRecord.model_validate(epoch) for epoch in json.loads(content["epochs"]))
    told = content.get("pretrained")
    pretrained = None if told is None else Pretraining.model_validate_json(told)
    # a state from before `ended` was kept counts as interrupted
    return TrainingState(**{"ended": False, **content, "epochs": epochs, "pretrained": pretrained})


def save_weights(path: Path, network: nn.Module) -> str:
    """Write a network's `state_dict` atomically and give the file's SHA-256."""
    import torch

    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as partial:
        torch.save(weights, partial)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Read a `state_dict` after checking the file against its card.

    Raises:
        TrainingError: the file is missing, damaged or not the one that the card describes.
    """
    if not path.is_file():
        raise TrainingError(f"{path} is not there; train it again with --no-continue")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise TrainingError(
            f"{path} has SHA-256 {found[:16]}..., but its card says {sha256[:16]}...: the file was changed or damaged; "
            "restore it or train the fold again with --no-continue"
        )
    return read_tensors(path)


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a file of tensors onto the CPU after comparing its content with the checksums that it holds.

    Raises:
        TrainingError: the file is damaged, or holds something else than named tensors.
    """
    import pickle
    import zipfile

    import torch

    try:
        # torch writes a CRC-32 of every tensor and never looks at it again
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same
        raise TrainingError(
            f"{path} holds more than tensors, and loading that could run any program; take the weights.pt of a fold, "
            "or train again with --no-continue"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path} is damaged ({error}); start anew with the same command and --no-continue"
        ) from error
    if not isinstance(content, dict):
        raise TrainingError(
            f"{path} holds a {type(content).__name__}, expected named tensors; take the weights.pt of a fold"
        )
    return content


def _load_either(path: Path) -> dict[str, Any]:
    previous = _previous(path)
    try:
        return read_tensors(path)
    except TrainingError:
        if not previous.is_file():
            raise
    content = read_tensors(previous)
    logger.warning("%s is missing or damaged; going on with the state before it, %s", path, previous.name)
    # or the next state would make a damaged file the one before it
    path.unlink(missing_ok=True)
    return content


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")
