"""Convert IBSI's digital reference objects for SUV and compare with their expected values.

    python tests/benchmarks/suv_objects.py FOLDER

FOLDER holds `expected.csv` (id, section, description, suv_min, suv_median, suv_max) and a folder per object with the
PET series in `PT` and the mask in `mask/*.nii.gz`. Prints a table; exit status 1 when a value differs in its second
decimal or an object is refused.

Some objects store SUV in integers so coarse that the expected value lies between two of them (the one in CM2ML has
steps of 0.04). There a value is right when it is one of these two, and the table says so.
"""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.case import read_suv_series
from interactivepet.dataset.files.read import read_image
from interactivepet.errors import InteractivePetError

COLUMNS = ("suv_min", "suv_median", "suv_max")


@dataclass(frozen=True)
class Row:
    """One object: what is expected, and the values found with the SUV of one stored step, or the error."""

    name: str
    expected: tuple[float, ...]
    found: tuple[float, ...] = ()
    step: float = 0.0
    error: str = ""

    @property
    def result(self) -> str:
        """Whether all three values agree to two decimals, or are next to what the file can store."""
        if self.error:
            return f"error: {self.error}"
        pairs = list(zip(self.found, self.expected, strict=True))
        if all(round(found, 2) == expected for found, expected in pairs):
            return "right"
        if all(round(found, 2) == expected or self._is_next(found, expected) for found, expected in pairs):
            return f"right to the file's steps of {self.step:.3f}"
        return "wrong"

    def _is_next(self, found: float, expected: float) -> bool:
        """Whether no stored integer gives the expected value, and `found` is of the integer below or above it."""
        lower = math.floor(expected / self.step + 1e-3)
        is_stored = abs(expected - round(expected / self.step) * self.step) < 0.005
        return not is_stored and round(found / self.step, 3) in (lower, lower + 1)


def measure(folder: Path) -> tuple[tuple[float, ...], float]:
    """Give minimum, median and maximum SUV by body weight inside the object's mask, and the SUV of a stored step."""
    paths = sorted(path for path in (folder / "PT").iterdir() if path.is_file())
    values, geometry, rule = read_suv_series(paths)
    step = rule.factor * float(pydicom.dcmread(paths[0], stop_before_pixels=True).RescaleSlope)
    (path,) = (folder / "mask").glob("*.nii*")
    inside = values[place_mask(*read_image([path]), target=geometry)]
    return (float(inside.min()), float(np.median(inside)), float(inside.max())), step


def place_mask(mask: npt.NDArray[np.float32], geometry: Geometry, *, target: Geometry) -> npt.NDArray[np.bool_]:
    """Give the mask on the PET grid, by positions in mm: its axes may point elsewhere."""
    inside = np.argwhere(mask[0] > 0.5)
    index = np.rint(target.to_voxel(geometry.to_mm(inside))).astype(int)
    placed = np.zeros(target.shape, dtype=bool)
    placed[tuple(index.T)] = True
    return placed


def compare(folder: Path) -> list[Row]:
    """Convert every object that `expected.csv` lists."""
    rows: list[Row] = []
    with (folder / "expected.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            expected = tuple(float(line[column]) for column in COLUMNS)
            try:
                rows.append(Row(line["id"], expected, *measure(folder / line["id"])))
            except (InteractivePetError, OSError, ValueError) as error:
                rows.append(Row(line["id"], expected, error=" ".join(str(error).split())))
    return rows


def main() -> int:
    """Print the table."""
    if len(sys.argv) != 2:
        print("usage: python tests/benchmarks/suv_objects.py FOLDER", file=sys.stderr)
        return 2
    rows = compare(Path(sys.argv[1]))
    print("| id | expected min / median / max | found min / median / max | result |\n|---|---|---|---|")
    for row in rows:
        expected, found = (" / ".join(f"{value:.2f}" for value in values) for values in (row.expected, row.found))
        print(f"| {row.name} | {expected} | {found or '-'} | {row.result} |")
    n_right = sum(row.result.startswith("right") for row in rows)
    print(f"{n_right} of {len(rows)} right")
    return 0 if rows and n_right == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
