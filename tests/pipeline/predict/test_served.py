"""What a registered model answers: the masks that prediction writes, and one error for a row that cannot be used."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow.pyfunc
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from interactivepet.core.interaction import Click
from interactivepet.dataset.files.write import write_image
from interactivepet.dataset.interactions import MOST_CLICKS, write_clicks
from interactivepet.errors import CaseError, InteractionError, InteractivePetError
from interactivepet.model.archive import extract_archive
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.judge.registration import find_script
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.predict.served import ServedModel
from interactivepet.tracking.flavour import write_flavour
from tests.model.models import write_model
from tests.session.test_session import make_case

Served = tuple[Path, ServedModel]
LABELS = ("edema", "tumour")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A folder with a small model and an image, and the model in memory."""
    root = tmp_path_factory.mktemp("served")
    extract_archive(write_model(root / "small.zip"), root / "small")
    case = make_case((20, 18, 9))
    write_image(root / "images" / "scan.nii.gz", case.image, geometry=case.geometry)
    return root, ServedModel(root / "small", device="cpu", tta=False)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def find_clicks(root: Path) -> tuple[Click, ...]:
    """Two clicks inside of the image."""
    affine = nib.load(root / "images" / "scan.nii.gz").affine
    places = [affine @ (9, 8, 4, 1), affine @ (2, 2, 2, 1)]
    return tuple(
        Click(position_mm=tuple(place[:3].tolist()), label=1, is_positive=is_positive)
        for place, is_positive in zip(places, (True, False), strict=True)
    )


def to_json(clicks: tuple[Click, ...]) -> str:
    return json.dumps([click.model_dump() for click in clicks])


@pytest.mark.parametrize("with_clicks", [False, True])
def test_the_mask_is_the_one_of_a_prediction(with_clicks: bool, served: Served, tmp_path: Path) -> None:
    root, model = served
    clicks = find_clicks(root) if with_clicks else ()
    image = root / "images" / "scan.nii.gz"
    row = {"image": str(image), "clicks": to_json(clicks), "out": str(tmp_path / "mask.nii.gz")}
    (answer,) = model.predict([row])
    clicks_file = tmp_path / "scan.mrk.json" if with_clicks else None
    if clicks_file is not None:
        write_clicks(clicks_file, clicks)
    source = open_folder(root / "small")
    request = make_folder_request(source, image, clicks_folder=clicks_file, out=tmp_path / "expected.nii.gz")
    run_prediction(source, request, options=PredictionOptions(tta=False, device="cpu"))
    expected = nib.load(tmp_path / "expected.nii.gz")
    mask = nib.load(answer["mask"])
    np.testing.assert_array_equal(mask.get_fdata(), expected.get_fdata())
    np.testing.assert_array_equal(mask.affine, expected.affine)
    voxel_ml = abs(np.linalg.det(mask.affine)) / 1000
    for name, value in (("edema", 3), ("tumour", 1)):
        assert answer[f"volume_ml_{name}"] == pytest.approx(float((expected.get_fdata() == value).sum() * voxel_ml))


def test_without_a_path_each_mask_has_a_folder_of_its_own(served: Served) -> None:
    root, model = served
    image = str(root / "images" / "scan.nii.gz")
    rows = [{"image": image}, {"image": image, "clicks": None, "out": math.nan}, {"image": image, "out": " "}]
    masks = {Path(str(answer["mask"])) for answer in model.predict(rows)}
    assert len(masks) == 3
    assert all(path.is_file() and path.parent.stat().st_mode & 0o077 == 0 for path in masks)


ROWS: list[tuple[dict[str, object], type[InteractivePetError], str]] = [
    # what a row says beside its image -> kind and words of the error
    ({"image": ""}, CaseError, "row 1: image is empty; expected the path of an image"),
    ({"image": None}, CaseError, "row 1: image is empty"),
    ({"image": 3}, CaseError, "row 1: image is 3, expected a text"),
    ({"image": "nowhere.nii.gz"}, CaseError, "row 1: nowhere.nii.gz is not there"),
    ({"image": "two"}, InteractivePetError, "row 1: two holds 2 cases"),
    ({"image": "note.txt"}, CaseError, "row 1: note.txt: unknown ending"),
    ({"out": "mask.exe"}, CaseError, "row 1: out mask.exe has an unknown ending; expected one of .nii.gz"),
    ({"out": "folder"}, CaseError, "row 1: out folder has an unknown ending"),
    ({"out": "IMAGE"}, InteractivePetError, "row 1: .*is the image, which the mask would replace"),
    ({"out": "mask.png"}, CaseError, "row 1: .*is no picture"),
    ({"clicks": "no JSON"}, InteractionError, "row 1: clicks, the whole text: Invalid JSON"),
    ({"clicks": "{}"}, InteractionError, "row 1: clicks, the whole text: .*expected a JSON list such as"),
    ({"clicks": "[{}]"}, InteractionError, "row 1: clicks, 0.position_mm: Field required"),
    ({"clicks": '[{"position_mm": [1, 2]}]'}, InteractionError, "row 1: clicks, 0.position_mm.2: Field required"),
    ({"clicks": '[{"position_mm": [0, 0, 0], "lable": 1}]'}, InteractionError, "row 1: clicks, 0.lable: Extra inputs"),
    ({"clicks": []}, CaseError, r"row 1: clicks is \[\], expected a text"),
    ({"clicks": '[{"position_mm": [0, 0, 9999]}]'}, InteractionError, "row 1: scan: .* lies outside of the image"),
    ({"clicks": '[{"position_mm": [0, NaN, 0]}]'}, InteractionError, "row 1: scan: .* lies outside of the image"),
    ({"clicks": "UNKNOWN LABEL"}, InteractionError, "row 1: scan: .*label 2"),
    ({"clicks": "TOO MANY"}, InteractionError, f"row 1: {MOST_CLICKS + 1} clicks, expected at most {MOST_CLICKS}"),
]


