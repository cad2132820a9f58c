"""RT structure sets: reading other people's, writing ours, and both in turn."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.dataset.dicom.rtstruct import (
    find_references,
    list_rois,
    read_rtstruct,
    summarise_rtstruct,
    write_rtstruct,
)
from interactivepet.errors import CaseError
from tests.dicom_series import LPS_TO_RAS, OBLIQUE, UPRIGHT, dice, draw_masks, turn_by, write_grid

GRID = Geometry((40, 36, 20), LPS_TO_RAS @ np.array([[4, 0, 0, -80], [0, 4, 0, -70], [0, 0, 3, 100], [0, 0, 0, 1.0]]))
LABELS = {"tumour": 1, "node": 2, "core": 3}


def loop(x: float, y: float, radius: float, z: float) -> np.ndarray:
    """A circle in DICOM's own LPS mm."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(200, z)], axis=1)


def save(path: Path, rois: Sequence[tuple[str, Sequence[np.ndarray]]], *, kind: str = "CLOSED_PLANAR") -> Path:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTStructureSetStorage, generate_uid(), "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois, start=5):
        item, drawn = pydicom.Dataset(), pydicom.Dataset()
        item.ROINumber, item.ROIName, drawn.ReferencedROINumber = number, name, number
        drawn.ContourSequence = []
        for points in contours:
            contour = pydicom.Dataset()
            contour.ContourGeometricType = kind if len(points) > 1 else "POINT"
            contour.NumberOfContourPoints = len(points)
            with warnings.catch_warnings():
                # Some tests write what the standard forbids.
                warnings.simplefilter("ignore")
                contour.ContourData = [f"{value:.2f}" for value in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(item)
        # Items need not be in the same order.
        dataset.ROIContourSequence.insert(0, drawn)
    dataset.save_as(path, enforce_file_format=True)
    return path


def slice_z(k: float) -> float:
    return 100 + 3 * k


def marked_slices(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any(axis=(0, 1))).tolist()


@pytest.mark.real_data
def test_contours_of_a_scanner_agree_with_the_published_mask(real_data: Path) -> None:
    folder = real_data / "dicom" / "STS_001"
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in (folder / "PT").iterdir()]
    headers.sort(key=lambda header: header.ImagePositionPatient[2])
    first, last = (np.array(header.ImagePositionPatient, float) for header in (headers[0], headers[-1]))
    affine = np.diag([*np.array(headers[0].PixelSpacing, float)[::-1], (last - first)[2] / (len(headers) - 1), 1])
    affine[:3, 3] = first
    shape = (headers[0].Columns, headers[0].Rows, len(headers))
    geometry = Geometry(shape, LPS_TO_RAS @ affine)
    (path,) = (folder / "RTSTRUCT").iterdir()
    assert list_rois(path) == ("GTV_Mass", "GTV_Edema")
    assert find_references(path)[0] == headers[0].SeriesInstanceUID
    mask = read_rtstruct(path, geometry=geometry, rois=["gtv_mass"])

    published = nib.load(real_data / "Task501_STSPET" / "labelsTr" / "STS_001.nii.gz")
    start = np.rint(geometry.to_voxel(published.affine[:3, 3])).astype(int)
    box = BoundingBox(tuple(start), tuple(start + published.shape))
    reference = np.asarray(published.dataobj).astype(np.uint8)
    assert dice(mask[box.slices], reference) >= 0.999
    assert mask.sum() == mask[box.slices].sum()


