"""DICOM segmentations: reading other people's, writing ours, and both in turn."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.seg import find_referenced_series, list_segments, read_seg, write_seg
from interactivepet.errors import CaseError
from tests.dicom_series import OBLIQUE, UPRIGHT, dice, draw_masks, write_grid

LABELS = {"tumour": 1, "spleen": 2, "core": 3}


def write_other(path: Path, pixels: np.ndarray, series: tuple[Path, ...], *, kind: str, names: list[str]) -> Path:
    """Write a segmentation as other software does, pixels (slice, row, column) or (slice, row, column, segment)."""
    import highdicom
    from pydicom.sr.codedict import codes

    headers = sorted((pydicom.dcmread(file) for file in series), key=lambda h: -h.InstanceNumber)
    for header in headers:
        header.PatientName = "A^B"
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
        for number, name in enumerate(names, start=1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="someone",
        manufacturer_model_name="else",
        software_versions="1",
        device_serial_number="2",
    )
    segmentation.save_as(path)
    return path


@pytest.mark.real_data
def test_the_published_mask_survives_on_the_real_series(real_data: Path, tmp_path: Path) -> None:
    series = sorted((real_data / "dicom" / "STS_001" / "PT").iterdir())
    published = nib.load(real_data / "Task501_STSPET" / "labelsTr" / "STS_001.nii.gz")
    geometry, mask = Geometry(published.shape, published.affine), np.asarray(published.dataobj).astype(np.uint8)
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    assert np.array_equal(read_seg(tmp_path / "a.dcm", geometry=geometry), mask)
    assert find_referenced_series(tmp_path / "a.dcm") == pydicom.dcmread(series[0]).SeriesInstanceUID


@pytest.mark.parametrize("tilt", [UPRIGHT, OBLIQUE], ids=["axial", "oblique"])
def test_masks_survive_the_round_trip(tmp_path: Path, tilt: tuple[float, float, float]) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=tilt)
    for name, mask in draw_masks(geometry.shape).items():
        path = tmp_path / f"{name}.dcm"
        write_seg(path, mask, geometry=geometry, labels=LABELS, series=series)
        back = read_seg(path, geometry=geometry)
        assert dice(back, mask) >= 0.99, name
        assert np.array_equal(back, mask), name


def test_flipped_and_permuted_grids_are_placed_on_the_frames(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["labels"]
    turn = np.array([[0, -1, 0, 33], [0, 0, 1, 0], [-1, 0, 0, 11], [0, 0, 0, 1.0]])
    turned = mask[::-1, :, ::-1].transpose(2, 0, 1)
    own = Geometry(turned.shape, geometry.affine @ turn)
    write_seg(tmp_path / "a.dcm", turned, geometry=own, labels=LABELS, series=series)
    assert np.array_equal(read_seg(tmp_path / "a.dcm", geometry=geometry), mask)
    assert np.array_equal(read_seg(tmp_path / "a.dcm", geometry=own), turned)


def test_another_reader_finds_the_segments_over_the_images(tmp_path: Path) -> None:
    from highdicom.seg import segread

    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["labels"]
    labels = {"GTV 腫瘍": 1, "spleen": 2, "empty": 4, "Läsion": 3}
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels=labels, series=series)
    headers = [pydicom.dcmread(path) for path in series]
    found = segread(tmp_path / "a.dcm")
    assert (found.Modality, found.SegmentationType, found.PatientID) == ("SEG", "BINARY", "P_07")
    assert found.PatientName == "Müller^Anna"
    assert found.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert found.StudyInstanceUID == headers[0].StudyInstanceUID
    assert list_segments(tmp_path / "a.dcm") == ("GTV 腫瘍", "spleen", "Läsion", "empty")
    tumour, spleen = (found.get_segment_description(number) for number in (1, 2))
    assert tumour.segmented_property_type.value == "108369006"
    assert tumour.segmented_property_category.value == "49755003"
    assert spleen.segmented_property_type.value == "85756007"
    assert tumour.algorithm_type.value == "SEMIAUTOMATIC"
    assert tumour.algorithm_identification.name == "interactivepet"

    uids = {header.SOPInstanceUID: header for header in headers}
    for number in (1, 2, 3):
        for uid, header in uids.items():
            k = len(series) - header.InstanceNumber
            pixels = found.get_pixels_by_source_instance(
                [uid], segment_numbers=[number], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )
            assert np.array_equal(pixels[0, :, :, 0].T == 1, mask[:, :, k] == number)


def test_segments_are_chosen_and_overlaps_go_to_the_first(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    masks = draw_masks(geometry.shape)
    stack = np.stack([masks["blob"], masks["sieve"]], axis=-1).transpose(2, 1, 0, 3)
    path = write_other(tmp_path / "a.dcm", stack, series, kind="BINARY", names=["Liver met", "Liver"])
    blob, sieve = masks["blob"] == 1, masks["sieve"] == 1
    assert (blob & sieve).any()
    assert np.array_equal(read_seg(path, geometry=geometry), np.where(blob, 1, np.where(sieve, 2, 0)))
    assert np.array_equal(
        read_seg(path, geometry=geometry, segments=["liver", "LIVER m*"]), np.where(sieve, 1, np.where(blob, 2, 0))
    )
    assert np.array_equal(read_seg(path, geometry=geometry, segments=["liver*"]) == 1, blob | sieve)
    assert np.array_equal(read_seg(path, geometry=geometry, union=True) == 1, blob | sieve)
    with pytest.raises(CaseError, match=r"a\.dcm: segment: none is named lung, found Liver met, Liver"):
        read_seg(path, geometry=geometry, segments=["lung"])


def test_label_maps_and_fractions_are_read(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["labels"]
    path = write_other(
        tmp_path / "map.dcm", mask.transpose(2, 1, 0), series, kind="LABELMAP", names=["one", "two", "three"]
    )
    assert list_segments(path) == ("one", "two", "three")
    assert np.array_equal(read_seg(path, geometry=geometry, segments=["three", "two"]), np.array([0, 0, 2, 1])[mask])
    fraction = np.zeros(geometry.shape)
    fraction[3:9, 4:9, 3:6] = 0.25
    fraction[5:8, 5:8, 4:6] = 0.75
    path = write_other(tmp_path / "part.dcm", fraction.transpose(2, 1, 0), series, kind="FRACTIONAL", names=["one"])
    assert np.array_equal(read_seg(path, geometry=geometry), fraction > 0.5)


def test_segments_are_brought_to_another_grid(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["sieve"]
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    fine = geometry.resampled((68, 60, 24))
    assert np.array_equal(
        read_seg(tmp_path / "a.dcm", geometry=fine), mask.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    )
    coarse = geometry.resampled((17, 15, 6))
    centres = geometry.to_voxel(coarse.to_mm(np.indices(coarse.shape).reshape(3, -1).T))
    nearest = [tuple(np.rint(centre + 1e-3).astype(int)) for centre in centres]
    expected = np.array([mask[index] for index in nearest]).reshape(coarse.shape)
    assert dice(read_seg(tmp_path / "a.dcm", geometry=coarse), expected) > 0.8
    moved = Geometry(geometry.shape, geometry.affine + np.pad([[0], [0], [500]], ((0, 1), (3, 0))))
    with pytest.raises(CaseError, match=r"a\.dcm: segment tumour lies outside of the image"):
        read_seg(tmp_path / "a.dcm", geometry=moved)


def test_a_single_slice_keeps_its_depth(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = np.zeros(geometry.shape, np.uint8)
    mask[4:9, 5:7, 3] = 1
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    assert pydicom.dcmread(tmp_path / "a.dcm").NumberOfFrames == 1
    assert np.array_equal(read_seg(tmp_path / "a.dcm", geometry=geometry), mask)


def test_a_mask_of_another_series_or_without_names_leaves_no_file(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["labels"]
    finer = geometry.resampled((68, 30, 12))
    with pytest.raises(CaseError, match=r"a\.dcm: mask grid 68x30x12 but series grid 34x30x12"):
        write_seg(tmp_path / "a.dcm", mask.repeat(2, axis=0), geometry=finer, labels=LABELS, series=series)
    with pytest.raises(CaseError, match=r"a\.dcm: the mask holds 1, 2, 3, but named are nothing"):
        write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={}, series=series)
    with pytest.raises(CaseError, match="of at most 64 characters"):
        write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={**LABELS, "x" * 65: 4}, series=series)
    _, other = series[0], write_grid(tmp_path / "PT2")[0]
    with pytest.raises(CaseError, match="slices of 2 series"):
        write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels=LABELS, series=(*series[1:], other[0]))
    with pytest.raises(CaseError, match="no DICOM file was given"):
        write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels=LABELS, series=())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PT", "PT2"]


def test_damaged_segmentations_are_refused(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["blob"]
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    with pytest.raises(CaseError, match="Positron Emission Tomography Image Storage, expected a DICOM segmentation"):
        list_segments(series[0])
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.PixelData = dataset.PixelData[:20]
    dataset.save_as(tmp_path / "short.dcm")
    with pytest.raises(CaseError, match=r"short\.dcm: cannot be read"):
        read_seg(tmp_path / "short.dcm", geometry=geometry)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(tmp_path / "bare.dcm")
    with pytest.raises(CaseError, match=r"bare\.dcm: cannot be read"):
        read_seg(tmp_path / "bare.dcm", geometry=geometry)
