"""A task on disk: its channels, labels and cases, and what may be wrong with them."""

from __future__ import annotations

from typing import Literal

from interactivepet.core.artefact import Artefact, Record

__all__ = ["CaseEntry", "DatasetManifest", "Issue", "IssueList", "Severity"]

Severity = Literal["error", "note"]
"""An error stops the walk; a note is for the user to know, such as a case without any lesion."""


class CaseEntry(Record):
    """One case's files, relative to the task's folder, with `/` as separator."""

    id: str
    """Unique in the task; the file name without channel suffix and ending."""
    images: tuple[str, ...]
    """One file a channel in channel order, or a single file that holds every channel."""
    label: str | None = None
    """The label file; None for a test case without a known answer."""
    patient: str | None = None
    """Cases of one patient stay in one fold."""
    subtype: str | None = None
    """Folds are stratified by it (tracer, diagnosis, scanner ...)."""

    @property
    def files(self) -> tuple[str, ...]:
        """The images, then the label where there is one."""
        return (*self.images, self.label) if self.label else self.images


class DatasetManifest(Artefact):
    """The content of `dataset.json`, in either of the two Decathlon layouts."""

    task: str
    """Name of the folder, such as `Task501_STSPET`."""
    channels: tuple[str, ...]
    """Names in channel order, such as ("PET", "CT"); they choose the normalisation."""
    labels: dict[str, int]
    """Name -> value of every label except the background, in rising order of the values 1 ... L."""
    file_ending: str
    """Such as `.nii.gz`, with the dot."""
    training: tuple[CaseEntry, ...]
    test: tuple[CaseEntry, ...] = ()

    @property
    def label_values(self) -> tuple[int, ...]:
        """Values of all labels in rising order."""
        return tuple(sorted(self.labels.values()))

    def entry(self, case_id: str) -> CaseEntry:
        """Give the training or test entry of a case.

        Raises:
            KeyError: no case has this identifier.
        """
        for entry in (*self.training, *self.test):
            if entry.id == case_id:
                return entry
        raise KeyError(case_id)


class Issue(Record):
    """One observation about one case, found by verification."""

    case: str
    """The case's identifier, or `-` for the task as a whole."""
    kind: str
    """Short machine-readable name, such as `grid`, `nan`, `label-value`, `missing-file`."""
    found: str
    expected: str
    remedy: str
    severity: Severity = "error"
    """Whether it stops the walk."""


class IssueList(Artefact):
    """Everything verification found. `made_from` is the stamp of the task's files."""

    task: str
    n_cases: int
    issues: tuple[Issue, ...] = ()

    @property
    def errors(self) -> tuple[Issue, ...]:
        """What stops the walk; the task is sound when there is nothing here."""
        return tuple(issue for issue in self.issues if issue.severity == "error")