@pytest.mark.real_data
def test_the_published_mask_survives_on_the_real_series(real_data: Path, tmp_path: Path) -> None:
    series = sorted((real_data / "dicom" / "STS_001" / "PT").iterdir())
    published = nib.load(real_data / "Task501_STSPET" / "labelsTr" / "STS_001.nii.gz")
    geometry, mask = Geometry(published.shape, published.affine), np.asarray(published.dataobj).astype(np.uint8)
    write_rtstruct(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    assert np.array_equal(read_rtstruct(tmp_path / "a.dcm", geometry=geometry), mask)


@pytest.mark.parametrize("tilt", [UPRIGHT, OBLIQUE], ids=["axial", "oblique"])
def test_masks_survive_the_round_trip(tmp_path: Path, tilt: tuple[float, float, float]) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=tilt)
    for name, mask in draw_masks(geometry.shape).items():
        path = tmp_path / f"{name}.dcm"
        write_rtstruct(path, mask, geometry=geometry, labels=LABELS, series=series)
        back = read_rtstruct(path, geometry=geometry)
        assert dice(back, mask) >= 0.97, name
        assert np.array_equal(back, mask), name


def test_flipped_and_permuted_grids_are_placed_on_the_slices(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["labels"]
    turn = np.array([[0, -1, 0, 33], [0, 0, 1, 0], [-1, 0, 0, 11], [0, 0, 0, 1.0]])
    turned = mask[::-1, :, ::-1].transpose(2, 0, 1)
    own = Geometry(turned.shape, geometry.affine @ turn)
    write_rtstruct(tmp_path / "a.dcm", turned, geometry=own, labels=LABELS, series=series)
    assert np.array_equal(read_rtstruct(tmp_path / "a.dcm", geometry=geometry), mask)
    assert np.array_equal(read_rtstruct(tmp_path / "a.dcm", geometry=own), turned)


def test_a_written_set_refers_to_its_images(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT", tilt=OBLIQUE)
    mask = draw_masks(geometry.shape)["ring"]
    write_rtstruct(tmp_path / "a.dcm", mask, geometry=geometry, labels={"Läsion 腫瘍": 1, "node": 2}, series=series)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    headers = {str(h.SOPInstanceUID): h for h in (pydicom.dcmread(path) for path in series)}
    first = next(iter(headers.values()))
    assert list_rois(tmp_path / "a.dcm") == ("Läsion 腫瘍", "node")
    assert find_references(tmp_path / "a.dcm")[0] == first.SeriesInstanceUID
    assert (dataset.PatientName, dataset.PatientID) == ("Müller^Anna", "P_07")
    assert dataset.StudyInstanceUID == first.StudyInstanceUID
    assert dataset.SeriesInstanceUID != first.SeriesInstanceUID
    frames = {item.ReferencedFrameOfReferenceUID for item in dataset.StructureSetROISequence}
    assert frames == {first.FrameOfReferenceUID}
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    images = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].ContourImageSequence
    assert {item.ReferencedSOPInstanceUID for item in images} == set(headers)
    drawn, nothing = dataset.ROIContourSequence
    assert "ContourSequence" not in nothing
    assert list(drawn.ROIDisplayColor) != list(nothing.ROIDisplayColor)
    for contour in drawn.ContourSequence:
        (image,) = contour.ContourImageSequence
        header = headers[image.ReferencedSOPInstanceUID]
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        depth = (points - np.array(header.ImagePositionPatient, float)) @ np.cross(across, down)
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.NumberOfContourPoints == len(points)
        assert np.abs(depth).max() < 2e-3


def test_long_contours_are_written_whole(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT", shape=(160, 120, 2))
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1:-1:2, 1:-1, 0] = mask[:, 1, 0] = 1
    write_rtstruct(tmp_path / "a.dcm", mask, geometry=geometry, labels={"comb": 1}, series=series)
    (contour,) = pydicom.dcmread(tmp_path / "a.dcm").ROIContourSequence[0].ContourSequence
    assert contour.NumberOfContourPoints > 10_000
    assert np.array_equal(read_rtstruct(tmp_path / "a.dcm", geometry=geometry), mask)


def test_a_mask_of_another_series_or_without_names_leaves_no_file(tmp_path: Path) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["labels"]
    moved = Geometry(geometry.shape, geometry.affine + np.pad([[0.7], [0], [0]], ((0, 1), (3, 0))))
    with pytest.raises(CaseError, match=r"a\.dcm: mask grid .* but series grid .*resample"):
        write_rtstruct(tmp_path / "a.dcm", mask, geometry=moved, labels=LABELS, series=series)
    with pytest.raises(CaseError, match=r"a\.dcm: the mask holds 2, 3, but named are tumour = 1"):
        write_rtstruct(tmp_path / "a.dcm", mask, geometry=geometry, labels={"tumour": 1}, series=series)
    holey = [path for path in series if not path.name.endswith("-5")]
    with pytest.raises(CaseError, match="missing slices"):
        write_rtstruct(tmp_path / "a.dcm", mask, geometry=geometry, labels=LABELS, series=holey)
    assert [path.name for path in tmp_path.iterdir()] == ["PT"]


def test_regions_are_chosen_by_name_and_pattern(tmp_path: Path) -> None:
    inside, other = [loop(0, 0, 20, slice_z(5))], [loop(12, 0, 20, slice_z(5))]
    path = save(tmp_path / "a.dcm", [("GTV_Mass", inside), ("GTV[2]", other), ("Heart", [loop(0, 0, 50, slice_z(9))])])
    mass, second = (read_rtstruct(path, geometry=GRID, rois=[name]) for name in ("gtv_mass", "gtv[2]"))
    assert 0 < (mass & second).sum() < mass.sum()

    both = read_rtstruct(path, geometry=GRID, rois=["GTV[2]", "GTV_*"])
    assert np.array_equal(both == 1, second == 1), "the first that was asked for stays where both are"
    assert np.array_equal(both > 0, (mass | second) > 0)
    joined = read_rtstruct(path, geometry=GRID, rois=["gtv*"])
    assert np.array_equal(joined, mass | second)
    union = read_rtstruct(path, geometry=GRID, rois=["heart", "gtv_mass"], union=True)
    assert np.unique(union).tolist() == [0, 1]
    assert marked_slices(union) == [5, 9]
    every = read_rtstruct(path, geometry=GRID)
    assert np.unique(every).tolist() == [0, 1, 2, 3]
    assert marked_slices(every == 3) == [9]
    with pytest.raises(CaseError, match=r"a\.dcm: ROI: none is named liver\*, found GTV_Mass, GTV\[2\], Heart"):
        read_rtstruct(path, geometry=GRID, rois=["liver*"])


def test_a_circle_holds_the_voxels_whose_centres_are_inside(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(1.7, -3.3, 33.4, slice_z(5)), loop(6.1, 2.2, 11.3, slice_z(5))])])
    mask = read_rtstruct(path, geometry=GRID)
    centres = GRID.to_mm(np.indices(GRID.shape)[..., 5].reshape(3, -1).T).reshape(40, 36, 3)
    x, y = -centres[..., 0], -centres[..., 1]
    expected = (np.hypot(x - 1.7, y + 3.3) <= 33.4) & (np.hypot(x - 6.1, y - 2.2) > 11.3)
    assert marked_slices(mask) == [5]
    assert np.array_equal(mask[..., 5] == 1, expected)


