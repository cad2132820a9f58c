"""A model as MLflow has it: no pickle, no path of this machine, and the table that it takes."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from interactivepet.model.archive import extract_archive
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.judge.registration import find_script
from interactivepet.tracking.flavour import MODEL_PLACE, write_flavour
from tests.model.models import write_model


@pytest.fixture(scope="module")
def flavour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flavour")
    extract_archive(write_model(root / "small.zip"), root / "small")
    write_flavour(root / "made", root / "small", script=find_script(), labels=("tumour", "lymph node"))
    return root / "made"


def test_it_holds_the_models_own_folder_and_no_pickle(flavour: Path) -> None:
    files = {path.relative_to(flavour).as_posix() for path in flavour.rglob("*") if path.is_file()}
    own = {name.removeprefix(f"{MODEL_PLACE}/") for name in files if name.startswith(MODEL_PLACE)}
    assert own == {"manifest.json", *open_folder(flavour / MODEL_PLACE).manifest.files}
    assert {name for name in files if not name.startswith(MODEL_PLACE)} == {
        "MLmodel",
        "conda.yaml",
        "input_example.json",
        "mlflow_script.py",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
    assert "pickle" not in (flavour / "MLmodel").read_text()


def test_it_names_no_path_and_no_host(flavour: Path) -> None:
    places = (str(flavour.parent), str(find_script().parent), "/tmp/")
    for path in (path for path in flavour.rglob("*") if path.is_file() and path.suffix != ".safetensors"):
        text = path.read_text(encoding="utf-8")
        assert [place for place in places if place in text] == [], path.name
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text), path.name


def test_it_tells_what_it_takes_and_what_it_gives(flavour: Path) -> None:
    from mlflow.models import Model

    signature = Model.load(str(flavour)).signature
    assert signature is not None
    assert [(c["name"], c["type"], c["required"]) for c in signature.inputs.to_dict()] == [
        ("image", "string", True),
        ("clicks", "string", False),
        ("out", "string", False),
    ]
    assert signature.outputs.input_names() == ["mask", "volume_ml_tumour", "volume_ml_lymph node"]
    example = json.loads((flavour / "serving_input_example.json").read_text())
    assert example["dataframe_split"]["columns"] == ["image", "clicks", "out"]
