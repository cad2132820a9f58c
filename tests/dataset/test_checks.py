from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.checks import check_image
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import write_image
from interactivepet.dataset.validate import find_issues

SHAPE = (7, 5, 3)
CHANNELS = ("PET", "CT")


def make_case() -> Case:
    """PET from 0 to 9 and CT from -1000 to 200, on an anisotropic grid."""
    pet, ct = np.linspace(0, 9, 105), np.linspace(-1000, 200, 105)
    image = np.stack([pet, ct]).reshape(2, *SHAPE).astype(np.float32)
    return Case("C7", image, Geometry(SHAPE, np.diag([2.0, 2.5, 5.0, 1.0])))


def spoil(case: Case, kind: str) -> Case:
    """Give the case a defect."""
    image = case.image.copy()
    if kind == "nan":
        image[0, 1, 1, 1], image[0, 2, 2, 2] = np.nan, np.inf
    elif kind == "constant":
        image[1] = -1000
    elif kind == "swapped":
        image = image[::-1].copy()
    elif kind == "negative-suv":
        image[0, 0, 0, 0] = -1
    elif kind == "channels":
        image = image[:1]
    return Case(case.id, image, case.geometry)


def test_a_sound_image_has_no_issues() -> None:
    assert check_image(make_case(), CHANNELS) == ()


@pytest.mark.parametrize("kind", ["nan", "constant", "swapped", "negative-suv", "channels"])
def test_a_case_in_memory_is_judged_as_its_file(kind: str, tmp_path: Path) -> None:
    case = spoil(make_case(), kind)
    path = tmp_path / "imagesTs" / "C7.nii.gz"
    write_image(path, case.image, geometry=case.geometry)
    entry = CaseEntry(id="C7", images=("imagesTs/C7.nii.gz",))
    manifest = DatasetManifest(
        task="T", channels=CHANNELS, labels={"lesion": 1}, file_ending=".nii.gz", training=(), test=(entry,)
    )
    issues = check_image(read_case(tmp_path, entry), CHANNELS)
    assert [(issue.case, issue.kind, issue.severity) for issue in issues] == [("C7", kind, "error")]
    in_file = find_issues(tmp_path, entry, manifest=manifest)
    assert [issue.kind for issue in in_file] == [kind]


def test_a_ct_without_air_is_a_note() -> None:
    case = make_case()
    image = case.image.copy()
    image[1] += 900
    (issue,) = check_image(Case(case.id, image, case.geometry), CHANNELS)
    assert (issue.kind, issue.severity) == ("swapped", "note")


def test_a_sheared_grid_and_an_empty_2d_image() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.2
    flat = Case("F", np.zeros((1, 6, 4, 1), np.float32), Geometry((6, 4, 1), affine))
    assert [issue.kind for issue in check_image(flat, ("PET",))] == ["shear", "constant"]