@pytest.mark.parametrize(("at", "expected"), [(5.0, 5), (5.4, 5), (4.6, 5), (5.6, 6)])
def test_a_contour_between_slices_goes_to_the_nearest(tmp_path: Path, at: float, expected: int) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(at))])])
    assert marked_slices(read_rtstruct(path, geometry=GRID)) == [expected]


def test_half_way_between_slices_n_contours_mark_n_slices(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(k + 0.5)) for k in range(4, 9)])])
    assert len(marked_slices(read_rtstruct(path, geometry=GRID))) == 5


def test_coarse_contours_fill_the_slices_between_and_gaps_stay(tmp_path: Path) -> None:
    coarse = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 10 + k, slice_z(k)) for k in (4, 6, 8, 14)])])
    assert marked_slices(read_rtstruct(coarse, geometry=GRID)) == [4, 5, 6, 7, 8, 14]
    fine = save(tmp_path / "b.dcm", [("a", [loop(0, 0, 20, slice_z(k)) for k in (4, 5, 6, 9, 10)])])
    assert marked_slices(read_rtstruct(fine, geometry=GRID)) == [4, 5, 6, 9, 10]
    apart = save(tmp_path / "c.dcm", [("a", [loop(0, 0, 20, slice_z(k)) for k in (2, 12)])])
    assert marked_slices(read_rtstruct(apart, geometry=GRID)) == [2, 12]


