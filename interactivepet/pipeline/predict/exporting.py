"""Masks as other software wants them: DICOM that refers to the images' own series, or files of another format."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.reference import is_part_of, read_source
from interactivepet.dataset.dicom.tree import FoundSeries, find_series
from interactivepet.dataset.files.read import read_geometry, read_mask
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.layout import find_masks
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import map_cases

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["DICOM_FORMATS", "FORMATS", "ExportRequest", "run_export"]

logger = logging.getLogger(__name__)

DICOM_FORMATS = ("seg", "rtstruct", "sr")
FORMATS = (*DICOM_FORMATS, "nii.gz", "nrrd", "mha")
NOT_IMAGES = ("RTSTRUCT", "SEG", "SR", "PR", "KO", "RTPLAN", "RTDOSE")
"""Modalities that no mask is drawn on."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export.

    Attributes:
        masks: folder of the masks, `CASE` plus any known ending.
        series: folder with the DICOM files that the images came from, among any others; DICOM formats need it.
        out: folder for `CASE.seg.dcm`, `CASE.rtstruct.dcm`, `CASE.sr.dcm`, `CASE.nrrd` ...
        formats: some of `FORMATS`.
        labels: name -> value of every label.
    """

    masks: Path
    series: Path | None
    out: Path
    formats: tuple[str, ...]
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """A mask and its series, or the reason why it has none."""

    case: str
    path: Path
    series: FoundSeries | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    series: FoundSeries
    geometry: Geometry


def run_export(request: ExportRequest, *, executor: Executor) -> dict[str, tuple[Path, ...]]:
    """Write every mask in every format.

    A mask belongs to the series that has its voxels; where several do, to the one of the patient whose identifier
    is part of the case's name. A mask of a part of a series' voxels needs that name in any case.

    Returns:
        Case -> its files.

    Raises:
        CaseError: a folder or mask cannot be used, or no series, or more than one, can be that of a mask. What
            can be exported is written; the message lists the others.
    """
    masks = find_masks(request.masks)
    if not masks:
        raise CaseError(f"{request.masks}: no mask in this folder; give the folder that interactivepet_predict wrote")
    matches = [_Match(case, path) for case, path in masks.items()]
    if asked := [name for name in request.formats if name in DICOM_FORMATS]:
        if request.series is None:
            raise CaseError(f"{' and '.join(asked)} refer to a series; give the folder of the DICOM images")
        candidates = _find_candidates(request.series)
        matches = _refuse_shared([_match(match, candidates, folder=request.series) for match in matches])
    written = map_cases(
        executor,
        partial(_export, request=request),
        items=matches,
        names=[match.case for match in matches],
        description="export",
    )
    return {match.case: paths for match, paths in zip(matches, written, strict=True)}


def _find_candidates(folder: Path) -> tuple[_Candidate, ...]:
    """Find every series of images that makes a volume."""
    found, _ = find_series(folder)
    candidates, reasons = [], []
    for series in found:
        if series.modality in NOT_IMAGES:
            continue
        try:
            candidates.append(_Candidate(series, read_source(series.paths).geometry))
        except CaseError as error:
            reasons.append(str(error))
            logger.warning("passed over %s: %s", _name(series), error)
    if not candidates:
        more = "".join(f"\n{reason}" for reason in reasons)
        raise CaseError(f"{folder}: no series of images was found; give the folder of the DICOM images{more}")
    return tuple(candidates)


def _match(match: _Match, candidates: Sequence[_Candidate], *, folder: Path) -> _Match:
    geometry = read_geometry(match.path)
    fitting = [candidate for candidate in candidates if is_part_of(geometry, candidate.geometry)]
    own = [candidate for candidate in fitting if _is_named(candidate.series.patient, match.case)]
    whole = [candidate for candidate in fitting if sorted(candidate.geometry.shape) == sorted(geometry.shape)]
    chosen = own if own or len(whole) != 1 else whole
    if len(chosen) == 1:
        logger.info("%s: %s", match.case, _name(chosen[0].series))
        return replace(match, series=chosen[0].series)
    size = "x".join(map(str, geometry.shape))
    spacing = " x ".join(f"{value:.4g}" for value in geometry.spacing_mm)
    place = ", ".join(f"{value:.1f}" for value in geometry.affine[:3, 3])
    names = "; ".join(_name(candidate.series) for candidate in chosen or fitting) or "none"
    return replace(
        match,
        problem=f"mask grid {size} of {spacing} mm from ({place}), expected one series with these voxels in {folder}, "
        f"found {names}; give the folder of the series that the image came from, and the patient's identifier in "
        "the name of the mask",
    )


def _refuse_shared(matches: Sequence[_Match]) -> list[_Match]:
    """Two masks on one series: at least one of them is another patient's."""
    counts = Counter(match.series.uid for match in matches if match.series is not None)
    return [
        replace(match, series=None, problem=f"several masks fit {_name(match.series)}; keep the one that belongs to it")
        if match.series is not None and counts[match.series.uid] > 1
        else match
        for match in matches
    ]


def _is_named(patient: str, case: str) -> bool:
    """Whether a case's name holds the patient's identifier between other signs than letters and digits."""
    name, whole = (re.sub(r"[\W_]+", "_", text.casefold()).strip("_") for text in (patient, case))
    return bool(name) and f"_{name}_" in f"_{whole}_"


def _name(series: FoundSeries) -> str:
    return f"{series.modality} {series.description or series.uid} of {series.patient or 'an unnamed patient'}"


def _export(match: _Match, *, request: ExportRequest) -> tuple[Path, ...]:
    """Write one mask in every format."""
    if match.problem:
        raise CaseError(match.problem)
    mask, geometry = read_mask(match.path)
    written: list[Path] = []
    for name in request.formats:
        path = request.out / f"{match.case}.{name}{'.dcm' if name in DICOM_FORMATS else ''}"
        if name in DICOM_FORMATS and match.series is not None:
            written += _write_dicom(path, mask, geometry, labels=request.labels, series=match.series)
        else:
            write_mask(path, mask, geometry=geometry)
            written.append(path)
    return tuple(written)


def _write_dicom(
    path: Path, mask: npt.NDArray[np.uint8], geometry: Geometry, *, labels: Mapping[str, int], series: FoundSeries
) -> tuple[Path, ...]:
    """Write one mask in the format of DICOM that the file's name tells."""
    from interactivepet.dataset.dicom.rtstruct import write_rtstruct
    from interactivepet.dataset.dicom.seg import write_seg
    from interactivepet.pipeline.predict.exporting_measures import write_measures

    if path.name.endswith(".sr.dcm"):
        return write_measures(path, mask, geometry=geometry, labels=labels, series=series)
    write = write_seg if path.name.endswith(".seg.dcm") else write_rtstruct
    write(path, mask, geometry=geometry, labels=labels, series=series.paths)
    return (path,)
