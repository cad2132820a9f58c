"""A digital PET/CT in the folders of Grand Challenge, and models made by hand that predict it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interactivepet.core.geometry import Geometry
from interactivepet.core.plan import CropPlan, Normalisation, Plan
from interactivepet.dataset.files.write import write_image, write_text
from interactivepet.model.archive import write_archive
from tests.model.models import NETWORK, list_files
from tests.session.test_session import make_case, make_plan

PET_NAME, CT_NAME = "a1b2c3d4-0000-4000-8000-000000000001.mha", "a1b2c3d4-0000-4000-8000-000000000002.mha"
MASK = Path("images/tumor-lesion-segmentation") / PET_NAME
TUMOUR, BACKGROUND = (20, 24, 10), (50, 10, 5)
"""Voxels (i, j, k) of the PET."""

Points = Sequence[tuple[Sequence[float], str]]


def make_challenge_plan(channels: Sequence[str] = ("PET",), *, crop: CropPlan | None = None) -> Plan:
    network = NETWORK.model_copy(update={"input_channels": len(channels) + 3, "output_channels": 2})
    schemes = {"ct": Normalisation(scheme="ct", clip=(-1000.0, 1000.0), mean=0.0, std=500.0)}
    rules = tuple(schemes.get(name.lower(), Normalisation(scheme="suv")) for name in channels)
    changes = {"channels": tuple(channels), "labels": {"lesion": 1}, "network": network, "normalisation": rules}
    return make_plan(crop=crop).model_copy(update=changes)


def write_challenge_model(path: Path, channels: Sequence[str] = ("PET",)) -> Path:
    write_archive(path, list_files(make_challenge_plan(channels), n_folds=1), name="small")
    return path


def write_points(path: Path, points: Points) -> Path:
    listed = [{"point": list(point), "name": name} for point, name in points]
    write_text(path, json.dumps({"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": listed}))
    return path


def make_ct(pet: Geometry) -> tuple[np.ndarray, Geometry]:
    """Make a CT (1, I, J, K) in HU with finer voxels and another field of view than the PET's."""
    shape = (80, 70, 40)
    affine = pet.affine.copy()
    affine[:3, :3] = pet.affine[:3, :3] * np.array([0.9, 0.8, 0.6])
    affine[:3, 3] = pet.to_mm((2.0, -3.0, -1.0))
    i, j, k = np.indices(shape)
    body = ((i - 40) / 30) ** 2 + ((j - 35) / 25) ** 2 <= 1
    return np.where(body, 40.0 + 3 * k, -1000.0)[None].astype(np.float32), Geometry(shape, affine)


def write_pet(inputs: Path) -> Geometry:
    case = make_case()
    write_image(inputs / "images/pet" / PET_NAME, case.image, geometry=case.geometry)
    return case.geometry


def write_inputs(inputs: Path, *, points: Points | None = None) -> Path:
    """Write PET, CT and, unless they are None, clicks."""
    image, geometry = make_ct(write_pet(inputs))
    write_image(inputs / "images/ct" / CT_NAME, image, geometry=geometry)
    if points is not None:
        write_points(inputs / "lesion-clicks.json", points)
    return inputs
