"""Shape of one lesion, from the mesh around its voxels.

The mesh is the one of marching cubes at half height between voxels inside and outside; what lies outside of the grid is
outside of the lesion.

Source:
    Image Biomarker Standardisation Initiative (IBSI), reference manual, morphological features: volume (RNU0), surface
    area (C0JK), sphericity (QCFX), asphericity (25C7), maximum 3D diameter (L0JK).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, FloatArray, Spacing, to_triple

__all__ = ["LesionShape", "measure_shape"]


@dataclass(frozen=True, slots=True)
class LesionShape:
    """The shape of one lesion.

    Attributes:
        mesh_volume_ml: volume inside the mesh, which is less than that of the voxels.
        surface_area_mm2: area of the mesh.
        maximum_diameter_mm: largest distance between two points of the mesh.
    """

    mesh_volume_ml: float
    surface_area_mm2: float
    maximum_diameter_mm: float

    @property
    def sphericity(self) -> float:
        """Surface of a ball of the same volume over the surface of the lesion, in (0, 1]."""
        volume_mm3 = 1000.0 * self.mesh_volume_ml
        return float((36.0 * np.pi * volume_mm3**2) ** (1.0 / 3.0) / self.surface_area_mm2)

    @property
    def asphericity(self) -> float:
        """Surface of the lesion over the surface of a ball of the same volume, minus 1; 0 for a ball."""
        return 1.0 / self.sphericity - 1.0


def measure_shape(mask: npt.NDArray[np.bool_], *, spacing_mm: Spacing) -> LesionShape:
    """Measure one lesion, (I, J, K) bool with at least one voxel."""
    from skimage.measure import marching_cubes, mesh_surface_area

    box = BoundingBox.of(mask) or BoundingBox((0, 0, 0), to_triple(mask.shape))
    vertices, faces, *_ = marching_cubes(np.pad(mask[box.slices], 1).astype(np.float32), 0.5, spacing=spacing_mm)
    return LesionShape(
        mesh_volume_ml=_measure_volume_mm3(vertices, faces) / 1000.0,
        surface_area_mm2=float(mesh_surface_area(vertices, faces)),
        maximum_diameter_mm=_measure_diameter_mm(vertices),
    )


def _measure_volume_mm3(vertices: npt.NDArray[Any], faces: npt.NDArray[Any]) -> float:
    """Sum up the tetrahedra between the faces and one point, those that face it with a negative sign."""
    corners: FloatArray = (vertices - vertices.mean(axis=0)).astype(np.float64)[faces]
    volumes = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return float(abs(volumes.sum()) / 6.0)


def _measure_diameter_mm(vertices: npt.NDArray[Any]) -> float:
    """Only points of the convex hull can be the farthest apart."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    outer = vertices[ConvexHull(vertices).vertices].astype(np.float64)
    return float(pdist(outer).max())
