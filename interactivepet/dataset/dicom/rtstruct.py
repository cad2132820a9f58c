"""DICOM RT structure sets: contours -> masks on any grid, and masks -> contours on the slices of a series."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.config import disable_value_validation

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.reference import draw_on_series, read_dicom
from interactivepet.dataset.dicom.rois import LARGEST_CONTOUR_SPACING_MM, Roi, find_contour_spacing_mm, rasterise_roi
from interactivepet.dataset.dicom.selection import MaskSummary, join_labels, select_regions
from interactivepet.dataset.dicom.structure_set import build_structure_set
from interactivepet.dataset.files.volume import naming_file
from interactivepet.dataset.files.write import atomic_path
from interactivepet.errors import CaseError

__all__ = [
    "find_references",
    "list_rois",
    "read_rtstruct",
    "summarise_rtstruct",
    "write_rtstruct",
]

logger = logging.getLogger(__name__)

RTSTRUCT_CLASSES = ("1.2.840.10008.5.1.4.1.1.481.3",)
"""RT Structure Set Storage."""
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_COMPUTED = ("AUTOMATIC", "SEMIAUTOMATIC")
"""ROIGenerationAlgorithm of contours that follow every slice of a mask."""
_NO_AREA = (0, 3, 6)
"""Coordinates of fewer than three corners."""
_TO_RAS = np.array([-1.0, -1.0, 1.0])
"""DICOM's x and y grow to the patient's left and back."""


def read_rtstruct(
    path: Path, *, geometry: Geometry, rois: Sequence[str] = (), union: bool = False, frame: str | None = None
) -> npt.NDArray[np.uint8]:
    """Rasterise regions on a grid.

    A voxel belongs to a region when its centre lies inside; contours on one plane are filled by even-odd, so
    that inner contours and keyholes give holes. Points and open contours are passed over and logged. Between
    planes the nearest one counts, see `rasterise_roi`. A region without contours has no voxel.

    Args:
        path: the structure set.
        geometry: an orthogonal grid, in the frame of reference of the contours.
        rois: names, or patterns such as `GTV*`, without regard to case. What one of them matches is one label,
            1 ... L in this order; where labels overlap, the one that was asked for first stays. None given, every
            region is a label, in the order of `list_rois`.
        union: everything that was chosen is label 1.
        frame: FrameOfReferenceUID of the grid. Regions that lie in another one have no voxel, and are logged; None
            takes all of them as they are.

    Returns:
        (I, J, K).

    Raises:
        CaseError: no structure set, no region of that name, or contours that lie outside of the grid or make no
            sense; the message names the file and the region.
    """
    dataset = _read(path)
    groups = select_regions(_list_names(dataset), rois, union=union, source=f"{path}: ROI")
    with naming_file(path, AttributeError, KeyError, TypeError, ValueError):
        found = _list_regions(dataset, path)
    spacing_mm = find_contour_spacing_mm(found)
    masks = []
    for group in groups:
        mask = np.zeros(geometry.shape, dtype=bool)
        for roi in (found[index] for index in group):
            _log_passed_over(roi, path)
            if frame and roi.frame not in ("", frame):
                logger.warning("%s: ROI %s lies in another frame of reference, so it is left out", path, roi.name)
            elif roi.contours:
                region = rasterise_roi(roi, geometry, contour_spacing_mm=spacing_mm, source=str(path))
                if not region.any():
                    logger.warning("%s: ROI %s contains no voxel centre of the image, so it is lost", path, roi.name)
                mask |= region
        masks.append(mask)
    return join_labels(masks, geometry.shape)


def list_rois(path: Path) -> tuple[str, ...]:
    """Give the names of the regions in the file's order.

    Raises:
        CaseError: the file is no structure set.
    """
    return _list_names(_read(path))


def find_references(path: Path) -> tuple[str | None, str | None]:
    """Find what the contours refer to first.

    Returns:
        SeriesInstanceUID and FrameOfReferenceUID; None for one that is not named.

    Raises:
        CaseError: the file is no structure set.
    """
    summary = summarise_rtstruct(path)
    return next(iter(summary.references), None), next(iter(summary.frames), None)


def summarise_rtstruct(path: Path) -> MaskSummary:
    """Give the names of the regions and what they refer to; coordinates are not read.

    Raises:
        CaseError: the file is no structure set.
    """
    dataset = _read(path)
    names = _list_names(dataset)
    items = dataset.get("StructureSetROISequence") or ()
    spaces = dataset.get("ReferencedFrameOfReferenceSequence") or ()
    with naming_file(path, AttributeError, KeyError, TypeError, ValueError):
        contours = _find_contours(dataset)
        frames = [*(str(space.get("FrameOfReferenceUID") or "") for space in spaces), *map(_find_frame, items)]
        return MaskSummary(
            regions=names,
            drawn=tuple(
                name
                for item, name in zip(items, names, strict=True)
                if any(_find_kind(contour) in _CLOSED for contour in contours[int(item.ROINumber)])
            ),
            references=tuple(dict.fromkeys(_list_series(spaces))),
            frames=tuple(dict.fromkeys(frame for frame in frames if frame)),
        )


def write_rtstruct(
    path: Path,
    mask: npt.NDArray[np.uint8],
    *,
    geometry: Geometry,
    labels: Mapping[str, int],
    series: Sequence[Path],
) -> None:
    """Write a mask as an RT structure set on the slices of its series, atomically.

    Outlines run half-way between the centres of marked and unmarked voxels. A hole hangs on its outline by a
    keyhole. `read_rtstruct` gives the same mask back.

    Args:
        path: the file.
        mask: (I, J, K), 0 is background.
        geometry: its grid: the series' own or a part of it, axes in any order and direction.
        labels: name -> value; each becomes a region, in rising order, also without voxels.
        series: the slices that the image was made of, in any order.

    Raises:
        CaseError: the mask does not fit the series, or holds values without a name.
    """
    with disable_value_validation():
        drawn = draw_on_series(mask, geometry, labels=labels, series=series, name=str(path))
        dataset = build_structure_set(drawn.mask, drawn.regions, series=drawn.source)
        with atomic_path(path) as partial:
            dataset.save_as(partial, enforce_file_format=True)


def _read(path: Path) -> Dataset:
    return read_dicom(path, classes=RTSTRUCT_CLASSES, kind="an RT structure set")


def _list_names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(str(item.get("ROIName") or "") for item in dataset.get("StructureSetROISequence") or ())


def _find_frame(item: Dataset) -> str:
    """Give the FrameOfReferenceUID of a region, empty when it is not named."""
    return str(item.get("ReferencedFrameOfReferenceUID") or "")


def _list_series(spaces: Iterable[Dataset]) -> Iterator[str]:
    for space in spaces:
        for study in space.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.SeriesInstanceUID)


def _find_contours(dataset: Dataset) -> dict[int, list[Dataset]]:
    """Give the contours of every ROINumber; items of one number, as some writers make, are joined."""
    drawn: dict[int, list[Dataset]] = defaultdict(list)
    for item in dataset.get("ROIContourSequence") or ():
        drawn[int(item.ReferencedROINumber)] += item.get("ContourSequence") or ()
    return drawn


def _find_spacings_mm(dataset: Dataset) -> dict[int, float]:
    """Give the distance of the slices that the contours of a ROINumber were computed on (PS3.3 C.8.8.6).

    Contours that were drawn by hand are left out: a user may pass over slices.
    """
    items = dataset.StructureSetROISequence
    computed = {int(item.ROINumber) for item in items if item.get("ROIGenerationAlgorithm") in _COMPUTED}
    return {
        int(item.ReferencedROINumber): float(planes.SpacingBetweenSlices)
        for item in dataset.get("ROIContourSequence") or ()
        for planes in item.get("SourcePixelPlanesCharacteristicsSequence") or ()
        if 0 < float(planes.get("SpacingBetweenSlices") or 0) <= LARGEST_CONTOUR_SPACING_MM
        and int(item.ReferencedROINumber) in computed
    }


def _find_kind(contour: Dataset) -> str:
    """Give a contour's type, `of fewer than three corners` when it has no area."""
    kind = str(contour.get("ContourGeometricType") or "of no type")
    text = getattr(contour.get_item("ContourData"), "value", None)
    if isinstance(text, bytes):
        n_values = text.count(b"\\") + 1 if text.strip(b"\0 ") else 0
    else:
        n_values = np.size(text) if text is not None else 0
    return "closed, of fewer than three corners" if kind in _CLOSED and n_values in _NO_AREA else kind