def flip(geometry: Geometry) -> Geometry:
    """The same voxels with k in the other direction."""
    turn = np.diag([1.0, 1.0, -1.0, 1.0])
    turn[2, 3] = geometry.shape[2] - 1
    return Geometry(geometry.shape, geometry.affine @ turn)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ((4, 6, 8, 10), range(4, 11)),
        ((4, 6), range(4, 7)),
        ((4, 7, 10), range(3, 12)),
        ((3.5, 5.5, 7.5), range(3, 9)),
        ((4.02, 5.98, 8.01), range(4, 9)),
        ((5, 6, 7), range(5, 8)),
        ((7,), [7]),
    ],
    ids=["every second", "two", "every third", "between slices", "rounded", "every", "one"],
)
def test_coarse_contours_are_as_thick_on_either_side(tmp_path: Path, slices: Sequence[float], expected: range) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(k)) for k in slices])])
    mask = read_rtstruct(path, geometry=GRID)
    assert marked_slices(mask) == list(expected)
    if not any(k % 1 == 0.5 for k in slices):
        assert np.array_equal(read_rtstruct(path, geometry=flip(GRID)), mask[..., ::-1])


def test_between_two_contours_lies_their_mean(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.dcm", [("a", [loop(0, 0, radius, slice_z(k)) for k, radius in ((4, 12), (6, 28), (8, 12))])]
    )
    mask = read_rtstruct(path, geometry=GRID)
    radii = np.sqrt(mask.sum(axis=(0, 1)) * 16 / np.pi)
    assert np.allclose(radii[4:9], [12, 20, 28, 20, 12], atol=1.5)


def test_a_region_keeps_the_distance_at_which_it_was_drawn(tmp_path: Path) -> None:
    rois = [
        ("organ", [loop(-40, 0, 20, slice_z(k)) for k in range(2, 18)]),
        ("tumour", [loop(40, 0, 20, slice_z(k)) for k in (4, 6, 8, 10)]),
        ("nodes", [loop(0, 40, 9, slice_z(k)) for k in (5, 7)]),
    ]
    path = save(tmp_path / "a.dcm", rois)
    found = [marked_slices(read_rtstruct(path, geometry=GRID, rois=[name])) for name, _ in rois]
    assert found == [list(range(2, 18)), list(range(4, 11)), [5, 7]]


@pytest.mark.parametrize(
    ("algorithm", "spacing_mm", "expected"),
    [("AUTOMATIC", 3, [4, 6, 8]), ("MANUAL", 3, [4, 5, 6, 7, 8]), ("AUTOMATIC", 500, [4, 5, 6, 7, 8])],
)
def test_computed_contours_mark_their_own_slices_alone(
    tmp_path: Path, algorithm: str, spacing_mm: float, expected: list[int]
) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(k)) for k in (4, 6, 8)])])
    dataset, planes = pydicom.dcmread(path), pydicom.Dataset()
    planes.SpacingBetweenSlices = spacing_mm
    dataset.ROIContourSequence[0].SourcePixelPlanesCharacteristicsSequence = [planes]
    dataset.StructureSetROISequence[0].ROIGenerationAlgorithm = algorithm
    dataset.save_as(path)
    assert marked_slices(read_rtstruct(path, geometry=GRID)) == expected


