"""What training tells an experiment tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

__all__ = ["Tracker"]


class Tracker(Protocol):
    """A window on running work, one run at a time.

    No method raises because the tracker's store is slow, full or gone: a lost curve is a pity, a lost
    training is not acceptable.
    """

    def start_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str | None:
        """Start a run, or take up the one that was interrupted.

        Args:
            name: how the run is called in the list of runs.
            parent: identifier of the run that this one is shown under.
            run_id: identifier of the run to continue; a new run starts when it is not known any more.
            tags: short texts to filter runs by.

        Returns:
            The run's identifier, or None when nothing is being tracked.
        """
        ...

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Log what the run was asked to do; nested mappings are joined with dots, values become text."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log one value of each curve, at `step` (the epoch) if there is one."""
        ...

    def log_picture(self, name: str, png: bytes) -> None:
        """Log an encoded PNG under `name`, which may hold folders: `validation/CASE.png`."""
        ...

    def log_file(self, path: Path) -> None:
        """Log a copy of a file."""
        ...

    def log_text(self, name: str, text: str) -> None:
        """Log a text as the file `name`, which may hold folders."""
        ...

    def end_run(self, *, failed: bool = False) -> None:
        """Close the current run, as failed or as finished."""
        ...
