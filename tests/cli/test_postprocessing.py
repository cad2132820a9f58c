"""`interactivepet_postprocessing` and `interactivepet_run` as a user types them: what is registered."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from interactivepet.cli import postprocessing, run
from interactivepet.tracking.mlflow import default_uri
from interactivepet.tracking.store import open_client
from tests.tiny import TASK


@pytest.mark.parametrize("command", [postprocessing, run])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--champion", "none", "--no-register"], "--champion needs a registered model; leave --no-register out"),
        (["--champion", "corrected", "--no-corrections"], "leave --no-corrections out"),
        (["--champion", "best"], "invalid choice: 'best'"),
        (["--champion"], "expected one argument"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    command: object, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_task_is_registered_unless_it_is_left_out(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(copied / name))
    uri = default_uri(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    command = ["-t", TASK, "--no-tta", "--device", "cpu"]
    assert postprocessing.main([*command, "--no-register"]) == 0
    assert not (tmp_path / "other").exists()
    assert postprocessing.main([*command, "--champion", "extreme"]) == 0
    assert f"registered in MLflow as models:/{TASK}/1" in caplog.text
    assert f"models:/{TASK}: the champion is now version 1 (dice_extreme_nested" in caplog.text
    caplog.clear()
    assert postprocessing.main([*command, "--champion", "extreme"]) == 0
    assert "registered in MLflow" not in caplog.text
    assert "version 1 is the champion already" in caplog.text
    (model,) = open_client(uri).search_registered_models()
    assert [str(version.version) for version in model.latest_versions] == ["1"]
