from __future__ import annotations

import sys

import pytest

from interactivepet.inference import progress
from interactivepet.inference.progress import show_progress


def show(n_passes: int) -> None:
    with show_progress("STS_001", n_passes) as tick:
        for _ in range(n_passes):
            tick(1)


def test_a_quick_case_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show(20)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_case_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "TERMINAL_S", (0.0, 0.0))
    show(20)
    shown = capsys.readouterr().err
    assert "STS_001:" in shown
    assert "/20 [" in shown
    assert "<" in shown


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_S", (0.0, 3600.0))
    show(200)
    assert capsys.readouterr().err.count("STS_001:") == 1
    assert progress.LOG_S[1] >= 10 * progress.TERMINAL_S[1]
