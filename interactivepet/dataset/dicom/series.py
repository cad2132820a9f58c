"""The slices of one DICOM series -> their order and grid, or a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import ORTHOGONALITY_TOLERANCE, Geometry
from interactivepet.dataset.dicom.files import read_file
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "SAME_POSITION_MM",
    "SliceOrder",
    "arrange_slices",
    "find_missing_slice_tags",
    "has_numbers",
    "read_dataset",
]

ORIENTATION_TOLERANCE = 1e-4
"""Direction cosines of one series agree within this; headers keep about six digits."""
SPACING_TOLERANCE = 0.1
"""Distances between slices may differ by this part: scanners round where bed positions join (GE: 3.19 to 3.29 mm)."""
SAME_POSITION_MM = 0.01
"""Slices closer than this are at the same position."""
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient coordinates grow to the left and to posterior, the project's to the right and to anterior."""

SLICE_TAGS = {
    "ImagePositionPatient": "ImagePositionPatient (0020,0032): where each slice lies",
    "ImageOrientationPatient": "ImageOrientationPatient (0020,0037): how each slice is turned",
    "PixelSpacing": "PixelSpacing (0028,0030): size of the pixels in mm",
    "Rows": "Rows (0028,0010): pixels along a column",
    "Columns": "Columns (0028,0011): pixels along a row",
    "RescaleSlope": "RescaleSlope (0028,1053): from stored values to the unit",
}
"""What every slice needs -> the tag and its purpose, for the error message."""

_COUNTS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
"""How many numbers a tag has that has more than one."""
_SIZES = ("PixelSpacing", "Rows", "Columns")

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SliceOrder:
    """How the slices of a series make a volume.

    Attributes:
        indices: into the series' headers, in the order of k.
        geometry: the grid; i runs along the rows (columns of pixels), j along the columns, k along the normal.
    """

    indices: tuple[int, ...]
    geometry: Geometry


def find_missing_slice_tags(headers: Sequence[Dataset]) -> tuple[str, ...]:
    """List every tag that a volume needs and that no slice, or not every slice, has with numbers that can be used."""
    found: list[str] = []
    for keyword, purpose in SLICE_TAGS.items():
        n_missing = sum(not has_numbers(header, keyword) for header in headers)
        if n_missing:
            found.append(purpose + (f" (in {n_missing} of {len(headers)} slices)" if n_missing < len(headers) else ""))
    return tuple(found)


