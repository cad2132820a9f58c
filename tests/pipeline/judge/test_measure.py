from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import measure
from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import CaseMeasures
from interactivepet.core.suv import DicomSource, SuvRecord, SuvRule
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.files.write import write_image, write_mask, write_text
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.errors import CaseError, InteractivePetError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.judge.measure import Measured, MeasureOptions, run_measure
from interactivepet.pipeline.judge.measure_jobs import FoundCases, find_cases

SHAPE = (12, 11, 10)
GEOMETRY = Geometry(SHAPE, np.diag([5.0, 5.0, 10.0, 1.0]))
"""Voxels of 0.25 ml."""


def make_image(factor: float = 1.0) -> np.ndarray:
    image = np.full(SHAPE, factor, np.float32)
    image[2:4, 2:4, 2:4] = 8 * factor
    return image[None]


def make_mask(value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 2:4, 2:4] = value
    return mask


def put_image(path: Path, factor: float = 1.0) -> Path:
    write_image(path, make_image(factor), geometry=GEOMETRY)
    return path


def put_mask(path: Path, value: int = 1) -> Path:
    write_mask(path, make_mask(value), geometry=GEOMETRY)
    return path


def put_note(folder: Path, case: str, variant: str) -> None:
    source = DicomSource(
        folder="x", n_files=1, series_uid="1", study_uid="2", frame_of_reference_uid="3", modality="PT"
    )
    rule = SuvRule(variant=variant, units="BQML", rule="a rule", factor=1.0)
    write_text(folder / f"{case}.suv.json", SuvRecord(pet=source, suv=rule).model_dump_json())


def run(found: FoundCases, out: Path, **options: object) -> Measured:
    return run_measure(found, out, options=MeasureOptions(**options), executor=InlineExecutor())


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("images", "masks", "cases"),
    [
        (["A.nii.gz", "B.nrrd"], ["A.nii.gz", "B.mha"], ["A", "B"]),
        # the first channel of several
        (["A_0000.nii.gz", "A_0001.nii.gz"], ["A.nii.gz"], ["A"]),
        # four digits at the end are no channel where there is no channel 0
        (["A_2020.nii.gz"], ["A_2020.nii.gz"], ["A_2020"]),
        # masks with a suffix, in a folder of their own
        (["A.nii.gz"], ["A_mask.nii.gz"], ["A"]),
        (["A_0000.nii.gz", "B_0000.nii.gz"], ["A_seg.nii.gz", "B_label.nii.gz"], ["A", "B"]),
        # an image whose name ends like a mask
        (["A_mask.nii.gz"], ["A_mask.nii.gz"], ["A_mask"]),
        # an image without a mask is no failure
        (["A.nii.gz", "B.nii.gz"], ["A.nii.gz"], ["A"]),
    ],
)
def test_masks_are_found_by_name(images: list[str], masks: list[str], cases: list[str], tmp_path: Path) -> None:
    for name in images:
        put_image(tmp_path / "images" / name)
    for name in masks:
        put_mask(tmp_path / "masks" / name)
    found = find_cases(tmp_path / "images", tmp_path / "masks")
    assert [job.case for job in found.jobs] == cases
    assert not found.unusable
    assert len(run(found, tmp_path / "out").cases) == len(cases)


def test_masks_may_lie_beside_their_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_image(tmp_path / "A.nii.gz")
    put_image(tmp_path / "B.nii.gz")
    put_mask(tmp_path / "A_mask.nii.gz")
    found = find_cases(tmp_path, tmp_path)
    assert [(job.case, job.mask) for job in found.jobs] == [("A", tmp_path / "A_mask.nii.gz")]
    assert "no mask in" in caplog.text
    assert "A_mask" not in caplog.text


def test_one_image_and_one_mask_need_no_common_name(tmp_path: Path) -> None:
    image, mask = put_image(tmp_path / "scan_0000.nii.gz"), put_mask(tmp_path / "drawn.nii.gz")
    found = find_cases(image, mask)
    assert [(job.case, job.mask) for job in found.jobs] == [("scan", mask)]


def test_tables_hold_every_lesion_label_and_patient(tmp_path: Path) -> None:
    put_image(tmp_path / "images" / "A.nii.gz")
    put_image(tmp_path / "images" / "B.nii.gz")
    mask = make_mask()
    mask[8, 8, 8] = 1
    mask[9, 2, 2] = 2
    write_mask(tmp_path / "masks" / "A.nii.gz", mask, geometry=GEOMETRY)
    write_mask(tmp_path / "masks" / "B.nii.gz", mask * 0, geometry=GEOMETRY)
    found = find_cases(tmp_path / "images", tmp_path / "masks", labels=["tumour", "node"])
    run(found, tmp_path / "out")
    lesions = read_table(tmp_path / "out" / "lesions.csv")
    assert [(row["case"], row["label"], row["lesion"], row["mtv_ml"]) for row in lesions] == [
        ("A", "tumour", "1", "2.0"),
        ("A", "tumour", "2", "0.25"),
        ("A", "node", "1", "0.25"),
    ]
    labels = read_table(tmp_path / "out" / "labels.csv")
    assert [(row["case"], row["label"], row["n_lesions"], row["suv_max"]) for row in labels] == [
        ("A", "tumour", "2", "8.0"),
        ("A", "node", "1", "1.0"),
        ("B", "tumour", "0", ""),
        ("B", "node", "0", ""),
    ]
    patients = read_table(tmp_path / "out" / "patients.csv")
    assert [(row["case"], row["unit"], row["mtv_ml"]) for row in patients] == [("A", "suv", "2.5"), ("B", "suv", "0.0")]
    record = json.loads((tmp_path / "out" / "cases" / "A.json").read_text(encoding="utf-8"))
    assert record["regions"][0]["values"]["suv_max"] == 8
    assert CaseMeasures.model_validate(record).regions[-1].level == "patient"


