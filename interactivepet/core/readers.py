"""Masks of several readers compared with each other: `readers.json`."""

from __future__ import annotations

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record

__all__ = ["ReaderCase", "ReaderPair", "ReaderQuality", "ReadersReport"]


class ReaderPair(Record):
    """Two readers."""

    first: str
    second: str
    dice: float | None
    """Of their masks of one case, or the mean over the cases where it is defined; None when both are empty."""


class ReaderQuality(Record):
    """One reader against the consensus, as STAPLE estimates both together."""

    reader: str
    sensitivity: float | None
    """Share of the consensus that the reader marked; None without any mark of any reader."""
    specificity: float | None
    """Share of the background near the masks that the reader left out."""


class ReaderCase(Record):
    """One label of one case."""

    case: str
    label: str
    volumes_ml: dict[str, float]
    """Reader -> volume."""
    consensus_ml: float
    volume_cv_percent: float | None
    """Coefficient of variation: standard deviation (n - 1) of the volumes over their mean; None when all are 0."""
    pairs: tuple[ReaderPair, ...]
    qualities: tuple[ReaderQuality, ...]


class ReadersReport(Artefact):
    """The content of `readers.json`."""

    readers: tuple[str, ...]
    cases: tuple[ReaderCase, ...]
    """Case by case and label by label."""
    pairs: dict[str, tuple[ReaderPair, ...]] = Field(default_factory=dict)
    """Label -> mean Dice of each pair over the cases."""
    mean_volume_cv_percent: dict[str, float | None] = Field(default_factory=dict)
    """Label -> mean over the cases where it is defined."""
    failed: dict[str, str] = Field(default_factory=dict)
    """Case -> why it could not be compared."""
