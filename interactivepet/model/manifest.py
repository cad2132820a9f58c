"""The list of a model's files, `manifest.json`, and the limits that every file keeps."""

from __future__ import annotations

import json
import re
from typing import Annotated, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from interactivepet.core.artefact import Artefact, Record, explain_refusal
from interactivepet.errors import ModelError

__all__ = [
    "DESCRIPTION",
    "LICENCE",
    "MANIFEST",
    "MODEL_CARD",
    "SMALL_BYTES",
    "TEXTS",
    "ModelFile",
    "ModelManifest",
    "is_name",
    "parse_manifest",
    "parse_record",
]

MANIFEST, DESCRIPTION, MODEL_CARD, LICENCE = "manifest.json", "model.json", "MODEL_CARD.md", "LICENSE"
TEXTS = (DESCRIPTION, MODEL_CARD, LICENCE)
"""What every model has besides its manifest and weights."""

SMALL_BYTES = 4 * 2**20
"""Most bytes of any file but weights: the largest real one has some 50 kB."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_FILE = r"(?:model\.json|MODEL_CARD\.md|LICENSE|weights/[a-z0-9_]{1,40}/fold_[0-9]{1,4}\.safetensors)"

R = TypeVar("R", bound=Artefact)


class ModelFile(Record):
    """One file of a model."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: int = Field(ge=0)
    """In bytes."""


class ModelManifest(Artefact):
    """The content of `manifest.json`: every other file of the model."""

    name: Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
    """Under which the model is installed unless the user chooses another."""
    files: dict[Annotated[str, StringConstraints(pattern=f"^{_FILE}$")], ModelFile]
    """Path inside the model -> what it must hold."""


def is_name(text: str) -> bool:
    """Whether a text can name a model: letters, digits, dot, hyphen and underscore."""
    return re.fullmatch(_NAME, text) is not None


def parse_manifest(content: bytes, *, source: str) -> ModelManifest:
    """Read `manifest.json`.

    Args:
        content: of the file.
        source: the model, for error messages.

    Raises:
        ModelError: it is no manifest, a newer version wrote it, or it lacks a file that every model has.
    """
    manifest = parse_record(content, ModelManifest, source=f"{source}: {MANIFEST}")
    missing = [name for name in TEXTS if name not in manifest.files]
    if missing:
        raise ModelError(f"{source}: {MANIFEST} lists no {', '.join(missing)}; get the model again")
    return manifest


def parse_record(content: bytes, kind: type[R], *, source: str) -> R:
    """Read one of a model's JSON files.

    Raises:
        ModelError: it does not parse, or a newer version wrote it.
    """
    _refuse_newer(content, kind, source=source)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        try:
            cause = explain_refusal(error, kind, content=content)
        except ValueError:
            cause = "it is no JSON"
        raise ModelError(f"{source}: {cause}, expected a {kind.__name__}; get the model again") from error


def _refuse_newer(content: bytes, kind: type[Artefact], *, source: str) -> None:
    """Refuse a newer schema before its unknown fields are, which would say less."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source} is no JSON ({error}); get the model again") from error
    version = found.get("schema_version", 1) if isinstance(found, dict) else 1
    known = kind.model_fields["schema_version"].default
    if isinstance(version, int) and version > known:
        raise ModelError(
            f"{source}: schema_version {version} of interactivepet {found.get('package_version', 'unknown')}, expected "
            f"{known}; install that version of interactivepet, or a newer one"
        )
