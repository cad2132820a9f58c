"""One image by its file, and batches in which an image cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import predict, test
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.dataset.files.write import read_artefact, write_image
from interactivepet.dataset.manifest import write_manifest
from interactivepet.errors import CaseError, InteractivePetError, ManifestError
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.workspace import Workspace
from tests.dicom_series import write_series
from tests.tiny import TASK, make_volume, open_tiny

FAST = ["--no-tta", "--device", "cpu"]


@pytest.fixture
def user(finished: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of a user who has a trained task."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(finished[0] / name))
    monkeypatch.delenv("interactivepet_task", raising=False)
    return tmp_path


def write(path: Path, seed: int = 70) -> Path:
    image, _, geometry = make_volume(seed)
    write_image(path, image, geometry=geometry)
    return path


@pytest.mark.parametrize(
    ("image", "out", "mask", "log"),
    [
        ("new.nii.gz", "mask.nii.gz", "mask.nii.gz", None),
        ("new_0000.nii.gz", "deep/er/mask.nii", "deep/er/mask.nii", None),
        ("new.nrrd", "mask.nrrd", "mask.nrrd", None),
        ("new.mha", "mask.mha", "mask.mha", None),
        ("new.mha", "MASK.MHA", "MASK.MHA", None),
        ("new.NRRD", "Mask.Nrrd", "Mask.Nrrd", None),
        ("new.nii", "mask.NII.GZ", "mask.NII.GZ", None),
        ("new.nii", "masks", "masks/new.nii.gz", "masks/predictions.json"),
        ("new_0000.nii.gz", "masks", "masks/new.nii.gz", "masks/predictions.json"),
        ("some name.v2.nii.gz", "masks", "masks/some name.v2.nii.gz", "masks/predictions.json"),
    ],
)
def test_one_image_is_predicted_by_its_file(user: Path, image: str, out: str, mask: str, log: str | None) -> None:
    path = write(user / "in" / image)
    # neighbours are not asked for
    write(user / "in" / "other.nii.gz", 71)
    assert predict.main(["-i", str(path), "-o", out, *FAST]) == 0
    found, geometry = read_mask(user / mask)
    assert geometry.matches(read_image([path])[1])
    assert found.any()
    assert sorted(p.name for p in user.rglob("*.json")) == ([Path(log).name] if log else [])
    assert not list(user.rglob(".partial-*"))


def test_the_mask_of_a_volume_is_no_picture(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(user / "new.nii.gz")
    assert predict.main(["-i", str(path), "-o", "mask.png", *FAST]) == 1
    assert "name it mask.nii.gz" in capsys.readouterr().err
    assert predict.main(["-i", str(path), "-o", "mask.png", "--interactive", *FAST]) == 1
    assert "name it mask.nii.gz" in capsys.readouterr().err
    assert predict.main(["-i", str(path), "-o", "out", "--format", ".png", *FAST]) == 1
    assert "choose --format .nii.gz" in capsys.readouterr().err


def test_the_frame_of_a_dynamic_image_is_part_of_what_masks_were_made_from(user: Path) -> None:
    image, _, geometry = make_volume(70)
    write_image(user / "in" / "new_0000.nii.gz", np.concatenate((image, 0.5 * image)), geometry=geometry)
    write(user / "static" / "new_0000.nii.gz")
    assert predict.main(["-i", "in", "-o", "out", *FAST]) == 1
    assert predict.main(["-i", "static", "-o", "expected", *FAST]) == 0
    expected = read_mask(user / "expected" / "new.nii.gz")[0]
    for number, is_same in ((1, True), (2, False), (1, True)):
        assert predict.main(["-i", "in", "-o", "out", "--time-frame", str(number), *FAST]) == 0
        assert np.array_equal(read_mask(user / "out" / "new.nii.gz")[0], expected) == is_same


def test_a_folder_named_like_a_mask_is_a_folder(user: Path) -> None:
    path = write(user / "new.nii.gz")
    (user / "odd.nii").mkdir()
    assert predict.main(["-i", str(path), "-o", "odd.nii", *FAST]) == 0
    assert (user / "odd.nii" / "new.nii.gz").is_file()


def test_the_mask_of_a_series_may_be_named(tmp_path: Path) -> None:
    workspace = Workspace.of("T", raw=tmp_path / "raw", processed=tmp_path / "p", results=tmp_path / "r")
    workspace.raw.mkdir(parents=True)
    labels = {"lesion": 1}
    write_manifest(
        workspace.raw, DatasetManifest(task="T", channels=("PET",), labels=labels, file_ending=".nii.gz", training=())
    )
    write_series(tmp_path / "series")
    request = make_folder_request(workspace, tmp_path / "series", clicks_folder=None, out=tmp_path / "mask.nrrd")
    assert request.path(request.entries[0]) == tmp_path / "mask.nrrd"
    assert request.file_ending == ".nrrd"


@pytest.mark.parametrize(
    ("images", "out", "error", "message"),
    [
        ("nowhere", "out", CaseError, "nowhere is not there; name an image, or a folder of images"),
        ("nowhere.nii.gz", "m.nii", CaseError, "nowhere.nii.gz is not there"),
        ("in/notes.txt", "out", CaseError, r"notes\.txt: unknown ending, expected one of .*, or the folder of a DICOM"),
        ("in/a_0000.nii.gz", "in/a_0000.nii.gz", ManifestError, "is the image, which the mask would replace"),
        ("in/b.nii.gz", "in", ManifestError, r"b\.nii\.gz is the image, which the mask would replace"),
        ("in/a_0001.nii.gz", "out", CaseError, r"is not among the 1 channels of a case; name a_0000\.nii\.gz"),
        ("in", "mask.nii.gz", ManifestError, r"in holds 2 cases \(a, c\), but .*mask\.nii\.gz is one mask"),
    ],
)
def test_what_cannot_be_one_image(
    finished: tuple[Path, object], user: Path, images: str, out: str, error: type[InteractivePetError], message: str
) -> None:
    for name in (
        ("a_0000.nii.gz", "c_0000.nii.gz") if images == "in" else ("a_0000.nii.gz", "a_0001.nii.gz", "b.nii.gz")
    ):
        write(user / "in" / name)
    (user / "in" / "notes.txt").write_text("hello")
    with pytest.raises(error, match=message):
        make_folder_request(open_tiny(finished[0]), user / images, clicks_folder=None, out=user / out)


def nan(path: Path) -> None:
    image, _, geometry = make_volume(0)
    write_image(path, np.where(image > 4, np.nan, image), geometry=geometry)


def constant(path: Path) -> None:
    image, _, geometry = make_volume(0)
    write_image(path, np.zeros_like(image), geometry=geometry)


def other_unit(path: Path) -> None:
    image, _, geometry = make_volume(0)
    write_image(path, image * 5000, geometry=geometry)


def two_channels(path: Path) -> None:
    image, _, geometry = make_volume(0)
    write_image(path, np.concatenate((image, image)), geometry=geometry)


BAD: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(b"no image"), "b_0000.nii.gz"),
    (lambda path: path.write_bytes(b""), "b_0000.nii.gz"),
    (nan, "NaN"),
    (constant, "every voxel"),
    (other_unit, "--any-intensity"),
    (two_channels, "2 in the image"),
]


@pytest.mark.parametrize(("spoil", "cause"), BAD)
def test_a_bad_image_is_named_and_the_rest_are_predicted(
    user: Path, spoil: Callable[[Path], object], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("a", "b", "c")):
        write(user / "in" / f"{name}_0000.nii.gz", 70 + number)
    bad = user / "in" / "b_0000.nii.gz"
    spoil(bad)
    line = ["-i", "in", "-o", "out", *FAST]
    assert predict.main(line) == 1
    told = capsys.readouterr()
    assert told.out.startswith("2 masks in out")
    assert "error: b: " in told.err
    assert cause not in told.err.partition("error: ")[0]
    assert cause in told.err.partition("error: ")[2]
    assert "b" in told.err.partition("error: ")[2]
    assert "1 of 3 images have no mask" in told.err
    assert sorted(path.name for path in (user / "out").iterdir() if path.name.endswith(".nii.gz")) == [
        "a.nii.gz",
        "c.nii.gz",
    ]
    log = read_artefact(user / "out" / "predictions.json", PredictionLog, command="")
    assert (set(log.cases), set(log.failed)) == ({"a", "c"}, {"b"})
    assert cause in log.failed["b"]

    before = {path.name: path.stat().st_mtime_ns for path in (user / "out").glob("*.nii.gz")}
    assert predict.main(line) == 1
    assert {path.name: path.stat().st_mtime_ns for path in (user / "out").glob("*.nii.gz")} == before
    write(bad, 71)
    assert predict.main(line) == 0
    assert {name: (user / "out" / name).stat().st_mtime_ns for name in before} == before
    log = read_artefact(user / "out" / "predictions.json", PredictionLog, command="")
    assert (set(log.cases), log.failed) == ({"a", "b", "c"}, {})


def test_clicks_that_cannot_be_read_stop_their_case_alone(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("a", "b")):
        write(user / "in" / f"{name}_0000.nii.gz", 70 + number)
    (user / "clicks").mkdir()
    (user / "clicks" / "a.mrk.json").write_text("{")
    assert predict.main(["-i", "in", "-in", "clicks", "-o", "out", *FAST]) == 1
    assert "a.mrk.json" in capsys.readouterr().err.partition("error: ")[2]
    assert [path.name for path in (user / "out").glob("*.nii.gz")] == ["b.nii.gz"]


def test_an_image_that_became_bad_does_not_count_as_done(user: Path) -> None:
    path = write(user / "in" / "a_0000.nii.gz")
    assert predict.main(["-i", "in", "-o", "out", *FAST]) == 0
    path.write_bytes(b"cut off")
    assert predict.main(["-i", "in", "-o", "out", *FAST]) == 1
    assert json.loads((user / "out" / "predictions.json").read_text())["cases"] == {}


def test_testing_needs_every_mask(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(copied / name))
    images = copied / "raw" / TASK / "imagesTs"
    constant(images / "TINY_006_0000.nii.gz")
    assert test.main(FAST) == 1
    assert "1 of 1 test cases have no mask: TINY_006: every voxel" in capsys.readouterr().err


def test_a_case_without_all_its_channels_is_named(tmp_path: Path, finished: tuple[Path, object]) -> None:
    workspace = Workspace.of("T", raw=tmp_path / "raw", processed=tmp_path / "p", results=tmp_path / "r")
    workspace.raw.mkdir(parents=True)
    manifest = DatasetManifest(
        task="T", channels=("PET", "CT"), labels={"lesion": 1}, file_ending=".nii.gz", training=()
    )
    write_manifest(workspace.raw, manifest)
    for name in ("a_0000", "a_0001", "b_0000"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    request = make_folder_request(workspace, tmp_path / "in", clicks_folder=None, out=tmp_path / "out")
    first, second = request.entries
    assert len(request.read(first, channels=manifest.channels).image) == 2
    with pytest.raises(CaseError, match=r"b: .*b_0001\.nii\.gz is not there; expected 2 files, for PET, CT"):
        request.read(second, channels=manifest.channels)
    shutil.rmtree(tmp_path / "in")
