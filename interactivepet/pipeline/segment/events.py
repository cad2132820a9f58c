"""What happened to a case and how long it took, as one line of JSON per event; no name or identifier is in it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Events"]


class Events:
    """Takes note of the steps of one case.

    Attributes:
        case: a code that identifies nobody; it is in the `CASE.json` of the results too.
    """

    def __init__(self, case: str, path: Path | None = None) -> None:
        """Write to a file, after what it already holds; None writes nothing."""
        self.case = case
        self._path = path

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note a step when it ends, or that it failed."""
        start, status = time.perf_counter(), "failed"
        try:
            yield
            status = "done"
        finally:
            self._write(name, status=status, seconds=time.perf_counter() - start)

    def _write(self, step: str, *, status: str, seconds: float) -> None:
        if self._path is None:
            return
        event = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "case": self.case,
            "step": step,
            "status": status,
            "seconds": round(seconds, 3),
            "peak_memory_mb": _measure_peak_mb(),
        }
        # one short write of a whole line, so that lines of several processes do not mix
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")


def _measure_peak_mb() -> float | None:
    """Measure the largest memory that this process has had, where the system tells."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