def _list_regions(dataset: Dataset, path: Path) -> tuple[Roi, ...]:
    """Read the closed contours of every region, in the order of their names."""
    drawn, spacings = _find_contours(dataset), _find_spacings_mm(dataset)
    rois = []
    for item, name in zip(dataset.StructureSetROISequence, _list_names(dataset), strict=True):
        contours = drawn[int(item.ROINumber)]
        kinds = [_find_kind(contour) for contour in contours]
        closed = [contour for contour, kind in zip(contours, kinds, strict=True) if kind in _CLOSED]
        polygons = tuple(_read_points(contour, name=f"{path}: ROI {name}") for contour in closed)
        # Even-odd filling would cancel a contour that appears twice.
        unique = {polygon.tobytes(): polygon for polygon in polygons}
        if len(unique) < len(polygons):
            logger.warning("%s: ROI %s: %d contours are copies, taken once", path, name, len(polygons) - len(unique))
        others = tuple(kind for kind in kinds if kind not in _CLOSED)
        rois.append(Roi(name, tuple(unique.values()), others, _find_frame(item), spacings.get(int(item.ROINumber))))
    return tuple(rois)


def _read_points(contour: Dataset, *, name: str) -> npt.NDArray[np.float64]:
    """Read a contour's corners, (N, 3) RAS+ mm."""
    # Text becomes numbers here, because pydicom makes an object of every coordinate.
    raw = contour.get_item("ContourData")
    text = getattr(raw, "value", None)
    values = np.array(text.split(b"\\") if isinstance(text, bytes) else text, dtype=np.float64).ravel()
    if values.size % 3 or not np.isfinite(values).all():
        raise CaseError(
            f"{name}: a contour of {values.size} coordinates, expected finite x, y, z of each corner; export it again"
        )
    points: npt.NDArray[np.float64] = values.reshape(-1, 3) * _TO_RAS
    return points


def _log_passed_over(roi: Roi, path: Path) -> None:
    if roi.passed_over:
        kinds = ", ".join(sorted(set(roi.passed_over)))
        logger.warning(
            "%s: ROI %s: passed over %d contours without area: %s", path, roi.name, len(roi.passed_over), kinds
        )
    if not roi.contours:
        logger.warning("%s: ROI %s has no closed contour, so no voxel", path, roi.name)
