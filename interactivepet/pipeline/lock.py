"""Keep two processes from writing one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interactivepet.errors import TrainingError

__all__ = ["PATIENCE_S", "lock_folder"]

PATIENCE_S = 3600.0
"""How long one process waits for another that makes what both of them need."""


@contextmanager
def lock_folder(folder: Path, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Have a folder alone; the lock of a killed process is free at once.

    Raises:
        TrainingError: another process has it for longer than `timeout_s`.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=timeout_s):
            yield
    except filelock.Timeout as error:
        raise TrainingError(f"{folder} is in use by another process; wait for it or stop it") from error
