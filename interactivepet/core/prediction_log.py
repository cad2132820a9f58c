"""Which masks in a folder were made from which inputs, so that an interrupted prediction goes on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from interactivepet.core.artefact import Artefact

__all__ = ["PredictionLog"]


class PredictionLog(Artefact):
    """`predictions.json` beside the masks. `made_from` hashes the models, the rule and the options."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"failed", "skipped"})

    task: str
    models: str
    """Names and licences of everything that took part."""
    cases: dict[str, str]
    """Case -> hash of its image and clicks; only cases listed here are up to date."""
    n_clicks: dict[str, int]
    """Case -> number of clicks that it was predicted with."""
    failed: dict[str, str] = Field(default_factory=dict)
    """Case -> why its last prediction failed; the next run tries it again."""
    skipped: dict[str, float] = Field(default_factory=dict)
    """Case -> share in [0, 1] of the network's runs that were left out, as they would have seen air."""