def has_numbers(header: Dataset, keyword: str) -> bool:
    """Whether a tag of `SLICE_TAGS` has as many finite numbers as it needs, and sizes above 0."""
    try:
        value = header.get(keyword)
        numbers = np.asarray(value if value is not None else [], dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return False
    is_usable = numbers.size == _COUNTS.get(keyword, 1) and bool(np.isfinite(numbers).all())
    return is_usable and (keyword not in _SIZES or bool((numbers > 0).all()))


def arrange_slices(headers: Sequence[Dataset], paths: Sequence[Path]) -> SliceOrder:
    """Sort slices by their position along the normal and find the grid.

    Neither file names nor instance numbers matter, and the distance between slices comes from their positions:
    SliceThickness is not the distance where slices overlap.

    Args:
        headers: of every slice, with nothing missing (`find_missing_slice_tags`).
        paths: of the slices, for messages.

    Raises:
        CaseError: mixed orientations, shapes or pixel spacings, slices at the same position, gaps, a volume that
            ends early, or slices stacked along another line than their normal.
    """
    _refuse_mixed(headers)
    rows = np.asarray(headers[0].ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    normal = np.cross(rows[0], rows[1])
    if abs(np.linalg.norm(normal) - 1) > ORTHOGONALITY_TOLERANCE:
        raise CaseError(f"rows and columns {rows.tolist()} are not at right angles; export the series again")
    positions = np.array([[float(x) for x in header.ImagePositionPatient] for header in headers])
    indices = np.argsort(positions @ normal, kind="stable")
    ordered = positions[indices]
    _refuse_gaps(ordered @ normal, [paths[index] for index in indices], header=headers[0])
    step = _find_step(ordered, normal, header=headers[0])
    _refuse_drift(ordered, step, in_plane=rows)
    between_rows, between_columns = (float(x) for x in headers[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([rows[0] * between_columns, rows[1] * between_rows, step])
    affine[:3, 3] = ordered[0]
    shape = (int(headers[0].Columns), int(headers[0].Rows), len(headers))
    return SliceOrder(tuple(int(index) for index in indices), Geometry(shape, RAS_FROM_LPS @ affine))


def read_dataset(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """Read one file.

    Raises:
        CaseError: it cannot be read.
    """
    try:
        return read_file(path, stop_before_pixels=stop_before_pixels)
    except Exception as error:  # pydicom raises whatever the damage leads to
        raise CaseError(f"{path}: cannot be read as DICOM ({error}); copy or export it again") from error


def _refuse_mixed(headers: Sequence[Dataset]) -> None:
    """Every slice of a volume has one shape, pixel spacing, orientation and frame of reference."""
    for name, keyword in (
        ("orientations (0020,0037)", "ImageOrientationPatient"),
        ("pixel spacings (0028,0030)", "PixelSpacing"),
    ):
        numbers = np.array([[float(x) for x in header[keyword].value] for header in headers])
        differs = np.abs(numbers - numbers[0]).max(axis=1) > ORIENTATION_TOLERANCE
        if differs.any():
            other = numbers[differs][0].tolist()
            found = f"{numbers[0].tolist()} and, in {differs.sum()} of {len(headers)} slices, others such as {other}"
            raise CaseError(f"mixed {name}: {found}; expected one in a series: split the series")
    values: dict[str, Callable[[Dataset], object]] = {
        "shapes in rows and columns": lambda h: (int(h.Rows), int(h.Columns)),
        "frames of reference (0020,0052)": lambda h: str(h.get("FrameOfReferenceUID", "")),
    }
    for name, value in values.items():
        counts = Counter(value(header) for header in headers)
        if len(counts) > 1:
            found = ", ".join(f"{value} in {n} slices" for value, n in counts.most_common())
            raise CaseError(f"mixed {name}: {found}; expected one in a series: split the series")


def _refuse_gaps(depths: FloatArray, paths: Sequence[Path], *, header: Dataset) -> None:
    """Refuse slices at one position, uneven distances and missing slices.

    Args:
        depths: (K,) mm along the normal, rising.
        paths: in the order of `depths`.
        header: of any slice.
    """
    distances = np.diff(depths)
    same = np.flatnonzero(distances < SAME_POSITION_MM)
    if same.size:
        k = int(same[0])
        raise CaseError(
            f"{same.size} duplicate slices: {paths[k].name} and {paths[k + 1].name} are both at {depths[k]:.2f} mm; "
            "remove copies, and export one frame of a dynamic or gated series"
        )
    usual = float(np.median(distances)) if distances.size else 0.0
    wide = np.flatnonzero(distances > (1 + SPACING_TOLERANCE) * usual)
    narrow = np.flatnonzero(distances < (1 - SPACING_TOLERANCE) * usual)
    if wide.size or narrow.size:
        gaps = [f"between {depths[k]:.2f} and {depths[k + 1]:.2f} mm" for k in (*wide, *narrow)]
        more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
        n_missing = sum(round(float(distance) / usual) - 1 for distance in distances[wide])
        raise CaseError(
            f"missing slices ({n_missing}) or uneven distances: {', '.join(gaps[:3])}{more}, expected "
            f"{usual:.2f} mm everywhere; restore the missing files"
        )
    expected = int(header.get("NumberOfSlices") or 0)
    if len(depths) < expected:
        raise CaseError(
            f"missing slices: {len(depths)} files, but NumberOfSlices (0054,0081) is {expected}; no gap is between "
            f"{depths[0]:.2f} and {depths[-1]:.2f} mm, so they are missing at an end: restore them"
        )


def _find_step(ordered: FloatArray, normal: FloatArray, *, header: Dataset) -> FloatArray:
    """Give the vector from a slice to the next in mm, (3,)."""
    if len(ordered) > 1:
        step: FloatArray = (ordered[-1] - ordered[0]) / (len(ordered) - 1)
        return step
    thickness = header.get("SliceThickness")
    if not thickness:
        raise CaseError("a single slice without SliceThickness (0018,0050), which gives its depth; restore the others")
    return normal * float(thickness)


def _refuse_drift(ordered: FloatArray, step: FloatArray, *, in_plane: FloatArray) -> None:
    """Refuse slices off the line from the first to the last, and a line that is not along the normal.

    Args:
        ordered: (K, 3) positions in mm.
        step: (3,) from a slice to the next in mm.
        in_plane: (2, 3) directions of rows and columns.
    """
    along = step / np.linalg.norm(step)
    offsets = ordered - ordered[0]
    aside = np.linalg.norm(offsets - np.outer(offsets @ along, along), axis=1)
    if aside.max() > SPACING_TOLERANCE * np.linalg.norm(step):
        raise CaseError(
            f"slices are shifted sideways by up to {aside.max():.2f} mm, expected one straight stack; "
            "export each acquisition as a series of its own"
        )
    if np.abs(in_plane @ along).max() > ORTHOGONALITY_TOLERANCE:
        raise CaseError(
            "slices are stacked along a line that is not at right angles to them (gantry tilt), expected an "
            "orthogonal grid; resample the series"
        )
