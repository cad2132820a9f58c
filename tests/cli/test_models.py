"""Models as a user types them, without any folder of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.cli import install_model, models, predict
from tests.model.models import write_model


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of installed models of a user who has no task, in a working directory without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.setenv("interactivepet_models", str(tmp_path / "store"))
    return tmp_path / "store"


def test_what_is_installed_is_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main([]) == 0
    assert f"no model is installed in {store}; install one with interactivepet_install_model" in capsys.readouterr().out
    write_model(Path("a.zip"))
    assert install_model.main(["a.zip", "--name", "mine"]) == 0
    assert f"mine: installed in {store}; use it with --model mine" in capsys.readouterr().out
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    for told in ("mine\n", "labels: edema = 3, tumour = 1", "channels: PET", "not estimated", "licence: MIT"):
        assert told in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bad.zip"], "error: bad.zip is no zip file"),
        (["nowhere.zip"], "error: nowhere.zip is not there"),
        (["."], "holds no manifest.json"),
        (["bad.zip", "--name", "../x"], "error: '../x' cannot name a model"),
    ],
)
def test_what_cannot_be_installed_is_one_error(
    arguments: list[str], message: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.zip").write_bytes(b"PK\3\4 and no more")
    assert install_model.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not store.exists() or list(store.iterdir()) == []


@pytest.mark.parametrize("model", ["nothing", "bad.zip", "models:/lesion/1"])
def test_a_model_that_is_none_is_one_error(model: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.zip").write_bytes(b"no zip")
    assert predict.main(["--model", model, "-i", "scan.nii.gz", "-o", "mask.nii.gz"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {model}")
    assert error.count("\n") == 1
    assert not Path("mask.nii.gz").exists()
