"""What every JSON file of the pipeline has in common: a schema, a version and a chain of hashes."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict

from interactivepet.version import __version__

__all__ = ["Artefact", "Record"]


class Record(BaseModel):
    """A part of an artefact: immutable, and refusing fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Artefact(Record):
    """A JSON file of the pipeline.

    The chain fingerprint -> plan -> card -> ensemble rule is checked by hashes: an artefact
    carries in `made_from` the `content_hash` of what it was computed from.
    """

    schema_version: int = 1
    """Raised whenever a field changes its meaning."""
    package_version: str = __version__
    """Version of interactivepet that wrote the file."""
    made_from: str = ""
    """`content_hash` of the artefact that this one was computed from; empty at the start of the chain."""

    def content_hash(self) -> str:
        """Hash the content, 16 hexadecimal digits, whoever wrote it and whatever it was made from.

        An artefact that is made again with the same content keeps its hash, so what follows stays valid.
        """
        text = self.model_dump_json(exclude={"package_version", "made_from"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]
