"""`interactivepet_import` as a user types it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from interactivepet.cli import import_task, verify
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.dicom import source as dicom
from interactivepet.dataset.dicom.reference import read_source
from interactivepet.dataset.dicom.seg import write_seg
from interactivepet.dataset.dicom.source import DicomOptions
from interactivepet.dataset.files.read import read_geometry
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from tests.dicom_series import write_series
from tests.files import write_png
from tests.tiny import make_volume

TASK = "Task903_Cli"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three cases, one of them without lesion, one without a mask."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        image, label, geometry = make_volume(number)
        nibabel.save(nibabel.Nifti1Image(image[0], geometry.affine), folder / f"{name}.nii.gz")
        if name != "c":
            nibabel.save(nibabel.Nifti1Image(label * (name == "a"), geometry.affine), folder / f"{name}_mask.nii.gz")
    (folder / "readme.txt").write_text("x")
    return folder


def test_a_folder_becomes_a_verified_task(source: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_task.main(["folder", str(source), "-t", TASK, "-m", "PET", "-l", "tumour"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "recognised: volumes beside their masks",
        "channels: PET; labels: tumour",
        "passed over: readme.txt: no volume",
        "without a mask, so test cases: c",
        "0 problems and 1 notes in 3 cases",
        "2 training and 1 test cases",
    ):
        assert text in shown
    manifest = read_manifest(raw / TASK)
    assert ([e.id for e in manifest.training], [e.id for e in manifest.test]) == (["a", "b"], ["c"])
    assert verify.main(["-t", TASK]) == 0
    assert "label-empty" in capsys.readouterr().out


def test_a_second_import_needs_leave(source: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["folder", str(source), "-t", TASK]
    assert import_task.main(arguments) == 0
    assert import_task.main(arguments) == 1
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert import_task.main([*arguments, "--overwrite"]) == 0


def test_problems_stop_the_import_unless_it_is_not_verified(
    source: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nibabel.load(source / "b.nii.gz")
    nibabel.save(nibabel.Nifti1Image(-image.get_fdata(dtype=np.float32), image.affine), source / "b.nii.gz")
    arguments = ["folder", str(source), "-t", TASK, "-m", "PET"]
    assert import_task.main(arguments) == 1
    streams = capsys.readouterr()
    assert "1 problems and 1 notes" in streams.out
    assert "so nothing was imported:\nb: negative-suv" in streams.err
    assert not (raw / TASK).exists()
    assert import_task.main([*arguments, "--no-verify"]) == 0
    assert verify.main(["-t", TASK]) == 1


def test_every_case_becomes_a_test_case(source: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_task.main(["folder", str(source), "-t", TASK, "-m", "PET", "--test"]) == 0
    assert "0 training and 3 test cases" in capsys.readouterr().out
    manifest = read_manifest(raw / TASK)
    assert {entry.id: entry.label for entry in manifest.test} == {
        "a": "labelsTs/a.nii.gz",
        "b": "labelsTs/b.nii.gz",
        "c": None,
    }
    assert verify.main(["-t", TASK]) == 0
    for path in source.glob("*_mask.nii.gz"):
        path.unlink()
    bare = ["folder", str(source), "-t", "Task904_Bare", "-m", "PET"]
    assert import_task.main(bare) == 1
    assert "import volumes that have no masks with --test" in capsys.readouterr().err
    assert import_task.main([*bare, "--test"]) == 0
    assert "without a mask, so test cases: a, b, c" in capsys.readouterr().out


@pytest.mark.parametrize("frame", ["voxel", "ras", "lps"])
def test_clicks_beside_images_are_in_the_frame_that_is_named(tmp_path: Path, raw: Path, frame: str) -> None:
    image, label, geometry = make_volume(0)
    for folder, name, array in (("imagesTr", "a_0000", image[0]), ("labelsTr", "a", label)):
        (tmp_path / "export" / folder).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, geometry.affine), tmp_path / "export" / folder / f"{name}.nii.gz")
    inside = np.argwhere(label == 1)[0]
    x, y, z = geometry.to_mm(inside)
    i, j, k = inside.tolist()
    numbers = {"voxel": (i, j, k), "ras": (x, y, z), "lps": (-x, -y, z)}[frame]
    (tmp_path / "export" / "interactionsTr").mkdir()
    (tmp_path / "export" / "interactionsTr" / "a.csv").write_text(f"x,y,z\n{','.join(map(str, numbers))}\n")
    arguments = ["folder", str(tmp_path / "export"), "-t", TASK, "-m", "PET", "-l", "tumour", "--frame", frame]
    assert import_task.main(arguments) == 0
    (click,) = read_clicks(raw / TASK / "interactionsTr" / "a.mrk.json", geometry=geometry)
    assert click.position_mm == pytest.approx((x, y, z))


def test_clicks_of_another_tool(source: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_task.main(["folder", str(source), "-t", TASK, "-m", "PET"]) == 0
    clicks = source.parent / "clicks"
    clicks.mkdir()
    (clicks / "c_clicks.json").write_text('{"lesion": [[1, 2, 3]], "background": []}')
    (clicks / "z.json").write_text("{}")
    arguments = ["clicks", str(clicks), "-t", TASK, "--frame", "voxel"]
    assert import_task.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "passed over: z.json: no case has this name" in shown
    assert "clicks of 0 training and 1 test cases" in shown
    path = raw / TASK / "interactionsTs" / "c.mrk.json"
    geometry = read_geometry(raw / TASK / "imagesTs" / "c_0000.nii.gz")
    (click,) = read_clicks(path, geometry=geometry)
    assert geometry.to_voxel(click.position_mm) == pytest.approx([1, 2, 3])
    assert verify.main(["-t", TASK]) == 0
    assert import_task.main(arguments) == 1
    assert "replace them with --overwrite" in capsys.readouterr().err


def test_projections_become_a_task_of_one_slice(tmp_path: Path, raw: Path) -> None:
    for name, value in (
        ("patients/imgs/patient_1", 90),
        ("patients/labels/segmentation_1", 0),
        ("controls/imgs/c_2", 70),
    ):
        pixels = np.full((40, 30, 4), 255 if "imgs" in name else 0, np.uint8)
        pixels[10:14, 5:9, :3] = value if "imgs" in name else 255
        (tmp_path / "mip" / name).parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(tmp_path / "mip" / f"{name}.png"))
    assert import_task.main(["mip", str(tmp_path / "mip"), "-t", TASK, "-l", "tumour"]) == 0
    manifest = read_manifest(raw / TASK)
    assert {e.id: e.subtype for e in manifest.training} == {"patient_1": "patient", "c_2": "control"}
    image = nibabel.load(raw / TASK / "imagesTr" / "patient_1_0000.nii.gz")
    assert image.shape[:2] == (30, 40)
    label = nibabel.load(raw / TASK / "labelsTr" / "patient_1.nii.gz")
    assert np.asarray(label.dataobj).sum() == 16
    assert json.loads((raw / TASK / "dataset.json").read_text())["labels"] == {"0": "background", "1": "tumour"}


def test_the_arguments_of_dicom_reach_its_importer(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Path, DicomOptions]] = []

    def find(folder: Path, *, options: DicomOptions) -> ImportSource:
        seen.append((folder, options))
        return ImportSource(("PET",), ("lesion",), ())

    monkeypatch.setattr(dicom, "find_dicom_source", find)
    arguments: list[Any] = ["dicom", "pacs", "-t", TASK, "--suv", "ibw", "--roi", "GTV*", "PTV", "--union", "--ct"]
    reading: list[Any] = ["--series", "*TOF*", "--time-frame", "mean", "--long-uptake"]
    assert import_task.main(arguments + reading) == 1
    assert "no case was found to import" in capsys.readouterr().err
    expected = DicomOptions(
        variant="ibw",
        rois=("GTV*", "PTV"),
        union=True,
        with_ct=True,
        series="*TOF*",
        time_frame="mean",
        long_uptake=True,
    )
    assert seen == [(Path("pacs"), expected)]


@pytest.mark.parametrize("n_proc", ["1", "2"])
def test_the_import_ends_with_its_warnings_by_case(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str], n_proc: str
) -> None:
    for patient, dose in (("A", "350"), ("B", "350000000"), ("C", "350")):
        uids = {"StudyInstanceUID": f"1.2.{ord(patient)}", "SeriesInstanceUID": f"1.3.{ord(patient)}"}
        write_series(tmp_path / "pacs" / patient, PatientID=patient, RadionuclideTotalDose=dose, **uids)
    arguments = ["dicom", str(tmp_path / "pacs"), "-t", TASK, "--test", "--no-verify", "-np", n_proc]
    assert import_task.main(arguments) == 0
    shown = capsys.readouterr().out
    summary = shown[shown.index("note: ") :]
    assert summary.startswith("note: A, C: RadionuclideTotalDose 350 was taken as MBq\n")
    assert "B" not in summary.partition("\n")[0].partition("Radio")[0]
    assert summary.endswith("0 training and 3 test cases\n")


def test_a_sound_import_has_no_summary(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "pacs")
    assert import_task.main(["dicom", str(tmp_path / "pacs"), "-t", TASK, "--test", "--no-verify", "-np", "1"]) == 0
    assert "note: " not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["folder"], ["folder", "x"], ["tape", "x", "-t", TASK]])
def test_arguments_that_are_missing(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        import_task.main(arguments)
    assert stopped.value.code == 2


def write_folder(folder: Path) -> list[str]:
    for number, name in enumerate(("a", "b")):
        image, label, geometry = make_volume(number)
        for stem, array in ((name, image[0]), (f"{name}_roi", label)):
            folder.mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, geometry.affine), folder / f"{stem}.nii.gz")
    (folder / "b.nii.gz").write_bytes(b"")
    return ["folder", str(folder), "-m", "PET", "--mask-suffix", "_roi", "--spacing-mm", "2", "2", "3"]


def write_pictures(folder: Path) -> list[str]:
    for name, is_bad in (("1", False), ("2", True)):
        image, mask = np.full((40, 30), 255), np.zeros((40, 30))
        image[10:14, 5:9], mask[10:14, 5:9] = 90, 1
        if is_bad:
            mask[0, :3] = (2, 3, 4)
        write_png(folder / "patients" / "imgs" / f"patient_{name}.png", image)
        write_png(folder / "patients" / "labels" / f"segmentation_{name}.png", mask)
    return ["mip", str(folder)]


def write_dicom(folder: Path) -> list[str]:
    for number, weight in (("1", "70"), ("2", None)):
        write_series(
            folder / number,
            PatientID=f"P{number}",
            PatientWeight=weight,
            StudyInstanceUID=f"1.2.3.{number}",
            SeriesInstanceUID=f"1.2.3.{number}.4",
        )
    return ["dicom", str(folder), "--test"]


def write_volumes(folder: Path, *names: str) -> list[str]:
    """Write two cases with masks, and more files of these names."""
    folder.mkdir()
    for number, name in enumerate(("a", "b")):
        image, label, geometry = make_volume(number)
        nibabel.save(nibabel.Nifti1Image(image[0], geometry.affine), folder / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, geometry.affine), folder / f"{name}_mask.nii.gz")
    for name in names:
        model = "b_mask" if "_" in name else "b"
        shutil.copy(folder / f"{model}.nii.gz", folder / name)
    return ["folder", str(folder), "-m", "PET", "-l", "tumour"]


def write_two_masks(folder: Path) -> list[str]:
    return write_volumes(folder, "b_seg.nii.gz")


def write_both_kinds(folder: Path) -> list[str]:
    return write_volumes(folder, "b_mask_tumour.nii.gz")


def write_one_name(folder: Path) -> list[str]:
    return write_volumes(folder, "b.nii")


def write_names_that_become_one(folder: Path) -> list[str]:
    return write_volumes(folder, "B.nii.gz")


def write_broken_image(folder: Path) -> list[str]:
    arguments = write_volumes(folder)
    (folder / "b.nii.gz").unlink()
    (folder / "b.nii.gz").symlink_to("nowhere")
    return arguments


def write_broken_mask(folder: Path) -> list[str]:
    arguments = write_volumes(folder)
    (folder / "b_mask.nii.gz").unlink()
    (folder / "b_mask.nii.gz").symlink_to("nowhere")
    return arguments


def write_two_pictures_of_one_number(folder: Path) -> list[str]:
    arguments = write_pictures(folder)
    labels = folder / "patients" / "labels"
    shutil.copy(labels / "segmentation_1.png", labels / "mask_2.png")
    return arguments


def write_slice_without_header(folder: Path) -> list[str]:
    for number in ("1", "2"):
        write_series(folder / number, PatientID=f"P{number}", SeriesInstanceUID=f"1.2.3.{number}.4")
    path = sorted((folder / "2").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    return ["dicom", str(folder), "--test"]


def write_damaged_segmentation(folder: Path) -> list[str]:
    for number in ("1", "2"):
        pet = write_series(folder / number / "PT", PatientID=f"P{number}", SeriesInstanceUID=f"1.2.3.{number}.4")
        series = sorted(pet.iterdir())
        geometry = read_source(series).geometry
        mask = np.zeros(geometry.shape, np.uint8)
        mask[1:3, 1:3, 2:4] = 1
        path = folder / number / "seg.dcm"
        write_seg(path, mask, geometry=geometry, labels={"tumour": 1}, series=series)
    damaged = pydicom.dcmread(path)
    del damaged.SegmentSequence[0].SegmentNumber
    damaged.save_as(path)
    return ["dicom", str(folder)]


@pytest.mark.parametrize(
    ("write", "good", "bad", "reason"),
    [
        (write_folder, "a", "b", "the file is empty"),
        (write_pictures, "patient_1", "patient_2", "--mask-above N"),
        (write_dicom, "P1", "P2", "PatientWeight"),
        (write_two_masks, "a", "b", "are both the mask of b; expected one a label"),
        (write_both_kinds, "a", "b", "expected one mask, or one a label; remove either"),
        (write_one_name, "a", "b", "have one name, expected one file; remove either"),
        (write_names_that_become_one, "a", "b", "both become the case b; rename one of them"),
        (write_broken_image, "a", "b", "is a link that leads nowhere; restore its target or remove it"),
        (write_broken_mask, "a", "b", "is a link that leads nowhere; restore its target or remove it"),
        (write_two_pictures_of_one_number, "patient_1", "patient_2", "both are number 2, expected one; rename either"),
        (write_slice_without_header, "P1", "P2", "DICOM that ends before SeriesInstanceUID (0020,000E), or has none"),
        (write_damaged_segmentation, "P1", "P2", "cannot be read"),
    ],
)
def test_bad_cases_are_left_out_on_demand(
    tmp_path: Path,
    raw: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], list[str]],
    good: str,
    bad: str,
    reason: str,
) -> None:
    arguments = [*write(tmp_path / "export"), "-t", TASK]
    assert import_task.main(arguments) == 1
    assert reason in capsys.readouterr().err
    assert not (raw / TASK).exists()
    assert import_task.main([*arguments, "--skip-bad"]) == 1
    shown = capsys.readouterr().out
    assert f"left out: {bad}: " in shown
    assert reason in shown
    manifest = read_manifest(raw / TASK)
    assert [entry.id for entry in (*manifest.training, *manifest.test)] == [good]
    record = json.loads((raw / TASK / "import.json").read_text())
    assert reason in record["left_out"][bad]
    assert verify.main(["-t", TASK]) == 0


def test_remarks_are_shown_once_for_all_their_cases(
    source: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        image = nibabel.load(source / f"{name}_mask.nii.gz")
        flipped = np.asarray(image.dataobj)[:, :, ::-1] * np.int16(200)
        affine = image.affine @ np.diag([1, 1, -1, 1])
        affine[:3, 3] = image.affine[:3, 3] + (image.shape[2] - 1) * image.affine[:3, 2]
        nibabel.save(nibabel.Nifti1Image(flipped, affine), source / f"{name}_mask.nii.gz")
    assert import_task.main(["folder", str(source), "-t", TASK, "-l", "tumour", "--no-verify"]) == 0
    shown = capsys.readouterr().out
    assert "note: a, b: the mask was placed on the voxels of the image without loss: flipped\n" in shown
    assert "note: a: the mask holds 0 and 200; 200 was taken for tumour\n" in shown
    assert "note: b: the mask holds no labelled voxel\n" in shown
    assert json.loads((raw / TASK / "import.json").read_text())["remarks"].keys() == {"a", "b"}


@pytest.mark.parametrize(
    "options",
    [["--time-frame", "0"], ["--time-frame", "first"], ["--spacing-mm", "1", "2"], ["--spacing-mm", "1", "0", "2"]],
)
def test_options_of_no_meaning_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        import_task.main(["folder", "x", "-t", TASK, *options])
    assert stopped.value.code == 2


def test_a_file_that_no_case_can_own_is_named_too(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "export" / "1", PatientID="P1")
    (tmp_path / "export" / "2").mkdir()
    whole = sorted((tmp_path / "export" / "1").iterdir())[0].read_bytes()
    (tmp_path / "export" / "2" / "slice").write_bytes(whole[:200])
    assert import_task.main(["dicom", str(tmp_path / "export"), "--test", "-t", TASK, "--skip-bad"]) == 1
    assert "left out: 2/slice: cannot be read" in capsys.readouterr().out
    assert [entry.id for entry in read_manifest(raw / TASK).test] == ["P1"]


def test_nothing_is_left_of_a_flat_folder_with_an_unreadable_file(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_series(tmp_path / "export", PatientID="P1")
    path = sorted(folder.iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    assert import_task.main(["dicom", str(folder), "--test", "-t", TASK, "--skip-bad"]) == 1
    assert "no case was found to import\nP1: " in capsys.readouterr().err
    assert not (raw / TASK).exists()
