"""Cases on their way from other people's folders into a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from interactivepet.core.artefact import Artefact
from interactivepet.core.case import Case
from interactivepet.core.interaction import Click

__all__ = ["ImportJob", "ImportRecord", "ImportSource", "ImportedCase"]


@dataclass(frozen=True, slots=True, eq=False)
class ImportedCase:
    """One case as the task will hold it.

    Attributes:
        case: image, grid and label.
        notes: file suffix -> text that is written beside the image, such as `suv.json` -> what was used.
        clicks: the clicks that came with the case; None when it came without any.
        remarks: what the user should know of how the files were read, one sentence each.
    """

    case: Case
    notes: Mapping[str, str] = field(default_factory=dict)
    clicks: tuple[Click, ...] | None = None
    remarks: tuple[str, ...] = ()


class ImportJob(Protocol):
    """One case that can be loaded; small enough to be sent to a worker."""

    @property
    def id(self) -> str:
        """The case's identifier in the task: letters, digits, `_` and `-`."""
        ...

    @property
    def patient(self) -> str | None:
        """Cases of one patient stay in one fold."""
        ...

    @property
    def subtype(self) -> str | None:
        """Folds are stratified by it."""
        ...

    def load(self) -> ImportedCase:
        """Read and convert the case.

        Raises:
            CaseError: it cannot be used; the message names files, what was found and how to mend it.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ImportSource:
    """What an importer found, before any voxel is read.

    Attributes:
        channels: names in channel order.
        labels: names of the values 1 ... L.
        training: cases with a label, or known to be without lesion.
        test: cases without a known answer.
        passed_over: files that are no part of any case, with the reason.
        layout: what the importer took the folder for, in words.
        remarks: what the user should know of how the folder was read, one sentence each.
        left_out: case, or file that belongs to no case -> why it cannot be used; only where bad cases are skipped.
    """

    channels: tuple[str, ...]
    labels: tuple[str, ...]
    training: tuple[ImportJob, ...]
    test: tuple[ImportJob, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    remarks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


class ImportRecord(Artefact):
    """What an import made of a folder, beside the task's `dataset.json`."""

    layout: str = ""
    """What the importer took the folder for, in words."""
    left_out: Mapping[str, str] = Field(default_factory=dict)
    """Case -> why it is not in the task; only `--skip-bad` leaves cases out."""
    remarks: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Case, or `-` for all of them -> how the files were read where that is worth knowing."""
    passed_over: Mapping[str, str] = Field(default_factory=dict)
    """File that is no part of any case -> why."""
