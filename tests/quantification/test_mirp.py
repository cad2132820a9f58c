"""Agreement with another implementation of the same standard, `mirp` (Zwanenburg et al. 2024, JOSS 9:6413)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.phantom.patient import make_patient
from interactivepet.quantification.case import measure_regions

pytestmark = [
    pytest.mark.slow,
    # ITK's bindings and mirp warn about themselves
    pytest.mark.filterwarnings("ignore"),
]

LARGEST_DIFFERENCE = 1e-3
"""Relative."""

SAME = {
    "stat_max": ("suv_max", 1),
    "stat_mean": ("suv_mean", 1),
    "stat_median": ("suv_median", 1),
    "stat_min": ("suv_min", 1),
    "loc_peak_loc": ("suv_peak_local", 1),
    "loc_peak_glob": ("suv_peak_global", 1),
    "morph_vol_approx": ("mtv_ml", 1000),
    "morph_volume": ("mesh_volume_ml", 1000),
    "morph_area_mesh": ("surface_area_mm2", 1),
    "morph_sphericity": ("sphericity", 1),
    "morph_asphericity": ("asphericity", 1),
    "morph_diam": ("maximum_diameter_mm", 1),
}
"""Feature of mirp -> measure of a lesion, and by how much the unit of mirp is smaller."""


def extract(image: Path, mask: Path) -> dict[str, Any]:
    mirp = pytest.importorskip("mirp", reason="the package mirp is not installed")
    families = ["morphological", "local_intensity", "statistics"]
    tables = mirp.extract_features(image=str(image), mask=str(mask), base_feature_families=families)
    return dict(tables[0].iloc[0])


def compare(image: np.ndarray, label: np.ndarray, geometry: Geometry, folder: Path) -> None:
    """Compare the largest lesion of a case with mirp, which reads the same voxels from files."""
    from interactivepet.core.components import find_components

    components, _ = find_components(label == 1)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    lesion = (components == sizes.argmax()).astype(np.uint8)
    write_image(folder / "image.nii.gz", image, geometry=geometry)
    write_mask(folder / "mask.nii.gz", lesion, geometry=geometry)
    features = extract(folder / "image.nii.gz", folder / "mask.nii.gz")
    region = measure_regions(image[0], lesion, geometry=geometry, labels={"lesion": 1}, unit="suv")[0]
    ours = {feature: (region.values[name] or 0) * factor for feature, (name, factor) in SAME.items()}
    assert ours == pytest.approx({feature: float(features[feature]) for feature in SAME}, rel=LARGEST_DIFFERENCE)


@pytest.mark.parametrize("seed", range(3))
def test_phantom_patients_agree_with_mirp(seed: int, tmp_path: Path) -> None:
    image, label, geometry = make_patient(np.random.default_rng(seed), n_lesions=(1, 3))
    compare(image, label, geometry, tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("case", [f"STS_{number:03d}" for number in range(1, 6)])
def test_sarcomas_agree_with_mirp(case: str, real_data: Path, tmp_path: Path) -> None:
    task = real_data / "Task501_STSPET"
    image, geometry = read_image([task / "imagesTr" / f"{case}_0000.nii.gz"])
    label, _ = read_mask(task / "labelsTr" / f"{case}.nii.gz")
    compare(image, label, geometry, tmp_path)
