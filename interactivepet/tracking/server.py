"""MLflow's server as a process of its own that ends with the command that started it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from interactivepet.errors import SettingsError

__all__ = ["choose_port", "run_server"]

LAST_PORT = 65535
_PORTS_TRIED = 100
"""How many ports from the first one on are looked at."""
_PATIENCE_S = 5.0
"""How long the processes of a server may take to end by themselves."""
_STEP_S = 0.1
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
_LISTENING = "0A"
"""State of a listening socket in Linux's table of connections."""


def choose_port(host: str, port: int, *, is_fixed: bool) -> int:
    """Choose a free port: the one given, or the next free one when it need not be that one.

    Raises:
        SettingsError: no port is free, and which process has the one that was asked for; or no such address.
    """
    last = port if is_fixed else min(port + _PORTS_TRIED, LAST_PORT)
    free = next((number for number in range(port, last + 1) if _is_free(host, number)), None)
    if free is None:
        owner = _find_owner(port) or "another process"
        raise SettingsError(f"port {port} is in use by {owner}; stop it, or choose another with --port")
    return free


def run_server(command: Sequence[str]) -> int:
    """Run a server until it ends, or until SIGTERM, SIGINT or SIGHUP; then no process that it started is left.

    Returns:
        Its exit status, or 128 and the number of the signal.
    """
    with _catch_signals() as caught:
        # a session of its own: its workers get no signal but ours, and can be found by their group
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                while process.poll() is None and not caught:
                    time.sleep(_STEP_S)
            finally:
                _end_group(process)
        return 128 + caught[0] if caught else process.returncode


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"--host {host} is no address of this machine ({error}); try 127.0.0.1") from error
    with socket.socket(family, kind, protocol) as trial:
        # as servers do: connections that have just ended are no obstacle
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise SettingsError(
                f"{host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port"
            ) from error
    return True


@contextmanager
def _catch_signals() -> Iterator[list[int]]:
    """Give a list that takes the signals which would have ended this process."""
    caught: list[int] = []
    before = {number: signal.signal(number, lambda received, _: caught.append(received)) for number in _SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that share its group; those that take too long are killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and _is_group_alive(process):
            time.sleep(_STEP_S)


def _is_group_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _find_owner(port: int) -> str | None:
    """Find the process that listens on a port, as Linux lists it; None where that cannot be told."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            inodes |= {row[9] for row in rows if row[3] == _LISTENING and row[1].endswith(f":{port:04X}")}
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with suppress(OSError):
            target = os.readlink(link)  # noqa: PTH115
            if target.startswith("socket:[") and target[8:-1] in inodes:
                words = (link.parent.parent / "cmdline").read_text(errors="replace").split("\0")
                return f"process {link.parent.parent.name} ({' '.join(words).strip()[:80]})"
    return None
