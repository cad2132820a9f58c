"""A grid that the machine cannot hold is refused before it is made."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.memory import find_memory_bytes
from interactivepet.errors import CaseError
from interactivepet.preprocessing import room
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.preprocessing.room import check_room
from tests.session.test_session import make_plan


def test_this_machine_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**28 < find_memory_bytes() < 2**50
    monkeypatch.delattr(os, "sysconf")
    assert find_memory_bytes() == math.inf


ROOMS = {
    "as large as the memory": ((10, 10, 10), 1, 4000.0, ""),
    "a voxel too large": ((10, 10, 10), 1, 3999.0, "A: 10 x 10 x 10 voxels on the plan's grid take 0 GB"),
    "two channels": ((10, 10, 10), 2, 4000.0, "on the plan's grid"),
    "huge": ((10**6, 10**6, 10**6), 1, 64e9, "take 4000000000 GB, this machine has 64 GB; check the image's spacing"),
}


@pytest.mark.parametrize("name", ROOMS)
def test_what_has_no_room_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, n_channels, memory, message = ROOMS[name]
    monkeypatch.setattr(room, "find_memory_bytes", lambda: memory)
    if not message:
        check_room("A", shape, n_channels=n_channels)
        return
    with pytest.raises(CaseError, match=message):
        check_room("A", shape, n_channels=n_channels)


@pytest.mark.parametrize(
    "update", [{"spacing_mm": (1e-5, 1e-5, 1e-5)}, {"target_shape": (10**6, 10**6, 10**6)}], ids=["spacing", "shape"]
)
def test_a_plan_with_a_grid_that_is_too_fine_is_refused(update: dict[str, object]) -> None:
    geometry = Geometry((8, 8, 8), np.diag([4.0, 4.0, 4.0, 1.0]))
    case = Case("A", np.ones((1, 8, 8, 8), np.float32), geometry)
    plan = make_plan().model_copy(update=update)
    with pytest.raises(CaseError, match=r"A: \d+ x \d+ x \d+ voxels on the plan's grid take \d+ GB, this machine has"):
        preprocess(case, plan, box=BoundingBox((0, 0, 0), (8, 8, 8)))
