"""Log lines and progress bars on standard error, each on lines of its own."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import Any, TextIO

__all__ = ["BarLines", "LogHandler", "collect_warnings", "is_configured", "open_console", "start_console"]

FORMAT = "%(levelname)s %(name)s: %(message)s"
NOISY = ("alembic", "mlflow", "httpx", "highdicom", "numexpr")
SECONDS_BETWEEN_LINES = 10.0
"""A bar is repeated after this time where it cannot be redrawn, as in a file."""
CURSOR_MOVES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
CLEAR_LINE = "\r\x1b[K"


class BarLines:
    """Standard error that is no terminal: progress bars become whole lines, now and then and when they are complete.

    A bar redraws itself after a carriage return. In a file or a pipe that would put it and the next log line on one
    line, where filters that go by lines lose the latter.
    """

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream; everything but bars is passed on as it is."""
        self._stream = stream
        self._is_line_open = False
        self._shown: dict[str, float] = {}
        self._complete: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or note the state of a bar."""
        plain = CURSOR_MOVES.sub("", text)
        if plain.startswith("\r"):
            self._show_bar(plain.strip())
        elif plain.strip("\n") or self._is_line_open:
            self._stream.write(plain)
            self._is_line_open = not plain.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def _show_bar(self, bar: str) -> None:
        if not bar:
            return
        name = bar.partition(":")[0]
        is_complete, now = "100%" in bar, time.monotonic()
        is_due = now - self._shown.setdefault(name, now) >= SECONDS_BETWEEN_LINES
        was_complete = name in self._complete
        (self._complete.add if is_complete else self._complete.discard)(name)
        if (is_complete and not was_complete) or (is_due and not is_complete):
            self._shown[name] = now
            self._stream.write(f"{bar}\n")


class LogHandler(logging.Handler):
    """Writes each record as a line of its own; bars of this process make room for it.

    Args:
        is_worker: another process draws bars on the same terminal, whose line is cleared first.
    """

    def __init__(self, *, is_worker: bool = False) -> None:
        """Write to what is standard error at the time."""
        super().__init__()
        self._is_worker = is_worker
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            start = CLEAR_LINE if self._is_worker and sys.stderr.isatty() else ""
            with _make_room():
                sys.stderr.write(f"{start}{self.format(record)}\n")
                sys.stderr.flush()
        except Exception:
            self.handleError(record)


class _Collector(logging.Handler):
    """Adds the message of every warning to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


@contextmanager
def open_console() -> Iterator[None]:
    """Log to standard error, and let bars be lines where it is no terminal, for the time of a command."""
    lines: Any = nullcontext() if _is_terminal() else redirect_stderr(BarLines(sys.stderr))
    with lines:
        _configure(LogHandler())
        yield


def start_console() -> None:
    """Do the same in a worker process, for all of its life."""
    if not _is_terminal():
        sys.stderr = BarLines(sys.stderr)
    _configure(LogHandler(is_worker=True))


def is_configured() -> bool:
    """Whether a command of this project logs in this process, so that its workers should too."""
    return any(isinstance(handler, LogHandler) for handler in logging.getLogger().handlers)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Give a list that holds the message of every warning that the package logs meanwhile; they are logged as well."""
    messages: list[str] = []
    handler, package = _Collector(messages), logging.getLogger("interactivepet")
    package.addHandler(handler)
    try:
        yield messages
    finally:
        package.removeHandler(handler)


def _configure(handler: LogHandler) -> None:
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_terminal() -> bool:
    return sys.stderr is None or sys.stderr.isatty()


def _make_room() -> Any:
    """Clear the bars that this process draws, and redraw them afterwards."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(file=sys.stderr)
