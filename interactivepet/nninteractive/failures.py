"""What nnInteractive's sessions do and callers should not see: prints, exceptions of any kind, silence."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase

from interactivepet.errors import InteractivePetError, SegmenterError

__all__ = ["ANSWER_S", "NOTICE_S", "is_timeout", "named_failures", "quiet", "tell_wait"]

_LOG = logging.getLogger(__name__)

ANSWER_S = 60.0
"""How long a server may take to answer."""
NOTICE_S = 3.0
"""After so long it is told who is waited for."""


class _LogStream(TextIOBase):
    """A text stream whose lines become debug records: nnInteractive prints where it should log."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _LOG.debug("nnInteractive: %s", line)
        return len(text)


@contextmanager
def quiet(n_threads: int | None) -> Iterator[None]:
    """Send what is printed to the log, and keep a change of torch's process-wide threads inside."""
    with redirect_stdout(_LogStream()):
        if n_threads is None:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def named_failures(what: str, advice: str) -> Iterator[None]:
    """Turn whatever nnInteractive raises into a `SegmenterError` that says what failed.

    Its sessions promise no exception types (AssertionError, KeyError, RuntimeError, httpx errors were all
    seen), so every one is translated; the original stays attached as the cause.
    """
    try:
        yield
    except InteractivePetError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if is_timeout(error):
            advice = f"{advice}; where it is only slow, raise interactivepet_nninteractive_timeout"
        raise SegmenterError(f"{what} ({found}); {advice}") from error


def is_timeout(error: BaseException) -> bool:
    """Whether a server has not answered in time."""
    # the client of a server has imported it; a local session does without
    httpx = sys.modules.get("httpx")
    if httpx is None:
        return False
    return isinstance(error, httpx.TimeoutException) or isinstance(error.__cause__, httpx.TimeoutException)


@contextmanager
def tell_wait(name: str, timeout_s: float | None) -> Iterator[None]:
    """Tell who is waited for when a server takes long; a local session, without a time, is not waited for."""
    if timeout_s is None:
        yield
        return
    message = "waiting for an answer of %s, at most %g s (interactivepet_nninteractive_timeout)"
    timer = threading.Timer(NOTICE_S, _LOG.warning, (message, name, timeout_s))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
