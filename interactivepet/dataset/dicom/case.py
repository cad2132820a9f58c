"""One PET series, its masks and its CT -> a case in SUV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.imported import ImportedCase
from interactivepet.core.suv import DicomSource, SuvRecord, SuvRule, SuvVariant
from interactivepet.dataset.dicom.labels import LabelRule, UsedRegions, read_label
from interactivepet.dataset.dicom.masks import MaskFile
from interactivepet.dataset.dicom.tree import FoundSeries
from interactivepet.errors import CaseError

__all__ = ["OUTSIDE_HU", "SUV_JSON", "DicomJob", "read_suv_series"]

SUV_JSON = "suv.json"
"""Ending of the note that says how an image became SUV."""
OUTSIDE_HU = -1000.0
"""The CT channel where the PET reaches further than the CT: air."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DicomJob:
    """One case that can be loaded.

    Attributes:
        id: the case's identifier in the task.
        patient: keeps a patient in one fold.
        pet: the series that becomes SUV.
        variant: of SUV.
        masks: RTSTRUCT and SEG files of the series; none for a case without a known answer.
        rule: how their regions become the label.
        with_ct: a CT is wanted as second channel.
        ct: the series for it.
    """

    id: str
    patient: str
    pet: FoundSeries
    variant: SuvVariant
    masks: tuple[MaskFile, ...] = ()
    rule: LabelRule = field(default_factory=LabelRule)
    with_ct: bool = False
    ct: FoundSeries | None = None

    @property
    def subtype(self) -> str | None:
        """DICOM has no field to stratify by."""
        return None

    def load(self) -> ImportedCase:
        """Read the PET as SUV, the CT on its grid and the label; what was used is the note `suv.json`.

        Raises:
            CaseError: tags are missing (all of them are listed), slices do not make a volume, or masks do not fit.
        """
        try:
            values, geometry, rule = read_suv_series(self.pet.paths, variant=self.variant)
        except CaseError as error:
            raise CaseError(f"{_describe(self.pet)}: {error}") from error
        for warning in rule.warnings:
            logger.warning("%s: %s", self.id, warning)
        image = values[np.newaxis]
        if self.with_ct:
            image = np.concatenate([image, self._load_ct(geometry)])
        label, used = self._load_label(geometry)
        record = SuvRecord(pet=_source(self.pet), suv=rule, ct=_source(self.ct) if self.ct else None, masks=used)
        note = record.model_dump_json(indent=2) + "\n"
        return ImportedCase(Case(self.id, image, geometry, label), {SUV_JSON: note})

    def _load_label(self, geometry: Geometry) -> tuple[npt.NDArray[np.uint8] | None, UsedRegions]:
        """Give the label on the PET grid, None for a case without masks; and the regions that were used."""
        if not self.masks:
            return None, {}
        return read_label(self.masks, self.rule, geometry=geometry)

    def _load_ct(self, geometry: Geometry) -> npt.NDArray[np.float32]:
        """Give the CT in HU on the PET grid, (1, I, J, K)."""
        from interactivepet.dataset.dicom.series import (
            arrange_slices,
            find_missing_slice_tags,
            read_headers,
            read_voxels,
        )
        from interactivepet.dataset.regrid import resample_onto

        if self.ct is None:
            raise CaseError(f"{_describe(self.pet)}: no CT in its frame of reference; add it, or import without CT")
        try:
            headers = read_headers(self.ct.paths)
            _refuse_missing(find_missing_slice_tags(headers))
            order = arrange_slices(headers, self.ct.paths)
            values = read_voxels(self.ct.paths, order)
            return resample_onto(values[np.newaxis], order.geometry, target=geometry, outside=OUTSIDE_HU)
        except CaseError as error:
            raise CaseError(f"{_describe(self.ct)}: {error}") from error


def read_suv_series(
    paths: Sequence[Path], *, variant: SuvVariant = "bw"
) -> tuple[npt.NDArray[np.float32], Geometry, SuvRule]:
    """Read one PET series as SUV.

    Args:
        paths: of its slices, in any order.
        variant: relative to body weight, lean body mass or body surface.

    Returns:
        SUV (I, J, K), its grid, and what was used.

    Raises:
        CaseError: tags are missing (all of them are listed), or the slices do not make a volume.
    """
    from interactivepet.dataset.dicom.pet_tags import read_pet_tags
    from interactivepet.dataset.dicom.series import arrange_slices, find_missing_slice_tags, read_headers, read_voxels
    from interactivepet.dataset.dicom.suv import find_missing_tags, find_suv_factors

    headers = read_headers(paths)
    tags = read_pet_tags(headers)
    _refuse_missing((*find_missing_tags(tags, variant=variant), *find_missing_slice_tags(headers)))
    factors, rule = find_suv_factors(tags, variant=variant)
    order = arrange_slices(headers, paths)
    if rule.slice_factors:
        in_order = tuple(factors[index] for index in order.indices)
        rule = rule.model_copy(update={"factor": in_order[0], "slice_factors": in_order})
    return read_voxels(paths, order, factors=factors), order.geometry, rule


def _refuse_missing(missing: Sequence[str]) -> None:
    if missing:
        lines = "".join(f"\n  {tag}" for tag in missing)
        raise CaseError(f"{len(missing)} tags are missing, empty or zero; add them from the scan's record:{lines}")


def _describe(series: FoundSeries) -> str:
    return f"series {series.description or series.uid} in {series.paths[0].parent}"


def _source(series: FoundSeries) -> DicomSource:
    return DicomSource(
        folder=str(series.paths[0].parent.absolute()),
        n_files=len(series.paths),
        series_uid=series.uid,
        study_uid=series.study,
        frame_of_reference_uid=series.frame_of_reference,
        series_description=series.description,
        study_description=series.study_description,
        modality=series.modality,
    )
