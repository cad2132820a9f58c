"""Clicks from standard input, as a program in a pipe sends them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from interactivepet.cli import predict
from interactivepet.dataset.files.read import read_mask
from tests.tiny import TASK


@pytest.fixture
def image(finished: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A test image of a finished walk, in an empty folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(finished[0] / name))
    monkeypatch.setenv("interactivepet_n_proc", "1")
    monkeypatch.delenv("interactivepet_task", raising=False)
    return finished[0] / "raw" / TASK / "imagesTs" / "TINY_006_0000.nii.gz"


def test_every_line_is_answered_by_a_line(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["+ 3 3 3", "", "what?", "- 3 3 3", "- 99 3 3", "undo", "quit", "+ 5 5 5"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    out = tmp_path / "mask.nii.gz"
    command = ["--interactive", "-i", str(image), "-o", str(out), "--frame", "voxel", "--fast", "--device", "cpu"]
    assert predict.main(command) == 0
    ready, first, nonsense, second, outside, undone = capsys.readouterr().out.splitlines()
    assert ready == "ready: TINY_006, 24 x 22 x 20 voxels of 4 x 4 x 5 mm"
    assert re.fullmatch(r"\d+\.\d\d ml, \d+\.\d\d s, 1 clicks, unmet: none", first)
    assert nonsense.startswith("error: cannot read 'what?'")
    assert re.search(r"2 clicks, unmet: \+ -?[\d.]+ -?[\d.]+ -?[\d.]+ 1$", second)
    assert outside.startswith("error: TINY_006: ")
    assert undone.split(",")[0] == first.split(",")[0]
    assert read_mask(out)[0][3, 3, 3] == 1


def test_the_end_of_the_input_ends_the_command(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert predict.main(["--interactive", "-i", str(image), "-o", str(tmp_path / "mask.nrrd"), "--no-tta"]) == 0
    assert capsys.readouterr().out.startswith("ready")


def test_paths_are_needed_and_click_files_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--interactive"], ["--interactive", "-i", "a", "-o", "b", "-in", "c"]):
        with pytest.raises(SystemExit) as stopped:
            predict.main(arguments)
        assert stopped.value.code == 2
        assert "--interactive needs -i IMAGE and -o MASK" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--fast"], ["--interactive", "-i", "a", "-o", "b", "--save-probabilities"]])
def test_options_that_would_do_nothing_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict.main(arguments)
    assert stopped.value.code == 2
    assert "--interactive" in capsys.readouterr().err
