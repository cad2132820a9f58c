from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Spacing
from interactivepet.quantification.shape import measure_shape


@pytest.mark.parametrize(
    ("spacing_mm", "volume_mm3", "area_mm2", "diameter_mm"),
    [
        # the mesh around one voxel is an octahedron through the middles of its faces
        ((2.0, 2.0, 2.0), 4 / 3, 4 * np.sqrt(3), 2.0),
        ((6.0, 6.0, 6.0), 36.0, 36 * np.sqrt(3), 6.0),
        ((2.0, 2.0, 8.0), 16 / 3, 4 * np.sqrt(33), 8.0),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5)])
def test_one_voxel_is_an_octahedron(
    spacing_mm: Spacing, volume_mm3: float, area_mm2: float, diameter_mm: float, shape: tuple[int, int, int]
) -> None:
    mask = np.zeros(shape, np.bool_)
    mask[-1, -1, -1] = True
    found = measure_shape(mask, spacing_mm=spacing_mm)
    assert found.mesh_volume_ml == pytest.approx(volume_mm3 / 1000, rel=1e-5)
    assert found.surface_area_mm2 == pytest.approx(area_mm2, rel=1e-5)
    assert found.maximum_diameter_mm == pytest.approx(diameter_mm, rel=1e-5)


def make_ball(radius_mm: float, spacing_mm: Spacing) -> np.ndarray:
    reach = [int(radius_mm // edge) + 1 for edge in spacing_mm]
    steps = [np.arange(-n, n + 1) * edge for n, edge in zip(reach, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*steps, indexing="ij")
    return x**2 + y**2 + z**2 <= radius_mm**2


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0)])
def test_a_ball_has_the_volume_and_diameter_of_a_ball(spacing_mm: Spacing) -> None:
    found = measure_shape(make_ball(20.0, spacing_mm), spacing_mm=spacing_mm)
    assert found.mesh_volume_ml == pytest.approx(4 / 3 * np.pi * 8, rel=0.02)
    assert found.maximum_diameter_mm == pytest.approx(40, rel=0.08)
    # steps between voxels add surface
    assert 0.88 < found.sphericity < 0.95
    assert found.asphericity == pytest.approx(1 / found.sphericity - 1)


def test_a_rod_is_less_round_than_a_ball() -> None:
    rod = np.ones((2, 2, 20), np.bool_)
    assert measure_shape(rod, spacing_mm=(2, 2, 2)).sphericity < 0.6


def test_a_hole_adds_surface_and_takes_volume() -> None:
    full = np.ones((7, 7, 7), np.bool_)
    hollow = full.copy()
    hollow[3, 3, 3] = False
    whole, holed = (measure_shape(mask, spacing_mm=(2.0, 2.0, 2.0)) for mask in (full, hollow))
    assert holed.surface_area_mm2 - whole.surface_area_mm2 == pytest.approx(4 * np.sqrt(3), rel=1e-4)
    assert whole.mesh_volume_ml - holed.mesh_volume_ml == pytest.approx(4 / 3000, rel=1e-2)
