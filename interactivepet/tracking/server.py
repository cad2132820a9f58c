"""MLflow's server as a process of its own that ends with the command that started it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from interactivepet.errors import SettingsError

__all__ = ["reserve_port", "run_server"]

LAST_PORT = 65535
_PORTS_TRIED = 100
"""How many ports from the first one on are looked at."""
_PATIENCE_S = 5.0
"""How long the processes of a server may take to end by themselves."""
_STEP_S = 0.1
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
_LISTENING, _ENDED = "0A", "06"
"""States in Linux's table of connections: a server's socket, and a connection that was closed a moment ago."""


@contextmanager
def reserve_port(host: str, port: int, *, is_fixed: bool) -> Iterator[int]:
    """Reserve a free port for a server: the one given, or the next free one when it need not be that one.

    The server takes long until it listens. Until then, and as long as the block lasts, no other start takes the port.

    Raises:
        SettingsError: no port is free, and which process has the one that was asked for; or no such address.
    """
    last = port if is_fixed else min(port + _PORTS_TRIED, LAST_PORT)
    for number in range(port, last + 1):
        holder = _bind(host, number)
        if holder is not None:
            with holder:
                if sys.platform != "linux":
                    # elsewhere the server could not have a port that is held
                    holder.close()
                yield number
            return
    owner = _find_owner(port) or "another process"
    raise SettingsError(f"port {port} is in use by {owner}; stop it, or choose another with --port")


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


def _bind(host: str, port: int) -> socket.socket | None:
    """Hold a port, so that a server which reuses addresses can still have it; None when it is in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"--host {host} is no address of this machine ({error}); try 127.0.0.1") from error
    holder = socket.socket(family, kind, protocol)
    try:
        if _list_sockets(port, state=_ENDED) and not _list_sockets(port, state=_LISTENING):
            # connections of a server that has ended hold the port for a minute, but not against others
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(address)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise SettingsError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port"
        ) from error
    return holder


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


def _list_sockets(port: int, *, state: str) -> set[str]:
    """List the sockets of a port in a state, by their inodes, as Linux has them; none where that cannot be told."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            inodes |= {row[9] for row in rows if row[3] == state and row[1].endswith(f":{port:04X}")}
    return inodes


def _find_owner(port: int) -> str | None:
    """Find the process that listens on a port; None where that cannot be told."""
    inodes = _list_sockets(port, state=_LISTENING)
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with suppress(OSError):
            target = os.readlink(link)  # noqa: PTH115
            if target.startswith("socket:[") and target[8:-1] in inodes:
                words = (link.parent.parent / "cmdline").read_text(errors="replace").split("\0")
                return f"process {link.parent.parent.name} ({' '.join(words).strip()[:80]})"
    return None