def test_holes_survive_keyholes_xor_and_rounding(tmp_path: Path) -> None:
    z = slice_z(5)
    outer, inner = loop(0, 0, 30, z), loop(3, 0, 12, z + 0.04)
    keyhole = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    expected = read_rtstruct(save(tmp_path / "a.dcm", [("a", [outer, inner])]), geometry=GRID)
    assert expected[20, 17, 5] == 0
    assert expected.sum() > 100
    xor = save(tmp_path / "b.dcm", [("a", [inner, outer])], kind="CLOSEDPLANAR_XOR")
    assert np.array_equal(read_rtstruct(xor, geometry=GRID), expected)
    channel = read_rtstruct(save(tmp_path / "c.dcm", [("a", [keyhole])]), geometry=GRID)
    assert int((channel != expected).sum()) <= 5, "only centres on the channel may differ"


def test_a_contour_that_appears_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    circle = loop(0, 0, 20, slice_z(5))
    once = read_rtstruct(save(tmp_path / "a.dcm", [("a", [circle])]), geometry=GRID)
    twice = read_rtstruct(save(tmp_path / "b.dcm", [("a", [circle, circle])]), geometry=GRID)
    assert np.array_equal(once, twice)
    assert "b.dcm: ROI a: 1 contours are copies, taken once" in caplog.text


def test_contours_without_area_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thin = [np.array([[0, 0, slice_z(9)], [8, 0, slice_z(9)]][:n], float) for n in (1, 2)]
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(5)), *thin]), ("b", thin[1:])])
    dataset = pydicom.dcmread(path)
    for item in dataset.ROIContourSequence:
        for contour in item.ContourSequence:
            contour.ContourGeometricType = "CLOSED_PLANAR"
    dataset.save_as(path)
    assert marked_slices(read_rtstruct(path, geometry=GRID)) == [5]
    assert "ROI a: passed over 2 contours without area: closed, of fewer than three corners" in caplog.text
    assert list_rois(path) == ("a", "b")
    assert summarise_rtstruct(path).drawn == ("a",)


def test_regions_of_one_name_and_contours_in_two_items_are_joined(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, slice_z(5))]), ("a", [loop(0, 0, 20, slice_z(12))])])
    assert marked_slices(read_rtstruct(path, geometry=GRID, rois=["a"])) == [5, 12]
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence.pop()
    for item in dataset.ROIContourSequence:
        item.ReferencedROINumber = dataset.StructureSetROISequence[0].ROINumber
    dataset.save_as(path)
    assert marked_slices(read_rtstruct(path, geometry=GRID)) == [5, 12]


def test_a_region_between_the_voxels_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "a.dcm", [("crumb", [loop(2, 2, 0.7, slice_z(5))])])
    assert not read_rtstruct(path, geometry=GRID).any()
    assert "ROI crumb contains no voxel centre of the image, so it is lost" in caplog.text


def test_contours_finer_than_the_grid_do_not_cancel_each_other(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(0, 0, 20, z) for z in np.arange(slice_z(4), slice_z(9) + 0.1, 1.0)])])
    mask = read_rtstruct(path, geometry=GRID)
    assert marked_slices(mask) == [4, 5, 6, 7, 8, 9]
    assert len({mask[..., k].sum() for k in range(4, 10)}) == 1


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 1, 2)])
def test_contours_may_lie_in_any_plane_of_the_grid(tmp_path: Path, order: tuple[int, int, int]) -> None:
    path = save(tmp_path / "a.dcm", [("a", [loop(3, 2, 20, slice_z(k)) for k in range(5, 9)])])
    turned = Geometry((GRID.shape[order[0]], GRID.shape[order[1]], GRID.shape[order[2]]), GRID.affine[:, [*order, 3]])
    expected = read_rtstruct(path, geometry=GRID).transpose(order)
    assert expected.sum() > 100
    assert np.array_equal(read_rtstruct(path, geometry=turned), expected)


def test_contours_on_planes_that_are_tilted_against_the_grid(tmp_path: Path) -> None:
    turn, radius = turn_by(OBLIQUE), 24.0
    centre = np.array([0.0, 2.0, 130.0])
    heights = np.arange(-22.5, 23, 3)
    contours = [loop(0, 0, float(np.sqrt(radius**2 - h**2)), h) @ turn.T + centre for h in heights]
    path = save(tmp_path / "a.dcm", [("ball", contours)])
    mask = read_rtstruct(path, geometry=GRID)
    index = np.indices(GRID.shape).reshape(3, -1).T
    distance = np.linalg.norm(GRID.to_mm(index) - centre * (-1, -1, 1), axis=1)
    ball = (distance <= radius).reshape(GRID.shape)
    assert dice(mask, ball.astype(np.uint8)) > 0.97


