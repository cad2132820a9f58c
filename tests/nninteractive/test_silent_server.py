"""A server that accepts and never answers: who is waited for is told, and it is given up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.errors import SegmenterError
from interactivepet.nninteractive import failures
from interactivepet.nninteractive.failures import ANSWER_S, NOTICE_S
from interactivepet.nninteractive.segmenter import open_segmenter
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.settings import Settings

CAPABILITIES = {
    "supported_interactions": {},
    "channel_mapping": {},
    "num_interaction_channels": 7,
    "supports_initial_label": False,
    "supports_zero_shot_label_refinement": False,
    "preferred_scribble_thickness": [1, 1, 1],
    "interaction_decay": 0.9,
    "inference_session_version": "1",
    "license": "MIT",
}


@pytest.fixture(autouse=True)
def notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "NOTICE_S", 0.2)


@pytest.fixture
def silent_url() -> Iterator[str]:
    """An address at which connections are accepted, and nothing else happens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def falling_silent_url() -> Iterator[str]:
    """A server that gives a session, and never answers what it is asked in it."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path.endswith("/claim"):
                self._answer({"lease_token": "token"})
            else:
                over.wait()

        def do_GET(self) -> None:
            self._answer(CAPABILITIES)

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def test_a_silent_server_is_given_up(silent_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SegmenterError, match=rf"{silent_url}: no nnInteractive session .*_nninteractive_timeout"):
        open_segmenter(silent_url, labels=(1,), timeout_s=1.0)
    assert f"waiting for an answer of {silent_url}, at most 1 s" in caplog.text


def test_a_server_that_falls_silent_is_given_up_once(
    falling_silent_url: str,
    make_case: Callable[..., Case],
    click: Callable[..., Click],
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = make_case(9)
    with open_segmenter(falling_silent_url, labels=(1,), timeout_s=1.0) as segmenter:
        caplog.clear()
        with pytest.raises(SegmenterError, match=r"failed \(ReadTimeout.*interactivepet_nninteractive_timeout"):
            segmenter.segment(case, [click(case, (14, 16, 15))])
        assert f"waiting for an answer of {falling_silent_url}" in caplog.text
        assert "claiming another session" not in caplog.text


def test_the_source_passes_the_time_on(silent_url: str) -> None:
    source = PromptableSource(silent_url, timeout_s=0.5)
    with pytest.raises(SegmenterError, match="ReadTimeout"):
        source.open(labels=(1,), device="cpu", n_threads=1)


def test_a_server_is_waited_for_a_minute_and_told_of_within_five_seconds() -> None:
    assert Settings.model_fields["nninteractive_timeout"].default == ANSWER_S == 60
    assert NOTICE_S < 5
