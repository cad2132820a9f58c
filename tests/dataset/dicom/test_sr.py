"""Structured reports: every measure with its code, unit and lesion, over a segmentation of one segment per lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import MeasuredRegion
from interactivepet.core.uptake import UNITS, UptakeUnit, name_total, name_uptake, name_volume
from interactivepet.dataset.dicom.reference import read_source
from interactivepet.dataset.dicom.seg import list_segments, read_seg
from interactivepet.dataset.dicom.seg_object import Segment, build_segmentation
from interactivepet.dataset.dicom.sr import PATIENT, write_sr
from interactivepet.dataset.dicom.sr_codes import find_procedure, list_codes
from interactivepet.errors import CaseError
from interactivepet.quantification.case import measure_regions
from tests.dicom_series import OBLIQUE, draw_masks, write_grid
from tests.enhanced_pet import write_enhanced

highdicom_sr = pytest.importorskip("highdicom.sr")

LABELS = {"tumour": 1, "node": 2, "core": 3}
Group = highdicom_sr.VolumetricROIMeasurementsAndQualitativeEvaluations


def make_report(
    folder: Path,
    mask: np.ndarray,
    *,
    series: Sequence[Path],
    geometry: Geometry,
    labels: dict[str, int] = LABELS,
    unit: UptakeUnit = "suv",
) -> tuple[tuple[Path, ...], tuple[MeasuredRegion, ...]]:
    """Measure a mask on noise, and write the report."""
    image = np.random.default_rng(4).gamma(2.0, 2.0, geometry.shape).astype(np.float32)
    regions = measure_regions(image, mask, geometry=geometry, labels=labels, unit=unit)
    path = folder / "a.sr.dcm"
    files = write_sr(path, mask, geometry=geometry, labels=labels, series=series, regions=regions, unit=unit)
    return files, regions


def read_groups(path: Path) -> tuple[list[Group], Group]:
    """Give the groups of the lesions, and that of the patient."""
    content = highdicom_sr.srread(path).content
    (totals,) = (group for group in content.get_image_measurement_groups() if group.tracking_identifier == PATIENT)
    return content.get_volumetric_roi_measurement_groups(), totals


def list_values(group: Group) -> dict[tuple[str, str, str], float]:
    """Give name, derivation and unit of every measure -> value."""
    return {
        (m.name.value, m.derivation.value if m.derivation else "", m.unit.value): m.value
        for m in group.get_measurements()
    }


VOLUME, TLG = ("118565006", "", "cm3"), ("126033", "", "g")
MAXIMUM, MEAN, PEAK = "56851009", "373098007", "126031"
CODES = {
    "suv": ("126401", "g/ml{SUVbw}", "g"),
    "sul": ("126405", "g/ml{SUVlbm(Janma)}", "g"),
    "suv_ibw": ("126404", "g/ml{SUVibw}", "g"),
    "suv_bsa": ("126403", "cm2/ml{SUVbsa}", "cm2"),
}


@pytest.mark.parametrize("unit", UNITS)
def test_values_of_each_lesion_and_the_patient_have_codes_and_units(tmp_path: Path, unit: UptakeUnit) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["labels"]
    (report, _), regions = make_report(tmp_path, mask, series=series, geometry=geometry, unit=unit)
    lesions, totals = read_groups(report)
    measured = [region for region in regions if region.level == "lesion"]
    assert [group.tracking_identifier for group in lesions] == ["tumour 1", "node 1", "core 1"]
    assert len({group.tracking_uid for group in lesions}) == 3
    for group, region in zip([*lesions, totals], [*measured, regions[-1]], strict=True):
        found = list_values(group)
        expected = {VOLUME: name_volume(unit)}
        if unit in CODES:
            name, scale, total = CODES[unit]
            for derivation, statistic in ((MAXIMUM, "max"), (MEAN, "mean"), (PEAK, "peak_global")):
                expected[name, derivation, scale] = name_uptake(statistic, unit)
            expected["126033", "", total] = name_total(unit)
        for code, measure in expected.items():
            assert found[code] == pytest.approx(region.values[measure], rel=1e-8), measure
        assert group.finding_type.value in ("108369006", "85756007")
    assert list_values(totals)["246206008", "", "1"] == 3


CASES = {
    "three labels": ("labels", ("tumour 1", "node 1", "core 1")),
    "one lesion": ("blob", ("tumour 1",)),
    "crumbs": ("crumbs", ("tumour 1", "tumour 2", "node 1")),
    "lesions at the border": ("border", ("tumour 1", "tumour 2", "tumour 3")),
    "nothing": ("empty", ()),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_cropped", [False, True], ids=["whole", "part"])
def test_each_lesion_refers_to_its_own_segment(tmp_path: Path, name: str, is_cropped: bool) -> None:
    series, whole = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    drawn, names = CASES[name]
    mask = draw_masks(whole.shape)[drawn]
    files, regions = make_report(tmp_path, mask, series=series, geometry=whole)
    if is_cropped:
        # the same mask without its outermost rows, which are empty in all but one case
        edge = (slice(None), slice(0, 29), slice(None))
        part = Geometry((34, 29, 12), whole.affine)
        if mask[:, 29].any():
            return
        write_sr(files[0], mask[edge], geometry=part, labels=LABELS, series=series, regions=regions, unit="suv")
    lesions, totals = read_groups(files[0])
    assert tuple(group.tracking_identifier for group in lesions) == names
    assert list_values(totals)["246206008", "", "1"] == len(names)
    assert len(files) == (2 if names else 1)
    if not names:
        return
    segmentation = pydicom.dcmread(files[1])
    assert list_segments(files[1]) == names
    segments = read_seg(files[1], geometry=whole)
    for number, group in enumerate(lesions, start=1):
        reference = group.referenced_segment
        item = segmentation.SegmentSequence[number - 1]
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_segment_numbers == [number]
        assert (item.TrackingID, item.TrackingUID) == (group.tracking_identifier, group.tracking_uid)
        volume_ml = float((segments == number).sum()) * whole.voxel_volume_ml
        assert list_values(group)[VOLUME] == pytest.approx(volume_ml)
    assert np.array_equal(segments > 0, mask > 0)


def test_more_lesions_than_a_byte_can_number(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    numbers = np.zeros(geometry.shape, np.int32)
    numbers[3, 4, 5], numbers[7, 8, 9] = 1, 300
    segments = [Segment(f"tumour {number}", "tumour") for number in range(1, 301)]
    dataset = build_segmentation(numbers, segments, source=read_source(series))
    assert len(dataset.SegmentSequence) == 300
    found = {
        int(f.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for f in dataset.PerFrameFunctionalGroupsSequence
    }
    assert found == {1, 300}


def test_series_and_segmentation_are_the_evidence(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    files, _ = make_report(tmp_path, draw_masks(geometry.shape)["blob"], series=series, geometry=geometry)
    report, source = pydicom.dcmread(files[0]), pydicom.dcmread(series[0])
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    found = {item.SeriesInstanceUID: len(item.ReferencedSOPSequence) for item in study.ReferencedSeriesSequence}
    assert study.StudyInstanceUID == source.StudyInstanceUID == report.StudyInstanceUID
    assert found == {source.SeriesInstanceUID: len(series), pydicom.dcmread(files[1]).SeriesInstanceUID: 1}
    assert report.PatientName == source.PatientName
    assert report.VerificationFlag == "UNVERIFIED"
    # What the source does not say about the patient, the report does not say either.
    for element in report:
        if element.keyword.startswith("Patient") and element.value:
            assert element.value == source[element.keyword].value
    (lesion,), _ = read_groups(files[0])
    assert lesion.referenced_segment.source_series.value == source.SeriesInstanceUID


@pytest.mark.parametrize("is_legacy", [False, True], ids=["enhanced", "legacy converted"])
def test_a_file_of_many_frames_is_referred_to_once(tmp_path: Path, is_legacy: bool) -> None:
    path = write_enhanced(tmp_path / "pet.dcm", is_legacy=is_legacy, SeriesNumber=3)
    geometry = read_source([path]).geometry
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1:3, 1:3, 2:4] = 1
    files, _ = make_report(tmp_path, mask, series=[path], geometry=geometry, labels={"tumour": 1})
    (study,) = pydicom.dcmread(files[0]).CurrentRequestedProcedureEvidenceSequence
    found = {item.SeriesInstanceUID: item.ReferencedSOPSequence for item in study.ReferencedSeriesSequence}
    source = pydicom.dcmread(path)
    (reference,) = found[source.SeriesInstanceUID]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == source.SOPClassUID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda regions: regions[1:], "the mask has 1 lesions of tumour, but 0 were measured"),
        (lambda regions: regions[:1] + regions, "the mask has 1 lesions of tumour, but 2 were measured"),
        (lambda regions: regions[:-1], "no measures of the patient"),
    ],
    ids=["too few", "too many", "no patient"],
)
def test_measures_of_another_mask_are_refused(tmp_path: Path, change: object, message: str) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["blob"]
    regions = measure_regions(
        np.ones(geometry.shape, np.float32), mask, geometry=geometry, labels={"tumour": 1}, unit="suv"
    )
    assert callable(change)
    with pytest.raises(CaseError, match=message):
        write_sr(
            tmp_path / "a.sr.dcm",
            mask,
            geometry=geometry,
            labels={"tumour": 1},
            series=series,
            regions=change(regions),
            unit="suv",
        )
    assert not list(tmp_path.glob("*.dcm"))


def test_an_empty_mask_leaves_no_segmentation_of_an_earlier_one(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    masks = draw_masks(geometry.shape)
    make_report(tmp_path, masks["blob"], series=series, geometry=geometry)
    make_report(tmp_path, masks["empty"], series=series, geometry=geometry)
    assert [path.name for path in tmp_path.glob("*.dcm")] == ["a.sr.dcm"]


@pytest.mark.parametrize(
    ("modality", "code"),
    [("PT", "PT"), ("CT", "CT"), ("NM", "NM"), ("MR", "MR"), ("OT", "363679005"), ("", "363679005")],
)
def test_the_procedure_is_that_of_the_series(modality: str, code: str) -> None:
    assert find_procedure(modality).value == code


def test_every_code_of_uptake_is_a_unit_of_suv() -> None:
    from pydicom.sr.codedict import codes

    units = {getattr(codes.cid85, name) for name in codes.cid85.dir()}
    derivations = {getattr(codes.cid7464, name) for name in codes.cid7464.dir()}
    for unit in CODES:
        coded = [code for code in list_codes(unit) if code.derivation is not None]
        assert {code.unit for code in coded} <= units
        assert {code.derivation for code in coded} <= derivations
