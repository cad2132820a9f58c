"""Which runs of the experiment tracker belong to a task."""

from __future__ import annotations

from interactivepet.core.artefact import Artefact

__all__ = ["TrackedRuns"]


class TrackedRuns(Artefact):
    """The content of `runs.json`: it only serves to show later steps under the same parent run."""

    task: str
    uri: str
    """Of the store that knows the run."""
    cross_validation: str | None
    """The parent run of all folds; None when the store could not be reached."""
