"""Small cases with one or two hot blobs, and a model folder trained on them in a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.nninteractive.demo_model import train_demo_model

MakeCase = Callable[..., Case]
Place = Callable[..., Click]


def _make_case(
    seed: int = 0,
    shape: tuple[int, int, int] = (40, 36, 32),
    centres: tuple[tuple[int, int, int], ...] = ((14, 16, 15), (30, 24, 16)),
    radius: float = 4.0,
) -> Case:
    """Hot balls in noise; the label is 1 inside all of them."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    label = np.zeros(shape, dtype=np.uint8)
    for centre in centres:
        distance = np.sqrt(((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0))
        label[distance <= radius] = 1
    image = rng.normal(1.0, 0.2, size=shape) + 6.0 * label
    affine = np.array([[-4.0, 0, 0, 90], [0, 0, 4.0, -60], [0, 3.0, 0, 40], [0, 0, 0, 1]])
    return Case(f"BLOB_{seed}", image[None].astype(np.float32), Geometry(shape, affine), label)


@pytest.fixture(scope="session")
def make_case() -> MakeCase:
    return _make_case


@pytest.fixture(scope="session")
def click() -> Place:
    def place(case: Case, voxel: tuple[int, int, int], *, label: int = 1, is_positive: bool = True) -> Click:
        x, y, z = (float(v) for v in case.geometry.to_mm(voxel))
        return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)

    return place


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly trained: enough to segment a hot ball, so that masks are not empty."""
    folder = tmp_path_factory.mktemp("models") / "blobs"
    cases = [_make_case(seed) for seed in range(3)]
    train_demo_model(cases, folder, iterations=40, rng=np.random.default_rng(1), licence="MIT")
    return folder