def test_points_and_open_contours_are_passed_over_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contours = [loop(0, 0, 20, slice_z(5)), np.array([[0.0, 0.0, slice_z(9)]])]
    path = save(tmp_path / "a.dcm", [("a", contours), ("b", [loop(0, 0, 20, slice_z(7))])])
    with caplog.at_level(logging.WARNING):
        assert marked_slices(read_rtstruct(path, geometry=GRID, rois=["a"])) == [5]
    assert "ROI a: passed over 1 contours without area: POINT" in caplog.text
    opened = save(tmp_path / "b.dcm", [("a", [loop(0, 0, 20, slice_z(5))])], kind="OPEN_PLANAR")
    assert not read_rtstruct(opened, geometry=GRID).any()
    assert "ROI a has no closed contour" in caplog.text


def test_a_region_outside_of_the_grid_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "a.dcm", [("far", [loop(0, 0, 20, 900)]), ("cut", [loop(-80, 0, 20, slice_z(5))])])
    with pytest.raises(CaseError, match=r"a\.dcm: ROI far lies outside of the image: .*-20\.\.\.20.*900"):
        read_rtstruct(path, geometry=GRID, rois=["far"])
    with caplog.at_level(logging.WARNING):
        assert read_rtstruct(path, geometry=GRID, rois=["cut"]).any()
    assert "ROI cut is cut by the border of the image" in caplog.text


@pytest.mark.parametrize("points", [[[0, 0, 100], [1, 1, 100], [2, np.nan, 100]], [[0, 0], [1, 0], [1, 1], [0, 1]]])
def test_contours_that_make_no_sense_are_refused(tmp_path: Path, points: list[list[float]]) -> None:
    path = save(tmp_path / "a.dcm", [("a", [np.array(points, float)])])
    with pytest.raises(CaseError, match=r"a\.dcm: ROI a: a contour of \d coordinates, expected finite x, y, z"):
        read_rtstruct(path, geometry=GRID)


def test_a_stray_corner_does_not_fill_the_memory(tmp_path: Path) -> None:
    stray = np.concatenate([loop(0, 0, 20, slice_z(5)), [[1e9, 1e9, slice_z(5)]]])
    mask = read_rtstruct(save(tmp_path / "a.dcm", [("a", [stray])]), geometry=GRID)
    assert marked_slices(mask) == [5]


def test_contours_that_leave_their_plane_are_refused(tmp_path: Path) -> None:
    wave = loop(0, 0, 30, slice_z(8))
    wave[:, 2] += 9 * np.sin(np.arange(200) / 10)
    path = save(tmp_path / "a.dcm", [("wave", [wave])])
    with pytest.raises(CaseError, match="ROI wave: its contours leave their planes"):
        read_rtstruct(path, geometry=GRID)


def test_files_that_are_no_structure_set_are_refused(tmp_path: Path) -> None:
    (image, *_), _ = write_grid(tmp_path / "PT", shape=(4, 4, 2))
    with pytest.raises(CaseError, match="Positron Emission Tomography Image Storage, expected an RT structure set"):
        list_rois(image)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.dcm").write_text("ROI")
    for name in ("empty.dcm", "text.dcm", "gone.dcm"):
        with pytest.raises(CaseError, match=f"{name}: cannot be read as an RT structure set"):
            find_references(tmp_path / name)
    nameless = save(tmp_path / "none.dcm", [])
    with pytest.raises(CaseError, match=r"none\.dcm: ROI: none in the file"):
        read_rtstruct(nameless, geometry=GRID)
    assert find_references(nameless)[0] is None