@pytest.mark.parametrize(("row", "kind", "message"), ROWS)
def test_a_row_that_cannot_be_used_is_one_error(
    row: dict[str, object], kind: type[InteractivePetError], message: str, served: Served, tmp_path: Path
) -> None:
    root, model = served
    image = root / "images" / "scan.nii.gz"
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        (tmp_path / "two" / f"{name}.nii.gz").write_bytes(image.read_bytes())
    (tmp_path / "note.txt").write_text("no image")
    click = find_clicks(root)[0]
    special = {
        "IMAGE": str(image),
        "UNKNOWN LABEL": to_json((click.model_copy(update={"label": 2}),)),
        "TOO MANY": to_json((click,) * (MOST_CLICKS + 1)),
    }
    filled = {name: special.get(value, value) if isinstance(value, str) else value for name, value in row.items()}
    before, found = image.read_bytes(), {path.name for path in tmp_path.iterdir()}
    with pytest.raises(kind, match=message) as caught:
        model.predict([{"image": str(image), "out": "first.nii.gz"}, {"image": str(image), **filled}])
    assert "\n" not in str(caught.value)
    assert image.read_bytes() == before
    # the row before it may have its mask; nothing else is left
    assert {path.name for path in tmp_path.iterdir()} - found <= {"first.nii.gz"}


def test_threads_take_turns(served: Served, tmp_path: Path) -> None:
    root, model = served
    clicks = find_clicks(root)
    image = str(root / "images" / "scan.nii.gz")
    rows = [{"image": image, "clicks": to_json(clicks[: n % 3]), "out": f"{n}.nii.gz"} for n in range(6)]
    alone = [model.predict([row])[0] for row in rows]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda row: model.predict([row])[0], rows)) == alone


@pytest.fixture(scope="module")
def flavour(served: Served) -> Path:
    root = served[0]
    write_flavour(root / "flavour", root / "small", script=find_script(), labels=LABELS)
    return root / "flavour"


def test_mlflow_loads_it_in_this_process(flavour: Path, served: Served, tmp_path: Path) -> None:
    image = str(served[0] / "images" / "scan.nii.gz")
    model = mlflow.pyfunc.load_model(str(flavour), model_config={"device": "cpu", "tta": False})
    answer = model.predict(pd.DataFrame([{"image": image, "out": "a.nii.gz"}, {"image": image, "out": "b.nii.gz"}]))
    assert list(answer.columns) == ["mask", "volume_ml_edema", "volume_ml_tumour"]
    assert answer["mask"].tolist() == ["a.nii.gz", "b.nii.gz"]
    assert Path("a.nii.gz").read_bytes() == Path("b.nii.gz").read_bytes()
    with pytest.raises(MlflowException, match=r"row 0: nowhere\.nii\.gz is not there"):
        model.predict(pd.DataFrame([{"image": "nowhere.nii.gz"}]))
    with pytest.raises(MlflowException, match=r"missing inputs \['image'\]"):
        model.predict(pd.DataFrame([{"out": "mask.nii.gz"}]))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["records", "split"])
def test_mlflow_predicts_with_it_on_the_command_line(
    form: str, flavour: Path, served: Served, tmp_path: Path, run_mlflow: Callable[..., str]
) -> None:
    row = {"image": str(served[0] / "images" / "scan.nii.gz"), "out": str(tmp_path / "mask.nii.gz")}
    split = {"columns": list(row), "data": [list(row.values())]}
    table = {"dataframe_records": [row]} if form == "records" else {"dataframe_split": split}
    (tmp_path / "input.json").write_text(json.dumps(table))
    text = run_mlflow(
        "models", "predict", "--env-manager", "local", "-m", str(flavour), "-i", "input.json", "-t", "json"
    )
    (answer,) = json.loads(text[text.index("{") :])["predictions"]
    assert answer["mask"] == row["out"]
    assert set(answer) == {"mask", "volume_ml_edema", "volume_ml_tumour"}
    assert nib.load(row["out"]).shape == (20, 18, 9)


@pytest.fixture
def run_mlflow(tmp_path: Path) -> Callable[..., str]:
    """Run MLflow as a user does, in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mlflow", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