@pytest.mark.parametrize(
    ("variant", "factor", "asked", "unit"),
    [
        (None, 1.0, None, "suv"),
        (None, 5000.0, "bq_per_ml", "bq_per_ml"),
        (None, 1.0, "counts", "counts"),
        ("lbm", 1.0, None, "sul"),
        ("bsa", 5000.0, None, "suv_bsa"),
        ("lbm", 1.0, "sul", "sul"),
    ],
)
def test_units(variant: str | None, factor: float, asked: UptakeUnit | None, unit: UptakeUnit, tmp_path: Path) -> None:
    image, mask = put_image(tmp_path / "A.nii.gz", factor), put_mask(tmp_path / "m" / "A.nii.gz")
    if variant:
        put_note(tmp_path, "A", variant)
    (case,) = run(find_cases(image, mask), tmp_path / "out", unit=asked).cases
    assert case.unit == unit


def put_other_grid(images: Path, masks: Path) -> None:
    put_image(images / "bad.nii.gz")
    write_mask(masks / "bad.nii.gz", make_mask()[:-1], geometry=Geometry((11, 11, 10), GEOMETRY.affine))


def put_unknown_unit(images: Path, masks: Path) -> None:
    put_image(images / "bad.nii.gz", 5000.0)
    put_mask(masks / "bad.nii.gz")


def put_strange_value(images: Path, masks: Path) -> None:
    put_image(images / "bad.nii.gz")
    put_mask(masks / "bad.nii.gz", 7)


def put_holes(images: Path, masks: Path) -> None:
    image = make_image()
    image[0, 0, 0, 0] = np.nan
    write_image(images / "bad.nii.gz", image, geometry=GEOMETRY)
    put_mask(masks / "bad.nii.gz")


def put_frames(images: Path, masks: Path) -> None:
    write_image(images / "bad.nii.gz", np.concatenate([make_image(), make_image()]), geometry=GEOMETRY)
    put_mask(masks / "bad.nii.gz")


def put_damaged(images: Path, masks: Path) -> None:
    write_text(images / "bad.nii.gz", "no image")
    put_mask(masks / "bad.nii.gz")


