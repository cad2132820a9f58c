"""A tracker that listens to nothing, for tests of what is tracked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class NullTracker:
    """A `Tracker` that keeps nothing."""

    def start_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str | None:
        """Give None: there is no run."""
        return None

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Keep nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Keep nothing."""

    def log_picture(self, name: str, png: bytes) -> None:
        """Keep nothing."""

    def log_file(self, path: Path) -> None:
        """Keep nothing."""

    def log_text(self, name: str, text: str) -> None:
        """Keep nothing."""

    def end_run(self, *, failed: bool = False) -> None:
        """Do nothing."""
