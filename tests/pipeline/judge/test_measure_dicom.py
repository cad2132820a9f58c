from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.dicom.activity import read_stored_series
from interactivepet.dataset.dicom.images import read_dicom_case
from interactivepet.dataset.dicom.seg import write_seg
from interactivepet.dataset.files.write import write_mask
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.judge.measure import Measured, MeasureOptions, run_measure
from interactivepet.pipeline.judge.measure_jobs import find_cases
from tests.dicom_series import NEEDED_TO_REFER, write_series

NEEDED = dict.fromkeys(NEEDED_TO_REFER, "")


def write_drawn(folder: Path, **changes: object) -> np.ndarray:
    """Write a series and a SEG of two labels over it; give the mask."""
    write_series(folder / "pet", **(NEEDED | changes))
    case = read_dicom_case(folder)
    mask = np.zeros(case.geometry.shape, np.uint8)
    mask[1:3, 1:3, 2:4] = 1
    mask[4, 3, 5] = 2
    paths = sorted((folder / "pet").iterdir())
    labels = {"node": 1, "tumour": 2}
    write_seg(folder / "drawn.dcm", mask, geometry=case.geometry, labels=labels, series=paths)
    return mask


def measure(folder: Path, masks: Path | None = None, *, unit: UptakeUnit | None = None) -> Measured:
    found = find_cases(folder, masks, unit=unit)
    return run_measure(found, folder.parent / "out", options=MeasureOptions(unit=unit), executor=InlineExecutor())


def test_regions_of_a_tree_are_measured_in_suv(tmp_path: Path) -> None:
    mask = write_drawn(tmp_path / "tree")
    (case,) = measure(tmp_path / "tree").cases
    image = read_dicom_case(tmp_path / "tree").image[0]
    labels = {region.label: region.values for region in case.regions if region.level == "label"}
    assert case.unit == "suv"
    assert labels["node"]["suv_max"] == pytest.approx(float(image[mask == 1].max()))
    assert labels["tumour"]["suv_mean"] == pytest.approx(float(image[mask == 2].mean()))


@pytest.mark.parametrize(
    ("unit", "name", "factor"),
    [
        ("suv", "suv_max", None),
        ("sul", "sul_max", None),
        ("bq_per_ml", "uptake_max_bq_per_ml", 2.0),
    ],
)
def test_a_series_is_converted_or_taken_as_it_was_stored(
    unit: UptakeUnit, name: str, factor: float | None, tmp_path: Path
) -> None:
    mask = write_drawn(tmp_path / "tree")
    (case,) = measure(tmp_path / "tree", unit=unit).cases
    variant = "lbm" if unit == "sul" else "bw"
    image = read_dicom_case(tmp_path / "tree", variant=variant).image[0]
    if factor is not None:
        image, _ = read_stored_series(sorted((tmp_path / "tree" / "pet").iterdir()), unit=unit)
        assert image.max() == factor * (5 * 100 + 3 * 10 + 4)
    assert case.regions[-1].values[name] == pytest.approx(float(image[mask > 0].max()))


def test_masks_of_files_are_matched_with_series_by_the_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "tree")
    case = read_dicom_case(tmp_path / "tree")
    mask = np.ones(case.geometry.shape, np.uint8)
    write_mask(tmp_path / "masks" / "PAT_1.nii.gz", mask, geometry=case.geometry)
    write_mask(tmp_path / "drawn.nrrd", mask, geometry=case.geometry)
    for masks in (tmp_path / "masks", tmp_path / "drawn.nrrd"):
        (measured,) = measure(tmp_path / "tree", masks).cases
        assert measured.case == "PAT_1"
        assert measured.regions[-1].values["suv_max"] == pytest.approx(float(case.image.max()))


@pytest.mark.parametrize(
    ("units", "unit", "message"),
    [
        ("BQML", "counts", r"Units \(0054,1001\) is BQML, expected CNTS for counts"),
        ("GML", "bq_per_ml", r"Units \(0054,1001\) is GML, expected BQML for bq_per_ml"),
    ],
)
def test_a_series_in_another_unit_is_refused(units: str, unit: UptakeUnit, message: str, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "pet", Units=units)
    with pytest.raises(CaseError, match=message):
        read_stored_series(sorted(folder.iterdir()), unit=unit)


def test_a_scan_without_suv_can_be_measured_in_its_own_unit(tmp_path: Path) -> None:
    write_series(tmp_path / "tree", PatientWeight=None, Units="CNTS", RadionuclideTotalDose=None)
    masks = tmp_path / "masks"
    values, geometry = read_stored_series(sorted((tmp_path / "tree").iterdir()), unit="counts")
    write_mask(masks / "PAT_1.nii.gz", np.ones(geometry.shape, np.uint8), geometry=geometry)
    refused = measure(tmp_path / "tree", masks)
    assert "tags are missing" in refused.failures["PAT_1"]
    (case,) = measure(tmp_path / "tree", masks, unit="counts").cases
    assert case.regions[-1].values["uptake_max_counts"] == float(values.max())


def test_a_tree_without_masks_names_what_is_missing(tmp_path: Path) -> None:
    write_series(tmp_path / "tree")
    with pytest.raises(CaseError, match=r"none of its PET series \(PAT_1\) has an RTSTRUCT or SEG"):
        measure(tmp_path / "tree")


@pytest.mark.real_data
def test_regions_of_a_real_patient(real_data: Path, tmp_path: Path) -> None:
    found = find_cases(real_data / "dicom" / "STS_001", None)
    (case,) = run_measure(found, tmp_path, options=MeasureOptions(), executor=InlineExecutor()).cases
    tumour = next(region for region in case.regions if region.label == "GTV_Mass" and region.level == "label")
    assert tumour.values["suv_max"] == pytest.approx(7.911, abs=0.001)
    assert tumour.values["mtv_ml"] == pytest.approx(366.08, abs=0.01)
