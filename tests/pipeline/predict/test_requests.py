"""What may be predicted: images as the task has them, trees of DICOM files, and nothing that the model cannot use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.suv import DicomSource, SuvRecord, SuvRule
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.dicom.images import DicomReading, read_dicom_case
from interactivepet.dataset.files.frames import read_frame
from interactivepet.dataset.files.write import write_artefact, write_image
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import write_manifest
from interactivepet.errors import CaseError, InteractionError, ManifestError
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.workspace import Workspace
from tests.dicom_series import write_series

GRID = Geometry((12, 10, 8), np.diag([4.0, 4.0, 5.0, 1.0]))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.of("T", raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "results")
    made.raw.mkdir(parents=True)
    write_manifest(
        made.raw, DatasetManifest(task="T", channels=("PET",), labels={"lesion": 1}, file_ending=".nii.gz", training=())
    )
    return made


def test_a_tree_of_dicom_files_is_read_in_suv(workspace: Workspace, tmp_path: Path) -> None:
    series = tmp_path / "export" / "a" / "b"
    write_series(series)
    request = make_folder_request(workspace, tmp_path / "export", clicks_folder=None, out=tmp_path / "out")
    (entry,) = request.entries
    case = request.read(entry, channels=("PET",))
    same = read_dicom_case(series)
    assert case.id == entry.id
    assert np.array_equal(case.image, same.image)
    assert case.geometry.matches(same.geometry)
    assert sorted(request.list_files(entry)) == sorted(series.iterdir())


def test_a_series_a_frame_and_a_long_uptake_are_chosen(workspace: Workspace, tmp_path: Path) -> None:
    for number, (description, clock) in enumerate([("AC", "100000"), ("AC", "100500"), ("TOF", "100000")]):
        write_series(
            tmp_path / "export" / str(number),
            SeriesDescription=description,
            SeriesInstanceUID=f"1.7.{len(description)}",
            AcquisitionTime=clock,
            RadiopharmaceuticalStartTime="225900",
        )
    export, options = tmp_path / "export", {"clicks_folder": None, "out": tmp_path / "out"}
    both = make_folder_request(workspace, export, **options)
    assert len(both.entries) == 2
    reading = DicomReading(series="ac", time_frame=2, long_uptake=True)
    request = make_folder_request(workspace, export, reading=reading, **options)
    (entry,) = request.entries
    assert request.read(entry, channels=("PET",)).image.shape == (1, 5, 4, 6)
    with pytest.raises(CaseError, match="--long-uptake"):
        both.read(both.entries[1], channels=("PET",))


@pytest.mark.parametrize("reading", [DicomReading(series="ac"), DicomReading(long_uptake=True)])
def test_options_of_dicom_without_dicom_are_refused(
    reading: DicomReading, workspace: Workspace, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "A_0000.nii.gz", np.zeros((1, *GRID.shape), np.float32), geometry=GRID)
    with pytest.raises(ManifestError, match="holds no DICOM, so --series and --long-uptake"):
        make_folder_request(workspace, tmp_path / "in", clicks_folder=None, out=tmp_path / "out", reading=reading)


FRAMES: dict[str, tuple[int, TimeFrame, float | str]] = {
    "third-of-three": (3, 3, 3.0),
    "mean": (3, "mean", 2.0),
    "last": (3, "last", 3.0),
    "static-first": (1, 1, 1.0),
    "static-mean": (1, "mean", 1.0),
    "static-last": (1, "last", 1.0),
    "too-many": (3, 4, "3 frames, but --time-frame 4; choose 1 to 3, mean or last"),
    "static-second": (1, 2, "one frame, but --time-frame 2; leave --time-frame out"),
}
"""Volumes in the file, what is asked for, and how many times the first volume it is, or the error."""


@pytest.mark.parametrize(("n_frames", "time_frame", "expected"), FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_frame_of_a_dynamic_image(
    n_frames: int, time_frame: TimeFrame, expected: float | str, ending: str, workspace: Workspace, tmp_path: Path
) -> None:
    first = np.random.default_rng(0).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    frames = np.concatenate([number * first for number in range(1, n_frames + 1)])
    write_image(tmp_path / "in" / f"A_0000{ending}", frames, geometry=GRID)
    request = make_folder_request(
        workspace,
        tmp_path / "in",
        clicks_folder=None,
        out=tmp_path / "out",
        reading=DicomReading(time_frame=time_frame),
    )
    if isinstance(expected, str):
        with pytest.raises(CaseError, match=expected):
            request.read(request.entries[0], channels=("PET",))
        return
    case = request.read(request.entries[0], channels=("PET",))
    np.testing.assert_allclose(case.image, expected * first, rtol=1e-5)


def test_a_static_channel_beside_a_dynamic_one_stays(tmp_path: Path) -> None:
    pet = np.random.default_rng(0).gamma(2.0, size=(3, *GRID.shape)).astype(np.float32)
    ct = np.random.default_rng(1).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    paths = [tmp_path / "A_0000.nii.gz", tmp_path / "A_0001.nii.gz"]
    for path, image in zip(paths, (pet, ct), strict=True):
        write_image(path, image, geometry=GRID)
    image, geometry = read_frame(paths, 2, n_channels=2)
    np.testing.assert_array_equal(image, np.stack([pet[1], ct[0]]))
    assert geometry.matches(GRID)
    with pytest.raises(CaseError, match="needs one file per channel"):
        read_frame(paths[:1], 2, n_channels=2)


def test_colours_are_no_frames(workspace: Workspace, tmp_path: Path) -> None:
    import SimpleITK

    (tmp_path / "in").mkdir()
    colours = SimpleITK.GetImageFromArray(np.zeros((5, 4, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(colours, str(tmp_path / "in" / "A.tif"))
    request = make_folder_request(
        workspace, tmp_path / "in", clicks_folder=None, out=tmp_path, reading=DicomReading(time_frame=1)
    )
    with pytest.raises(CaseError, match="3 colours, which are no frames"):
        request.read(request.entries[0], channels=("PET",))


def note_variant(workspace: Workspace, **variants: str) -> None:
    """Write training cases, each with the note of its import."""
    rule = SuvRule(variant="bw", units="BQML", rule="activity", factor=1.0)
    source = DicomSource(
        folder="/", n_files=1, series_uid="1", study_uid="2", frame_of_reference_uid="3", modality="PT"
    )
    for case, variant in variants.items():
        record = SuvRecord(pet=source, suv=rule.model_copy(update={"variant": variant}))
        write_artefact(workspace.raw / "imagesTr" / f"{case}.suv.json", record)
    entries = tuple(CaseEntry(id=case, images=(f"imagesTr/{case}_0000.nii.gz",)) for case in ("A", "B", "C"))
    manifest = DatasetManifest(
        task="T", channels=("PET",), labels={"lesion": 1}, file_ending=".nii.gz", training=entries
    )
    write_manifest(workspace.raw, manifest)


def test_dicom_becomes_the_suv_that_the_model_was_trained_on(workspace: Workspace, tmp_path: Path) -> None:
    write_series(tmp_path / "export")
    note_variant(workspace, A="lbm", B="lbm")
    request = make_folder_request(workspace, tmp_path / "export", clicks_folder=None, out=tmp_path / "out")
    lean = request.read(request.entries[0], channels=("PET",)).image
    assert np.array_equal(lean, read_dicom_case(tmp_path / "export", variant="lbm").image)
    assert not np.allclose(lean, read_dicom_case(tmp_path / "export", variant="bw").image)


def test_a_task_of_two_kinds_of_suv_leaves_open_which_one_is_meant(workspace: Workspace, tmp_path: Path) -> None:
    write_series(tmp_path / "export")
    note_variant(workspace, A="lbm", C="bw")
    with pytest.raises(CaseError, match="--suv bw and --suv lbm"):
        make_folder_request(workspace, tmp_path / "export", clicks_folder=None, out=tmp_path / "out")


def test_an_image_that_no_network_can_use_is_refused_by_name(workspace: Workspace, tmp_path: Path) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    image[0, 3, 3, 3] = np.nan
    write_image(tmp_path / "in" / "BROKEN_0000.nii.gz", image, geometry=GRID)
    request = make_folder_request(workspace, tmp_path / "in", clicks_folder=None, out=tmp_path / "out")
    with pytest.raises(CaseError, match="BROKEN"):
        request.read(request.entries[0], channels=("PET",))


def test_a_dynamic_image_is_refused_with_the_way_to_one_frame(workspace: Workspace, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).gamma(2.0, size=(3, *GRID.shape)).astype(np.float32)
    write_image(tmp_path / "in" / "DYNAMIC_0000.nii.gz", frames, geometry=GRID)
    request = make_folder_request(workspace, tmp_path / "in", clicks_folder=None, out=tmp_path / "out")
    with pytest.raises(
        CaseError, match=r"DYNAMIC: 3 in the image; expected 1;.*--time-frame, of interactivepet_import folder"
    ):
        request.read(request.entries[0], channels=("PET",))


def test_a_superfluous_channel_is_not_another_patient(workspace: Workspace, tmp_path: Path) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    for number in range(2):
        write_image(tmp_path / "in" / f"X_000{number}.nii.gz", image, geometry=GRID)
    write_image(workspace.raw / "imagesTr" / "A_0000.nii.gz", image, geometry=GRID)
    entry = CaseEntry(id="A", images=("imagesTr/A_0000.nii.gz",))
    manifest = DatasetManifest(
        task="T", channels=("PET",), labels={"lesion": 1}, file_ending=".nii.gz", training=(entry,)
    )
    write_manifest(workspace.raw, manifest)
    with pytest.raises(ManifestError, match=r"X has 2 channels, expected 1; take \./X_0001"):
        make_folder_request(workspace, tmp_path / "in", clicks_folder=None, out=tmp_path / "out")


def test_masks_do_not_replace_the_images(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="another -o"):
        make_folder_request(workspace, tmp_path, clicks_folder=None, out=tmp_path)


def test_a_folder_without_any_image_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError):
        make_folder_request(workspace, tmp_path / "empty", clicks_folder=None, out=tmp_path / "out")


POINT = "x,y,z\n-8,-8,10\n"
NO_POINT = "x,y,z\n"
NO_CLICKS = {
    "empty-folder": ({}, "no click file for the 1 images, expected .* for new"),
    "other-names": ({"old.csv": POINT, "new_2.mrk.json": "{}"}, "no click file for the 1 images"),
    "unknown-kind": ({"new.txt": POINT}, "no click file for the 1 images"),
    "table-without-a-point": ({"new.csv": NO_POINT}, "1 files without a point for the 1 images"),
    "json-without-a-point": ({"new.json": '{"tumour": []}'}, "1 files without a point for the 1 images"),
    "list-without-a-point": ({"new.mrk.json": '{"markups": [{"type": "Fiducial"}]}'}, "1 files without a point"),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).random((1, *GRID.shape)).astype(np.float32)
    write_image(tmp_path / "in" / "new.nii.gz", values, geometry=GRID)
    (tmp_path / "clicks").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize(("files", "message"), NO_CLICKS.values(), ids=NO_CLICKS)
def test_a_folder_without_clicks_is_no_prediction_without_clicks(
    files: dict[str, str], message: str, workspace: Workspace, images: Path, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / "clicks" / name).write_text(text)
    with pytest.raises(InteractionError, match=rf"clicks: {message}.*leave -in out"):
        make_folder_request(workspace, images, clicks_folder=tmp_path / "clicks", out=tmp_path / "out")


@pytest.mark.parametrize("name", ["new.csv", "new.fcsv", "new_0000.mrk.json", "new_clicks.json", "new-points.csv"])
def test_click_files_of_every_kind_are_found_and_the_others_are_named(
    name: str, workspace: Workspace, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {
        "csv": POINT,
        "fcsv": "# CoordinateSystem = LPS\n1,-8,-8,10,0,0,0,1,1,1,0,F-1,,\n",
        "json": '{"lesion": [[-8, -8, 10]]}',
    }
    path = tmp_path / "clicks" / name
    path.write_text(texts[name.rpartition(".")[2]])
    (tmp_path / "clicks" / "old.csv").write_text(POINT)
    request = make_folder_request(workspace, images, clicks_folder=path.parent, out=tmp_path / "out")
    assert request.clicks == {"new": path}
    assert read_clicks(path, geometry=GRID) == (Click(position_mm=(8, 8, 10)),)
    assert "old.csv is not used: no case has this name" in caplog.text


def test_one_of_two_empty_click_files_is_named(
    workspace: Workspace, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(images / "more.nii.gz", np.ones((1, *GRID.shape), np.float32), geometry=GRID)
    (tmp_path / "clicks" / "new.csv").write_text(POINT)
    (tmp_path / "clicks" / "more.csv").write_text(NO_POINT)
    request = make_folder_request(workspace, images, clicks_folder=tmp_path / "clicks", out=tmp_path / "out")
    assert set(request.clicks) == {"new", "more"}
    assert "more.csv holds no point, so the case is predicted without clicks" in caplog.text


@pytest.mark.parametrize("name", ["any name.csv", "points.fcsv", "clicks.JSON"])
def test_one_image_may_have_its_click_file_named(name: str, workspace: Workspace, tmp_path: Path) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    write_image(tmp_path / "in" / "new_0000.nii.gz", image, geometry=GRID)
    text = {
        ".csv": POINT,
        ".fcsv": "# columns = id,x,y,z\n1,-8,-8,10\n",
        ".json": '{"points": [{"point": [-8, -8, 10], "name": "lesion"}]}',
    }
    path = tmp_path / name
    path.write_text(text[path.suffix.lower()])
    request = make_folder_request(workspace, tmp_path / "in", clicks_folder=path, out=tmp_path / "out")
    assert request.clicks == {"new": path}


@pytest.mark.parametrize(
    ("name", "text", "n_images", "message"),
    [
        ("a.csv", POINT, 2, "holds 2 cases .* is one file; name the file of one image with -i, or a folder with -in"),
        ("a.csv", NO_POINT, 1, "1 files without a point"),
        ("a.txt", POINT, 1, "no click file, expected one of .mrk.json"),
    ],
)
def test_click_files_that_cannot_be_those_of_one_image(
    name: str, text: str, n_images: int, message: str, workspace: Workspace, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, *GRID.shape)).astype(np.float32)
    for number in range(n_images):
        write_image(tmp_path / "in" / f"n{number}_0000.nii.gz", image, geometry=GRID)
    (tmp_path / name).write_text(text)
    with pytest.raises((ManifestError, InteractionError), match=message):
        make_folder_request(workspace, tmp_path / "in", clicks_folder=tmp_path / name, out=tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["m.dcm", "m.mhd", "m.nhdr", "m.tif", "m.seg.nrrd", "M.SEG.NRRD", "m.mgz", "m.gz", "m.jpg", "m.npy"]
)
def test_a_mask_in_a_format_that_is_not_written_is_refused_before_anything_is_predicted(
    name: str, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match=r"masks are written as \.nii\.gz .*interactivepet_export"):
        make_folder_request(workspace, tmp_path, clicks_folder=None, out=tmp_path / "out" / name)
