"""JSON that users provide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interactivepet.errors import ArtefactError, MissingArtefactError

__all__ = ["parse_json", "read_json", "read_object"]


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or no JSON.
    """
    return parse_json(path.read_text(encoding="utf-8-sig"))


def read_object(path: Path, *, kind: str, example: str) -> dict[str, Any]:
    """Read a JSON file that should hold an object.

    Args:
        path: the file.
        kind: what it should hold, such as `plan`, for the error message.
        example: name of a file that holds one, likewise.

    Raises:
        MissingArtefactError: there is no such file.
        ArtefactError: it is no JSON, or holds something else than an object.
    """
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise MissingArtefactError(f"{path} is not there; give a {example}") from error
    except ValueError as error:
        raise ArtefactError(f"{path} is no JSON ({error}); give a {example}") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} holds no {kind}; give a {example}")
    return content


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is no JSON, or its lists and objects are nested more deeply than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error
