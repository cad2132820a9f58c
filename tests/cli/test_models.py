"""Models as a user types them, without any folder of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.cli import install_model, models, predict
from interactivepet.dataset.files.write import write_image
from interactivepet.model.archive import extract_archive
from interactivepet.pipeline.judge.registration import find_script
from interactivepet.tracking.flavour import write_flavour
from interactivepet.tracking.registry import RegisteredModel
from interactivepet.tracking.store import find_experiment, open_client
from tests.model.models import write_model
from tests.session.test_session import make_case


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of installed models of a user who has no task, in a working directory without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("interactivepet_models", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of an MLflow store that has a model under the name `lesion` as version 1, the champion."""
    root = tmp_path_factory.mktemp("registry")
    extract_archive(write_model(root / "small.zip"), root / "small")
    write_flavour(root / "flavour", root / "small", script=find_script(), labels=("edema", "tumour"))
    client = open_client(f"sqlite:///{root}/mlflow.db")
    experiment = find_experiment(client, "lesion", root / "artefacts")
    run = client.create_run(experiment)
    RegisteredModel(client, "lesion").add_version(
        root / "flavour", content="0", experiment_id=experiment, run_id=run.info.run_id, scores={}, description=""
    )
    client.set_registered_model_alias("lesion", "champion", "1")
    return f"sqlite:///{root}/mlflow.db"


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


@pytest.mark.parametrize("address", ["models:/lesion/1", "models:/lesion@champion"])
def test_a_registered_model_predicts_and_can_be_installed(
    address: str, store: Path, registry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    case = make_case((20, 18, 9))
    write_image(Path("scan.nii.gz"), case.image, geometry=case.geometry)
    options = ["-i", "scan.nii.gz", "--no-tta", "--device", "cpu"]
    assert predict.main(["--model", address, "-o", "registered.nii.gz", *options]) == 0
    assert install_model.main([address, "--name", "mine"]) == 0
    assert f"mine: installed in {store}" in capsys.readouterr().out
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert predict.main(["--model", "mine", "-o", "installed.nii.gz", *options]) == 0
    assert Path("registered.nii.gz").read_bytes() == Path("installed.nii.gz").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == [
        "installed.nii.gz",
        "registered.nii.gz",
        "scan.nii.gz",
        "store",
    ]


@pytest.mark.parametrize(
    ("address", "has_store", "message"),
    [
        ("models:/lesion/1", False, "no MLflow store is known; set MLFLOW_TRACKING_URI"),
        ("models:/lesion/2", True, "cannot be read from MLflow at sqlite:///"),
        ("models:/other/1", True, "Registered Model with name=other not found"),
        ("models:/lesion@best", True, "Registered model alias best not found"),
        ("models:/lesion", True, "is no address of a model; expected models:/NAME/VERSION or models:/NAME@ALIAS"),
    ],
)
def test_a_registered_model_that_is_none_is_one_error(
    address: str,
    has_store: bool,
    message: str,
    store: Path,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if has_store:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    for run in (
        lambda: predict.main(["--model", address, "-i", "scan.nii.gz", "-o", "mask.nii.gz"]),
        lambda: install_model.main([address]),
    ):
        assert run() == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {address}")
        assert message in error
        assert error.count("\n") == 1
    assert not store.exists() or list(store.iterdir()) == []
