"""How long measuring takes: a whole body with ten regions, read already.

    python tests/benchmarks/measure_whole_body.py [DICOM_FOLDER]

With a folder, its PET series is the image; without, a digital body of 192 x 192 x 267 voxels. The regions are balls of
1 to 30 ml at random places. Prints the wall time of three runs and the number of lesions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from interactivepet.core.geometry import BoundingBox, Geometry, to_triple
from interactivepet.dataset.dicom.images import read_dicom_case
from interactivepet.quantification.case import measure_regions

N_REGIONS = 10


def read_body(arguments: list[str]) -> tuple[np.ndarray, Geometry]:
    if arguments:
        case = read_dicom_case(Path(arguments[0]))
        return case.image[0], case.geometry
    shape = (192, 192, 267)
    image = np.random.default_rng(0).gamma(2.0, 0.5, shape).astype(np.float32)
    return image, Geometry(shape, np.diag([3.65, 3.65, 3.27, 1.0]))


def draw_regions(geometry: Geometry) -> np.ndarray:
    """Draw one ball per tenth of the body's length."""
    rng = np.random.default_rng(1)
    mask = np.zeros(geometry.shape, np.uint8)
    spacing_mm = np.asarray(geometry.spacing_mm)
    for number in range(N_REGIONS):
        radius_mm = 10 * (3 * rng.uniform(1, 30) / (4 * np.pi)) ** (1 / 3)
        share = [rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), (number + 0.5) / N_REGIONS]
        centre = np.asarray(geometry.shape) * share
        reach = np.ceil(radius_mm / spacing_mm)
        middle = BoundingBox.of_voxel(to_triple(int(n) for n in centre))
        box = middle.grown(to_triple(int(n) for n in reach), geometry.shape)
        index = np.indices(box.shape).reshape(3, -1).T + box.start
        inside = np.linalg.norm((index - centre) * spacing_mm, axis=1) <= radius_mm
        mask[box.slices] |= inside.reshape(box.shape).astype(np.uint8)
    return mask


def main() -> None:
    image, geometry = read_body(sys.argv[1:])
    mask = draw_regions(geometry)
    print(f"{'x'.join(map(str, geometry.shape))} voxels, {int(mask.sum())} of them in regions")
    for run in range(3):
        start = time.perf_counter()
        regions = measure_regions(image, mask, geometry=geometry, labels={"lesion": 1}, unit="suv")
        seconds = time.perf_counter() - start
        print(f"run {run}: {seconds:.2f} s, {sum(region.level == 'lesion' for region in regions)} lesions")


if __name__ == "__main__":
    main()
