"""Masks on their way out: each over the series that it belongs to, or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from interactivepet.cli import export
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.dataset.dicom.rtstruct import read_rtstruct
from interactivepet.dataset.dicom.seg import find_referenced_series, read_seg
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.manifest import build_manifest, write_manifest
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.predict.exporting import ExportRequest, run_export
from tests.dicom_series import OBLIQUE, draw_masks, write_grid

LABELS = {"tumour": 1, "node": 2, "core": 3}


def ask(root: Path, *formats: str) -> ExportRequest:
    return ExportRequest(root / "masks", root / "dicom", root / "out", formats or ("seg",), LABELS)


def write_patient(root: Path, patient: str, *, z: float = -812.5, study: str = "PT") -> tuple[Path, Geometry]:
    paths, geometry = write_grid(
        root / "dicom" / patient / study, origin_mm=(-71.3, 40.2, z), tilt=OBLIQUE, patient_id=patient
    )
    return paths[0], geometry


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path).SeriesInstanceUID)


def test_each_mask_goes_over_its_own_series(tmp_path: Path) -> None:
    first, first_grid = write_patient(tmp_path, "P-07")
    second, second_grid = write_patient(tmp_path, "P-08", z=-700)
    (tmp_path / "dicom" / "notes.txt").write_text("no DICOM")
    masks = draw_masks(first_grid.shape)
    # Names need not tell the patient when only one series has the mask's voxels.
    write_mask(tmp_path / "masks" / "CASE_B.nii.gz", masks["labels"], geometry=second_grid)
    write_mask(tmp_path / "masks" / "CASE_A.nrrd", masks["ring"], geometry=first_grid)
    written = run_export(ask(tmp_path, "seg", "rtstruct", "mha", "nii.gz"), executor=InlineExecutor())
    names = [f"{case}.{name}" for case in ("CASE_A", "CASE_B") for name in ("seg.dcm", "rtstruct.dcm", "mha", "nii.gz")]
    assert [path.name for paths in written.values() for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert find_referenced_series(tmp_path / "out" / "CASE_A.seg.dcm") == uid_of(first)
    assert find_referenced_series(tmp_path / "out" / "CASE_B.seg.dcm") == uid_of(second)
    for case, mask, grid in (("CASE_A", masks["ring"], first_grid), ("CASE_B", masks["labels"], second_grid)):
        out = tmp_path / "out"
        assert np.array_equal(read_seg(out / f"{case}.seg.dcm", geometry=grid), mask)
        assert np.array_equal(read_rtstruct(out / f"{case}.rtstruct.dcm", geometry=grid), mask)
        for name in ("mha", "nii.gz"):
            values, geometry = read_mask(out / f"{case}.{name}")
            assert np.array_equal(values, mask)
            assert geometry.matches(grid)


def test_the_patients_name_decides_between_series_with_the_same_voxels(tmp_path: Path) -> None:
    _, geometry = write_patient(tmp_path, "P-7")
    second, _ = write_patient(tmp_path, "P-77")
    mask = draw_masks(geometry.shape)["blob"]
    write_mask(tmp_path / "masks" / "p_77_visit1.nii.gz", mask, geometry=geometry)
    run_export(ask(tmp_path), executor=InlineExecutor())
    assert find_referenced_series(tmp_path / "out" / "p_77_visit1.seg.dcm") == uid_of(second)
    write_mask(tmp_path / "masks" / "unknown.nii.gz", mask, geometry=geometry)
    with pytest.raises(CaseError, match=r"1 of 2 cases:\nunknown: .*found PT PET AC of P-7; PT PET AC of P-77"):
        run_export(ask(tmp_path), executor=InlineExecutor())


def test_a_part_of_a_series_needs_the_patients_name(tmp_path: Path) -> None:
    _, geometry = write_patient(tmp_path, "P-07")
    mask = draw_masks(geometry.shape)["labels"]
    box = BoundingBox((4, 3, 1), (30, 28, 11))
    write_mask(tmp_path / "masks" / "P_07.nii.gz", mask[box.slices], geometry=geometry.cropped(box))
    run_export(ask(tmp_path), executor=InlineExecutor())
    whole = np.zeros_like(mask)
    whole[box.slices] = mask[box.slices]
    assert np.array_equal(read_seg(tmp_path / "out" / "P_07.seg.dcm", geometry=geometry), whole)
    (tmp_path / "masks" / "P_07.nii.gz").rename(tmp_path / "masks" / "P_09.nii.gz")
    with pytest.raises(CaseError, match=r"P_09: mask grid 26x25x10 of .* expected one series with these voxels"):
        run_export(ask(tmp_path), executor=InlineExecutor())


def test_a_mask_without_a_series_does_not_stop_the_others(tmp_path: Path) -> None:
    _, geometry = write_patient(tmp_path, "P-07")
    mask = draw_masks(geometry.shape)["blob"]
    write_mask(tmp_path / "masks" / "A.nii.gz", mask[:, :, :5], geometry=Geometry((34, 30, 5), np.eye(4)))
    write_mask(tmp_path / "masks" / "B.nii.gz", mask, geometry=geometry)
    with pytest.raises(CaseError, match=r"1 of 2 cases:\nA: mask grid 34x30x5 .*found none"):
        run_export(ask(tmp_path), executor=InlineExecutor())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["B.seg.dcm"]


def test_two_masks_on_one_series_are_refused(tmp_path: Path) -> None:
    _, geometry = write_patient(tmp_path, "P-07")
    for name in ("A", "B"):
        write_mask(tmp_path / "masks" / f"{name}.nii.gz", draw_masks(geometry.shape)["blob"], geometry=geometry)
    with pytest.raises(CaseError, match="A: several masks fit PT PET AC of P-07"):
        run_export(ask(tmp_path), executor=InlineExecutor())
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with pytest.raises(CaseError, match="no mask in this folder"):
        run_export(ask(tmp_path), executor=InlineExecutor())
    write_mask(tmp_path / "masks" / "A.nii.gz", np.ones((3, 4, 5), np.uint8), geometry=Geometry((3, 4, 5), np.eye(4)))
    with pytest.raises(CaseError, match="no such folder"):
        run_export(ask(tmp_path), executor=InlineExecutor())
    (tmp_path / "dicom").mkdir()
    with pytest.raises(CaseError, match="the folder is empty"):
        run_export(ask(tmp_path), executor=InlineExecutor())
    without = ExportRequest(tmp_path / "masks", None, tmp_path / "out", ("nrrd", "rtstruct"), LABELS)
    with pytest.raises(CaseError, match="rtstruct refer to a series"):
        run_export(without, executor=InlineExecutor())


def test_the_command(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, geometry = write_patient(tmp_path, "P-07")
    mask = draw_masks(geometry.shape)["labels"]
    write_mask(tmp_path / "masks" / "A.nii.gz", mask, geometry=geometry)
    task = raw / "Task902_Drawn"
    write_image(task / "imagesTr" / "A_0000.nii.gz", mask[None].astype(np.float32), geometry=geometry)
    write_mask(task / "labelsTr" / "A.nii.gz", mask, geometry=geometry)
    write_manifest(task, build_manifest(task, channels=["PET"], labels=list(LABELS)))
    given = ["-t", "Task902_Drawn", "-p", "masks", "--series", "dicom", "-o", "out", "-f", "seg", "rtstruct"]
    assert export.main(given) == 0
    assert "1 masks in out, each as seg, rtstruct" in capsys.readouterr().out
    assert np.array_equal(read_seg(tmp_path / "out" / "A.seg.dcm", geometry=geometry, segments=["node"]), mask == 2)
    with pytest.raises(SystemExit):
        export.main(["-t", "Task902_Drawn", "-p", "masks", "-o", "out"])
    assert "need --series" in capsys.readouterr().err
    assert export.main(["-p", "masks", "-o", "files", "-f", "nrrd", "-np", "1"]) == 0
    assert np.array_equal(read_mask(tmp_path / "files" / "A.nrrd")[0], mask)


def fill_series(folder: Path) -> None:
    """Give the slices noise in place of zeros."""
    rng = np.random.default_rng(1)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PixelData = rng.integers(0, 9000, (dataset.Rows, dataset.Columns)).astype("<i2").tobytes()
        dataset.save_as(path)


def test_measures_are_those_of_the_series(tmp_path: Path) -> None:
    from highdicom.sr import srread

    from interactivepet.dataset.dicom.case import read_suv_series

    first, geometry = write_patient(tmp_path, "P-07")
    fill_series(first.parent)
    mask = draw_masks(geometry.shape)["labels"]
    # axes in another order, and only a part of the series
    part = mask[2:-2, 3:, 1:]
    affine = geometry.affine.copy()
    affine[:3, 3] = geometry.to_mm((2, 3, 1))
    grid = Geometry((part.shape[2], part.shape[0], part.shape[1]), affine[:, [2, 0, 1, 3]])
    write_mask(tmp_path / "masks" / "P-07.nii.gz", part.transpose(2, 0, 1), geometry=grid)
    written = run_export(ask(tmp_path, "sr", "seg"), executor=InlineExecutor())
    names = ["P-07.sr.dcm", "P-07.lesions.seg.dcm", "P-07.seg.dcm"]
    assert [path.name for path in written["P-07"]] == names
    image, _, _ = read_suv_series(sorted(first.parent.iterdir()))
    groups = srread(tmp_path / "out" / names[0]).content.get_volumetric_roi_measurement_groups()
    for value, group in enumerate(groups, start=1):
        found = {m.derivation.meaning: m.value for m in group.get_measurements() if m.derivation is not None}
        assert found["Maximum"] == pytest.approx(float(image[mask == value].max()), rel=1e-6)
        assert found["Mean"] == pytest.approx(float(image[mask == value].mean()), rel=1e-6)
    segments = read_seg(tmp_path / "out" / names[1], geometry=geometry)
    assert np.array_equal(segments, mask)


@pytest.mark.parametrize(
    ("modality", "missing", "message"),
    [
        ("PT", "PatientWeight", "cannot be measured in SUV.*PatientWeight"),
        ("PT", "RadiopharmaceuticalInformationSequence", "cannot be measured in SUV.*export without sr"),
        ("CT", "PatientWeight", ""),
        ("NM", "RadiopharmaceuticalInformationSequence", ""),
    ],
)
def test_uptake_needs_a_pet_series_with_every_tag(tmp_path: Path, modality: str, missing: str, message: str) -> None:
    first, geometry = write_patient(tmp_path, "P-07")
    for path in first.parent.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Modality = modality
        dataset.pop(missing)
        dataset.save_as(path)
    write_mask(tmp_path / "masks" / "P-07.nii.gz", draw_masks(geometry.shape)["labels"], geometry=geometry)
    if message:
        with pytest.raises(CaseError, match=re.compile(message, re.DOTALL)):
            run_export(ask(tmp_path, "sr"), executor=InlineExecutor())
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
        return
    (report, _) = run_export(ask(tmp_path, "sr"), executor=InlineExecutor())["P-07"]
    text = str(pydicom.dcmread(report))
    assert "Volume" in text
    assert "SUV" not in text