def put_lonely(images: Path, masks: Path) -> None:
    put_mask(masks / "bad.nii.gz")


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (put_other_grid, r"grid 11x11x10 but image grid 12x11x10"),
        (put_unknown_unit, r"nothing says in which unit it is.* mean of 5212 above 0 is no SUV; name the unit"),
        (put_strange_value, r"holds 7, expected 0 or 1 \(lesion\); renumber the mask, or name its labels"),
        (put_holes, "holds voxels that are not finite"),
        (put_frames, "2 channels or frames in one file, expected 1"),
        (put_damaged, "cannot be read"),
        (put_lonely, "a mask in .* without an image of its name"),
    ],
)
def test_a_case_that_fails_is_named_and_the_others_are_measured(
    put: Callable[[Path, Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    for case in ("A", "C"):
        put_image(images / f"{case}.nii.gz")
        put_mask(masks / f"{case}.nii.gz")
    put(images, masks)
    arguments = ["-i", str(images), "-p", str(masks), "-o", str(out), "-l", "lesion", "-np", "1"]
    assert measure.main(arguments) == 1
    shown = capsys.readouterr()
    assert "2 cases measured" in shown.out
    assert "error: bad: " in shown.err
    assert re.search(message, shown.err)
    assert [row["case"] for row in read_table(out / "patients.csv")] == ["A", "C"]
    assert not (out / "cases" / "bad.json").exists()


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ("nowhere", "masks", "nowhere: there is no such file or folder; name an image"),
        ("images", "nowhere", "nowhere: there is no such file or folder; name a mask"),
        ("images", None, "image files have no masks of their own; name the masks with -p"),
        ("images", "others", r"none of the 1 masks of .* \(Z\) has an image of its name in .* \(A\); name masks"),
        ("empty", "masks", "the folder is empty; name the folder that holds the images"),
    ],
)
def test_paths_that_cannot_be_used(images: str, masks: str | None, message: str, tmp_path: Path) -> None:
    put_image(tmp_path / "images" / "A.nii.gz")
    put_mask(tmp_path / "masks" / "A.nii.gz")
    put_mask(tmp_path / "others" / "Z.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match=message):
        find_cases(tmp_path / images, masks and tmp_path / masks)


def test_options_of_dicom_are_refused_for_files(tmp_path: Path) -> None:
    image, mask = put_image(tmp_path / "A.nii.gz"), put_mask(tmp_path / "m.nii.gz")
    with pytest.raises(InteractivePetError, match="holds no DICOM, so --series"):
        find_cases(image, mask, reading=DicomReading(series="*AC*"))


def test_a_unit_that_contradicts_the_note_is_refused(tmp_path: Path) -> None:
    image, mask = put_image(tmp_path / "A.nii.gz"), put_mask(tmp_path / "m.nii.gz")
    put_note(tmp_path, "A", "bw")
    failures = run(find_cases(image, mask), tmp_path / "out", unit="sul").failures
    assert "suv.json says suv, not sul" in failures["A"]


def test_what_is_measured_already_is_kept(tmp_path: Path) -> None:
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    for case in ("A", "B", "C"):
        put_image(images / f"{case}.nii.gz")
        put_mask(masks / f"{case}.nii.gz")

    def measure_all(**options: object) -> Measured:
        return run(find_cases(images, masks), out, **options)

    assert measure_all().n_kept == 0
    tables = [(out / name).read_bytes() for name in ("lesions.csv", "labels.csv", "patients.csv")]
    assert measure_all().n_kept == 3
    assert [(out / name).read_bytes() for name in ("lesions.csv", "labels.csv", "patients.csv")] == tables
    mask = make_mask()
    mask[9, 9, 9] = 1
    write_mask(masks / "B.nii.gz", mask, geometry=GEOMETRY)
    (out / "cases" / "C.json").write_text("{", encoding="utf-8")
    again = measure_all()
    assert again.n_kept == 1
    assert [case.regions[-1].values["n_lesions"] for case in again.cases] == [1, 2, 1]
    assert measure_all(unit="counts").n_kept == 0
    # what does not suit the present files is no result
    put_mask(masks / "A.nii.gz", 1).write_bytes(b"damaged")
    broken = measure_all(unit="counts")
    assert (broken.n_kept, list(broken.failures)) == (2, ["A"])
    assert not (out / "cases" / "A.json").exists()


def test_a_task_brings_images_labels_and_names(raw: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = raw / "Task909_Measured"
    for case in ("A", "B"):
        put_image(folder / "imagesTr" / f"{case}_0000.nii.gz", 5000.0)
        put_image(folder / "imagesTr" / f"{case}_0001.nii.gz")
        put_mask(folder / "labelsTr" / f"{case}.nii.gz")
    write_manifest(folder, build_manifest(folder, channels=["SPECT", "CT"], labels=["lesion"]))
    arguments = ["-t", "Task909_Measured", "-o", str(tmp_path / "out")]
    assert measure.main(arguments) == 1
    assert "channel SPECT with a mean of" in capsys.readouterr().err
    assert measure.main([*arguments, "--unit", "counts"]) == 0
    rows = read_table(tmp_path / "out" / "labels.csv")
    assert [(row["label"], row["uptake_max_counts"]) for row in rows] == [("lesion", "40000.0")] * 2
    put_mask(tmp_path / "masks" / "B.nii.gz")
    assert measure.main(["-t", "Task909_Measured", "-p", str(tmp_path / "masks"), "-o", str(tmp_path / "two")]) == 1
    assert (
        measure.main([*arguments[:2], "-p", str(tmp_path / "masks"), "-o", str(tmp_path / "two"), "--unit", "counts"])
        == 0
    )
    assert [row["case"] for row in read_table(tmp_path / "two" / "patients.csv")] == ["B"]


def test_organs_are_given_for_all_cases_and_for_each(tmp_path: Path) -> None:
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    for case in ("A", "B"):
        put_image(images / f"{case}.nii.gz")
        put_mask(masks / f"{case}.nii.gz")
    table = tmp_path / "organs.csv"
    table.write_text("case,organ,mean,sd,maximum\nB,liver,4,,5\n", encoding="utf-8")
    arguments = ["-i", str(images), "-p", str(masks), "-o", str(out), "-np", "1", "--references", str(table)]
    organs = ["--liver", "35", "35", "70", "20", "--blood-pool", "0.5", "0.1", "0.6"]
    assert measure.main([*arguments, *organs]) == 0
    rows = read_table(out / "patients.csv")
    assert [row["max_to_liver_ratio"] for row in rows] == ["8.0", "2.0"]
    assert [row["max_to_blood_pool_ratio"] for row in rows] == ["16.0", "16.0"]
    assert [row["deauville_suggestion"] for row in rows] == ["5", "4"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "out"],
        ["-t", "Task001_X", "-i", "images", "-o", "out"],
        ["-i", "images", "-o", "out", "--liver", "1", "2", "3", "4", "5"],
        ["-i", "images", "-o", "out", "--liver", "-1"],
        ["-i", "images", "-o", "out", "--blood-pool", "1", "2", "3", "0"],
        ["-i", "images", "-o", "out", "--unit", "unknown"],
        ["-i", "images"],
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        measure.main(arguments)
    assert stopped.value.code == 2
    assert "usage: interactivepet_measure" in capsys.readouterr().err
