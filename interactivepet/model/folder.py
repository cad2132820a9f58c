"""A model on disk: a folder whose files are those of its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from interactivepet.core.plan import Configuration, Plan
from interactivepet.errors import ModelError
from interactivepet.model.archive import extract_archive
from interactivepet.model.description import PROMPTABLE_WEIGHTS, ModelDescription, PromptableRecord, name_weights
from interactivepet.model.limits import check_limits
from interactivepet.model.manifest import (
    DESCRIPTION,
    MANIFEST,
    SMALL_BYTES,
    ModelManifest,
    parse_manifest,
    parse_record,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ModelFolder", "open_folder", "open_model"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model whose description was read; its weights are read when they are asked for.

    Attributes:
        path: of the folder.
        source: what the user named, for messages: the folder or an archive.
        manifest: its files.
        description: everything but the weights.
    """

    path: Path
    source: Path
    manifest: ModelManifest
    description: ModelDescription

    @property
    def task(self) -> str:
        """The task that the model was trained on."""
        return self.description.plans.task

    @property
    def has_promptable(self) -> bool:
        """Whether the task's own promptable model is part of the model."""
        return self.description.promptable is not None

    @property
    def promptable_hash(self) -> str:
        """SHA-256 of the promptable model's weights; empty without one."""
        return self.manifest.files[PROMPTABLE_WEIGHTS].sha256 if self.has_promptable else ""

    def load_weights(self, configuration: Configuration, fold: int) -> dict[str, Tensor]:
        """Read a fold's `state_dict`, checked against manifest and plan.

        Raises:
            ModelError: the file is missing, or is not what manifest and plan say.
        """
        return self._load(name_weights(configuration, fold), self.description.plans.plan(configuration))

    def load_promptable_weights(self, record: PromptableRecord) -> dict[str, Tensor]:
        """Read the promptable model's `state_dict`; checks and errors as of `load_weights`."""
        return self._load(PROMPTABLE_WEIGHTS, record)

    def _load(self, name: str, plan: Plan | PromptableRecord) -> dict[str, Tensor]:
        from interactivepet.model.weights import unpack_weights

        content = _read_listed(self.path, self.manifest, name=name, source=self.source)
        return unpack_weights(plan, content, source=f"{self.source}: {name}")

    def verify(self) -> None:
        """Read every file.

        Raises:
            ModelError: one is not what manifest and plan say.
        """
        stored: dict[str, Plan | PromptableRecord] = {
            name_weights(configuration, record.fold): self.description.plans.plan(configuration)
            for configuration, folds in self.description.folds.items()
            for record in folds
        }
        if self.description.promptable is not None:
            stored[PROMPTABLE_WEIGHTS] = self.description.promptable
        for name in self.manifest.files:
            if name in stored:
                self._load(name, stored[name])
            else:
                _read_listed(self.path, self.manifest, name=name, source=self.source)


@contextmanager
def open_model(path: Path) -> Iterator[ModelFolder]:
    """Open a model, whether it is a folder or a zip file, which is extracted for as long as the block lasts.

    Raises:
        ModelError: it is damaged, hostile or no model.
    """
    if path.is_dir():
        yield open_folder(path)
        return
    with TemporaryDirectory(prefix="interactivepet-model-") as temporary:
        folder = Path(temporary) / "model"
        extract_archive(path, folder)
        yield open_folder(folder, source=path)


def open_folder(path: Path, *, source: Path | None = None) -> ModelFolder:
    """Read a model's manifest and description.

    Args:
        path: of the folder.
        source: what the user named, for messages; the folder unless given.

    Raises:
        ModelError: it is damaged, hostile or no model.
    """
    source = source or path
    if not (path / MANIFEST).is_file():
        raise ModelError(f"{source} is no model of interactivepet: it holds no {MANIFEST}")
    content = _read_bounded(path, MANIFEST, most=SMALL_BYTES, source=source)
    manifest = parse_manifest(content, source=str(source))
    text = _read_listed(path, manifest, name=DESCRIPTION, source=source)
    description = parse_record(text, ModelDescription, source=f"{source}: {DESCRIPTION}")
    check_limits(description, source=f"{source}: {DESCRIPTION}")
    wanted = {name_weights(name, record.fold) for name, folds in description.folds.items() for record in folds}
    if description.promptable is not None:
        wanted.add(PROMPTABLE_WEIGHTS)
    missing = sorted(wanted.difference(manifest.files))
    if missing:
        raise ModelError(f"{source}: {', '.join(missing)} is missing, which {DESCRIPTION} names; get the model again")
    return ModelFolder(path, source, manifest, description)


def _read_listed(folder: Path, manifest: ModelManifest, *, name: str, source: Path) -> bytes:
    """Read a file and compare it with the manifest."""
    expected = manifest.files[name]
    most = expected.size if name.endswith(".safetensors") else min(expected.size, SMALL_BYTES)
    content = _read_bounded(folder, name, most=most, source=source)
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise ModelError(
            f"{source}: {name} has SHA-256 {found[:16]}..., but {MANIFEST} says {expected.sha256[:16]}...: it was "
            "changed or damaged; get the model again"
        )
    return content


def _read_bounded(folder: Path, name: str, *, most: int, source: Path) -> bytes:
    path = folder / name
    links = [part for part in (path, *path.parents) if part != folder and folder in part.parents and part.is_symlink()]
    if links:
        raise ModelError(f"{source}: {links[0].relative_to(folder)} is a symbolic link; copy the file itself")
    if not path.is_file():
        raise ModelError(f"{source}: {name} is missing; get the model again")
    size = path.stat().st_size
    if size > most:
        raise ModelError(f"{source}: {name} has {size} bytes, expected at most {most}; get the model again")
    return path.read_bytes()
