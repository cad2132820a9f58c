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
from tests.dicom_codecs import SYNTAXES, encode_file
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


def draw_sparse(shape: tuple[int, int, int]) -> np.ndarray:
    """Three separate lesions: on slice 2, on slices 5 and 6, and on slice 10."""
    mask = np.zeros(shape, np.uint8)
    mask[4:9, 5:9, 2] = mask[12:20, 7:14, 5:7] = mask[25:27, 20:26, 10] = 1
    return mask


def find_measures(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    groups = [*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]
    return [item.PixelMeasuresSequence[0] for item in groups if "PixelMeasuresSequence" in item]


def change_measures(path: Path, **values: float | None) -> Path:
    """Set or delete what a segmentation says about its slices."""
    dataset = pydicom.dcmread(path)
    for measures in find_measures(dataset):
        for keyword, value in values.items():
            measures.pop(keyword, None)
            if value is not None:
                setattr(measures, keyword, value)
    dataset.save_as(path)
    return path


def shuffle_frames(path: Path) -> None:
    """Put the frames in another order."""
    from pydicom.pixels import pack_bits

    dataset = pydicom.dcmread(path)
    order = np.random.default_rng(2).permutation(dataset.NumberOfFrames)
    pixels = dataset.pixel_array[order]
    items = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [items[index] for index in order]
    dataset.PixelData = pack_bits(pixels) if dataset.BitsAllocated == 1 else pixels.tobytes()
    dataset.save_as(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("tilt", [UPRIGHT, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize(
    "stated",
    [
        {"SpacingBetweenSlices": None},
        {"SpacingBetweenSlices": None, "SliceThickness": None},
        {"SpacingBetweenSlices": 0},
        {"SpacingBetweenSlices": None, "SliceThickness": 20},
        {"SpacingBetweenSlices": 9.81},
        {"SpacingBetweenSlices": None, "SliceThickness": 1},
    ],
    ids=["no spacing", "nothing", "zero", "thick", "wrong", "thin"],
)
def test_a_frame_belongs_to_the_slice_that_it_lies_on(
    tmp_path: Path, stated: dict[str, float | None], tilt: tuple[float, float, float], kind: str
) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=tilt)
    mask = draw_sparse(geometry.shape)
    pixels = mask.transpose(2, 1, 0).astype(np.float64 if kind == "FRACTIONAL" else np.uint8)
    path = write_other(tmp_path / "a.dcm", pixels, series, kind=kind, names=["lesion"])
    assert pydicom.dcmread(path).NumberOfFrames < len(series)
    change_measures(path, **stated)
    assert np.array_equal(read_seg(path, geometry=geometry), mask)
    shuffle_frames(path)
    assert np.array_equal(read_seg(path, geometry=geometry), mask)
    turn = np.array([[0, -1, 0, 33], [0, 0, 1, 0], [-1, 0, 0, 11], [0, 0, 0, 1.0]])
    turned = mask[::-1, :, ::-1].transpose(2, 0, 1)
    own = Geometry(turned.shape, geometry.affine @ turn)
    assert np.array_equal(read_seg(path, geometry=own), turned)


@pytest.mark.parametrize(
    ("stated", "slices", "expected"),
    [
        ({"SpacingBetweenSlices": None, "SliceThickness": None}, "series", 3.27),
        ({"SpacingBetweenSlices": 3.27}, "nothing", 3.27),
        ({"SpacingBetweenSlices": None, "SliceThickness": 5}, "nothing", 3.27),
        ({"SpacingBetweenSlices": None, "SliceThickness": 2}, "nothing", 2),
        ({"SpacingBetweenSlices": None, "SliceThickness": None}, "nothing", 3.27),
        ({"SpacingBetweenSlices": 6.54}, "nothing", 3.27),
    ],
    ids=["series", "stated", "overlapping", "thin", "nothing stated", "contradiction"],
)
def test_on_another_grid_frames_are_as_thick_as_a_slice_of_their_series(
    tmp_path: Path,
    stated: dict[str, float | None],
    slices: str,
    expected: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    series, geometry = write_grid(tmp_path / "CT")
    mask = draw_sparse(geometry.shape)
    path = write_other(tmp_path / "a.dcm", mask.transpose(2, 1, 0), series, kind="BINARY", names=["lesion"])
    change_measures(path, **stated)
    fine = geometry.resampled((17, 15, 240))
    found = read_seg(path, geometry=fine, slices=series if slices == "series" else ()) > 0
    step = fine.spacing_mm[2]
    # The lesions on one, two and one slices.
    runs = [int(part.any(axis=(0, 1)).sum()) for part in (found[:5], found[5:11], found[11:])]
    thickness = [expected, min(2 * expected, 3.27 + expected), expected]
    if expected < 3.27:
        thickness[1] = 2 * expected
    assert np.allclose(np.array(runs) * step, thickness, atol=1.01 * step)
    is_ambiguous = (
        slices == "nothing" and expected != stated["SpacingBetweenSlices"] and stated.get("SliceThickness") != 5
    )
    assert bool(caplog.text) == is_ambiguous


def test_a_slice_of_unknown_depth_is_refused(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "CT")
    mask = np.zeros(geometry.shape, np.uint8)
    mask[4:9, 5:9, 2] = 1
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"a": 1}, series=series)
    change_measures(tmp_path / "a.dcm", SpacingBetweenSlices=None, SliceThickness=None)
    other = geometry.resampled((17, 15, 24))
    with pytest.raises(CaseError, match=r"a\.dcm: one slice, and neither SpacingBetweenSlices .* depth is unknown"):
        read_seg(tmp_path / "a.dcm", geometry=other)
    assert read_seg(tmp_path / "a.dcm", geometry=other, slices=series).any()


def test_frames_that_are_shifted_sideways_are_refused(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_sparse(geometry.shape)
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"a": 1}, series=series)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    position = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient = [position.ImagePositionPatient[0] + 8.2, *position.ImagePositionPatient[1:]]
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(CaseError, match=r"a\.dcm: its frames are shifted sideways by up to 2\.0 pixels"):
        read_seg(tmp_path / "a.dcm", geometry=geometry)


def test_segment_numbers_above_255_stay_apart(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_sparse(geometry.shape)
    numbered = mask.astype(np.uint16)
    numbered[25:27, 20:26, 10] = 257
    names = [f"part {number}" for number in range(1, 258)]
    path = write_other(tmp_path / "a.dcm", numbered.transpose(2, 1, 0), series, kind="LABELMAP", names=names)
    assert np.array_equal(read_seg(path, geometry=geometry, segments=["part 1"]), numbered == 1)
    assert np.array_equal(read_seg(path, geometry=geometry, segments=["part 257"]), numbered == 257)


def test_a_segment_between_the_voxels_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series, geometry = write_grid(tmp_path / "CT")
    mask = np.zeros(geometry.shape, np.uint8)
    mask[4, 5, 2] = 1
    write_seg(tmp_path / "a.dcm", mask, geometry=geometry, labels={"crumb": 1}, series=series)
    assert not read_seg(tmp_path / "a.dcm", geometry=geometry.resampled((8, 7, 3))).any()
    assert "segment crumb contains no voxel centre of the image, so it is lost" in caplog.text


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("LABELMAP", "RLE"),
        ("FRACTIONAL", "JPEG-LS"),
        ("FRACTIONAL", "JPEG 2000"),
        ("BINARY", "deflated"),
        ("BINARY", "implicit"),
    ],
)
def test_compressed_segmentations_are_read(tmp_path: Path, kind: str, syntax: str) -> None:
    series, geometry = write_grid(tmp_path / "PT", shape=(40, 36, 12))
    mask = draw_sparse(geometry.shape)
    pixels = mask.transpose(2, 1, 0).astype(np.float64 if kind == "FRACTIONAL" else np.uint8)
    path = write_other(tmp_path / "a.dcm", pixels, series, kind=kind, names=["lesion"])
    encode_file(path, SYNTAXES[syntax])
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    assert np.array_equal(read_seg(path, geometry=geometry), mask)
