"""IBSI's digital phantom: its reference values, within its tolerances."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.quantification.case import measure_regions

IMPLEMENTED = {
    "stat_mean": ("suv_mean", 1),
    "stat_median": ("suv_median", 1),
    "stat_min": ("suv_min", 1),
    "stat_max": ("suv_max", 1),
    "loc_peak_loc": ("suv_peak_local", 1),
    "loc_peak_glob": ("suv_peak_global", 1),
    "morph_vol_approx": ("mtv_ml", 1000),
    "morph_volume": ("mesh_volume_ml", 1000),
    "morph_area_mesh": ("surface_area_mm2", 1),
    "morph_sphericity": ("sphericity", 1),
    "morph_asphericity": ("asphericity", 1),
    "morph_diam": ("maximum_diameter_mm", 1),
}
"""Tag of the reference -> measure of a lesion, and by how much the unit of the reference is smaller."""


@pytest.mark.real_data
@pytest.mark.parametrize("tag", IMPLEMENTED)
def test_reference_values(tag: str, real_data: Path) -> None:
    folder = real_data / "ibsi_1_digital_phantom"
    with (folder / "reference.csv").open(encoding="utf-8") as stream:
        rows = {row["tag"]: row for row in csv.DictReader(stream, delimiter=";")}
    image, geometry = read_image([folder / "image" / "phantom.nii.gz"])
    mask, _ = read_mask(folder / "mask" / "mask.nii.gz")
    lesion = measure_regions(image[0], mask, geometry=geometry, labels={"lesion": 1}, unit="suv")[0]
    name, factor = IMPLEMENTED[tag]
    expected = rows[tag]["reference value"]
    n_decimals = len(expected.partition(".")[2])
    # A tolerance of 0 is that of the digits that the reference is given with.
    tolerance = max(float(rows[tag]["tolerance"]), 0.5 * 10.0**-n_decimals)
    assert (lesion.values[name] or 0) * factor == pytest.approx(float(expected), abs=tolerance)
