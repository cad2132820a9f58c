"""A server ends with its command, whatever ends that, and the next one finds a port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interactivepet.errors import SettingsError
from interactivepet.tracking.server import reserve_port, run_server

PROGRAM = "import sys; from interactivepet.tracking.server import run_server; sys.exit(run_server(sys.argv[1:]))"
"""A command that runs a server."""
SERVER = """
import pathlib, socket, subprocess, sys, time, signal
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "worker" not in sys.argv:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    worker = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "worker"], pass_fds=[listener.fileno()])
    started = pathlib.Path(sys.argv[1])
    started.with_suffix(".new").write_text(f"{listener.getsockname()[1]} {worker.pid}")
    started.with_suffix(".new").rename(started)
time.sleep(600)
"""
"""A server that hands its port to a worker."""


def choose(host: str, port: int, *, is_fixed: bool) -> int:
    with reserve_port(host, port, is_fixed=is_fixed) as chosen:
        return chosen


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("option", ["", "deaf"])
def test_nothing_of_a_server_is_left(number: signal.Signals, option: str, tmp_path: Path) -> None:
    script, started = tmp_path / "server.py", tmp_path / "started.txt"
    script.write_text(SERVER)
    command = [sys.executable, "-c", PROGRAM, sys.executable, str(script), str(started), option]
    with subprocess.Popen(command) as process:
        while not started.exists() and process.poll() is None:
            time.sleep(0.05)
        port, worker = map(int, started.read_text().split())
        process.send_signal(number)
        assert process.wait(timeout=30) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert choose("127.0.0.1", port, is_fixed=True) == port


def test_a_server_that_ends_by_itself_gives_its_status() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_server([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_next_free_port_is_found(taken: int) -> None:
    assert taken < choose("127.0.0.1", taken, is_fixed=False) <= taken + 100


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be held for a server")
def test_a_port_is_held_for_a_server_that_has_not_started_yet(taken: int) -> None:
    with reserve_port("127.0.0.1", taken, is_fixed=False) as port:
        assert choose("127.0.0.1", port, is_fixed=False) != port
        with pytest.raises(SettingsError, match=f"port {port} is in use by another process"):
            choose("127.0.0.1", port, is_fixed=True)
        with socket.socket() as server, socket.socket() as client:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
            client.connect(("127.0.0.1", port))
            server.accept()[0].close()
    # the connection has just ended on the server's side
    assert choose("127.0.0.1", port, is_fixed=True) == port


def test_who_has_a_port_that_was_asked_for_is_told(taken: int) -> None:
    owner = rf"process {os.getpid()} \(" if Path("/proc/net/tcp").exists() else "another process"
    with pytest.raises(SettingsError, match=rf"port {taken} is in use by {owner}.*--port"):
        choose("127.0.0.1", taken, is_fixed=True)


def test_an_address_of_another_machine_is_no_port_in_use() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:5000 cannot be listened on"):
        choose("192.0.2.1", 5000, is_fixed=False)


def test_an_address_that_does_not_exist_is_named() -> None:
    with pytest.raises(SettingsError, match=r"--host no\.such\.host\.invalid is no address"):
        choose("no.such.host.invalid", 5000, is_fixed=False)
