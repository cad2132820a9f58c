"""A real `nninteractive-server` on the loopback device."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


@contextmanager
def serve(model_folder: Path, *, key: str, log: Path) -> Iterator[str]:
    """Start a server with one session for a model folder, and give its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("nninteractive-server"))
    options = f"--fold 0 --host 127.0.0.1 --port {port} --device cpu --no-torch-compile --torch-n-threads 1"
    arguments = [*options.split(), "--max-sessions", "1", "--model-dir", str(model_folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NN_INTERACTIVE_API_KEY": key}
    with log.open("wb") as stream:
        process = subprocess.Popen([program, *arguments], env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"nninteractive-server ended with {process.returncode}:\n{log.read_text()}")
        try:
            if httpx.get(f"{url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    pytest.fail(f"nninteractive-server was not ready in time:\n{log.read_text()}")
