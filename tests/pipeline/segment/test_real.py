"""A whole body of the real data: the tumour is the first region, and organs are no lesions."""

from __future__ import annotations

from pathlib import Path

import pytest

import interactivepet
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from tests.dicom_series import dice

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_the_tumour_is_the_first_region_and_a_lesion(real_data: Path) -> None:
    folder = real_data / "dicom" / "STS_001"
    (job,) = find_dicom_source(folder, options=DicomOptions(rois=("GTV_Mass",))).training
    label = job.load().case.label
    found = interactivepet.segment_regions(folder, segmenter="watershed")
    first = found.regions[0]
    assert first.status == "lesion"
    assert label is not None
    assert dice(first.mask.astype(int), label) >= 0.6
    wrong = {"brain", "bladder", "heart", "liver", "kidney", "left kidney", "right kidney"}
    assert not wrong & {region.rule for region in found.regions if region.status == "lesion"}
