"""What is known of the files that everything is made from."""

from __future__ import annotations

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record

__all__ = ["FileList", "StampedFile"]


class StampedFile(Record):
    """A file that was stamped."""

    size: int
    """Bytes."""
    time_ns: int
    """Time of change when its content was hashed."""
    sha256: str
    """Of its content."""
    first_ns: dict[str, int]
    """SHA-256 of each content that it had -> time of change when it was seen with it first."""


class FileList(Artefact):
    """The files that a task's stamps were made of."""

    files: dict[str, StampedFile] = Field(default_factory=dict)
    """`raw/...`, `processed/...` or `results/...` within the task, any other file by its whole path."""
