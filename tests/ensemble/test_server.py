"""The same model behind a real `nninteractive-server` on the loopback device."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.ensemble.nninteractive import open_segmenter
from interactivepet.errors import SegmenterError

KEY = "a-key-of-the-test"


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
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


@pytest.fixture(scope="module")
def server_url(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    program = str(Path(sys.executable).with_name("nninteractive-server"))
    options = f"--fold 0 --host 127.0.0.1 --port {port} --device cpu --no-torch-compile --torch-n-threads 1"
    arguments = [*options.split(), "--max-sessions", "1", "--model-dir", str(model_folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NN_INTERACTIVE_API_KEY": KEY}
    with log.open("wb") as stream:
        process = subprocess.Popen([program, *arguments], env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def test_the_server_gives_what_the_folder_gives(
    server_url: str, model_folder: Path, make_case: Callable[..., Case], click: Callable[..., Click]
) -> None:
    case = make_case(9)
    clicks = [
        click(case, (14, 16, 15)),
        click(case, (30, 24, 16)),
        click(case, (20, 5, 8), is_positive=False),
        click(case, (30, 24, 16), label=2),
    ]
    with open_segmenter(server_url, labels=(1, 2), api_key=KEY) as remote:
        assert remote.name == server_url
        assert remote.licence == "MIT"
        found = remote.segment(case, clicks)
    with open_segmenter(str(model_folder), labels=(1, 2)) as local:
        expected = local.segment(case, clicks)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert found.probabilities[1].any()
    assert found.geometry.matches(case.geometry)


# A client that is refused leaves its connection to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_wrong_key_and_a_full_server_are_named(server_url: str) -> None:
    with pytest.raises(SegmenterError, match="401"):
        open_segmenter(server_url, labels=(1,), api_key="another")
    with (
        open_segmenter(server_url, labels=(1,), api_key=KEY),
        pytest.raises(SegmenterError, match="ServerAtCapacityError"),
    ):
        open_segmenter(server_url, labels=(1,), api_key=KEY)
    open_segmenter(server_url, labels=(1,), api_key=KEY).close()
    gc.collect()
