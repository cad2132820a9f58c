"""How far lesions lie apart.

Source:
    Cottereau et al. 2020, J Nucl Med 61:40 (Dmax_patient, SPREAD_patient); Cottereau et al. 2021, Ann Oncol 32:404,
    who take the centroid of each lesion for its place.
"""

from __future__ import annotations

from interactivepet.core.geometry import FloatArray

__all__ = ["measure_dmax_mm", "measure_spread_mm"]


def measure_dmax_mm(centroids_mm: FloatArray) -> float | None:
    """Measure the largest distance between the centroids (N, 3) of two lesions; None for fewer than two."""
    distances = _list_distances(centroids_mm)
    return None if distances is None else max(float(row.max()) for row in distances)


def measure_spread_mm(centroids_mm: FloatArray) -> float | None:
    """Sum up the distances of a lesion from all others, for the lesion where the sum is largest; None as above."""
    distances = _list_distances(centroids_mm)
    return None if distances is None else max(float(row.sum()) for row in distances)


def _list_distances(centroids_mm: FloatArray) -> list[FloatArray] | None:
    """Give for each lesion its distances from all lesions, in mm."""
    import numpy as np

    if len(centroids_mm) < 2:
        return None
    return [np.linalg.norm(centroids_mm - centre, axis=1) for centre in centroids_mm]
