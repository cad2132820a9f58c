"""Masks in TotalSegmentator's files: which count, on which grid they arrive, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.write import write_mask, write_text
from interactivepet.dataset.organ_masks import ORGANS, read_organ_masks
from interactivepet.errors import CaseError

PET = Geometry((20, 18, 24), np.diag([-4.0, -4.0, 5.0, 1.0]))
CT = Geometry((70, 66, 80), np.diag([-1.2, -1.2, 1.6, 1.0]))


def write_box(path: Path, low: tuple[float, ...], high: tuple[float, ...], *, geometry: Geometry = CT) -> None:
    """Write a box whose corners are voxels of the PET."""
    places = PET.to_voxel(geometry.to_mm(np.moveaxis(np.indices(geometry.shape), 0, -1).reshape(-1, 3)))
    inside = ((places >= np.asarray(low) - 0.5) & (places <= np.asarray(high) + 0.5)).all(axis=1)
    write_mask(path, inside.reshape(geometry.shape).astype(np.uint8), geometry=geometry)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_masks_come_to_the_grid_of_the_image(ending: str, tmp_path: Path) -> None:
    write_box(tmp_path / f"liver{ending}", (3, 3, 3), (8, 8, 8))
    write_box(tmp_path / f"urinary_bladder{ending}", (12, 10, 12), (14, 12, 14), geometry=PET)
    found = read_organ_masks(tmp_path, geometry=PET)
    assert set(found) == {"liver", "bladder"}
    assert found["liver"].shape == PET.shape
    assert found["liver"][3:9, 3:9, 3:9].mean() > 0.95
    assert found["liver"].sum() == pytest.approx(6**3, rel=0.15)
    assert found["bladder"].sum() == 27


def test_classes_of_one_organ_are_joined(tmp_path: Path) -> None:
    write_box(tmp_path / "colon.nii.gz", (3, 3, 3), (5, 5, 5), geometry=PET)
    write_box(tmp_path / "duodenum.nii.gz", (9, 9, 9), (11, 11, 11), geometry=PET)
    write_box(tmp_path / "gluteus_medius_left.nii.gz", (1, 1, 1), (1, 1, 1), geometry=PET)
    found = read_organ_masks(tmp_path, geometry=PET)
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"bowel": 54, "muscle": 1}


def test_empty_masks_organs_outside_and_other_classes_are_left_out(tmp_path: Path) -> None:
    write_mask(tmp_path / "spleen.nii.gz", np.zeros(CT.shape, np.uint8), geometry=CT)
    affine = CT.affine.copy()
    affine[2, 3] = 20.0
    high = Geometry(CT.shape, affine)
    mask = np.zeros(CT.shape, np.uint8)
    mask[:, :, 70:] = 1
    write_mask(tmp_path / "brain.nii.gz", mask, geometry=high)
    write_box(tmp_path / "femur_left.nii.gz", (3, 3, 3), (5, 5, 5))
    write_box(tmp_path / "heart.nii.gz", (3, 3, 3), (5, 5, 5))
    assert set(read_organ_masks(tmp_path, geometry=PET)) == {"heart"}


def test_every_organ_of_the_rules_has_a_class() -> None:
    assert {"brain", "heart", "left kidney", "right kidney", "bladder", "liver", "spleen"} <= set(ORGANS.values())


@pytest.mark.parametrize("case", ["empty", "missing", "other", "elsewhere", "damaged"])
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    folder, message = tmp_path / "masks", "no mask of an organ, expected TotalSegmentator's files"
    if case != "missing":
        folder.mkdir()
    if case == "other":
        write_box(folder / "femur_left.nii.gz", (3, 3, 3), (5, 5, 5))
    if case == "elsewhere":
        far = CT.affine.copy()
        far[2, 3] = 9000.0
        write_mask(folder / "liver.nii.gz", np.ones(CT.shape, np.uint8), geometry=Geometry(CT.shape, far))
        message = r"liver\.nii\.gz: .* covers 0%"
    if case == "damaged":
        write_text(folder / "liver.nii.gz", "no image")
        message = r"liver\.nii\.gz"
    with pytest.raises(CaseError, match=message):
        read_organ_masks(folder, geometry=PET)
