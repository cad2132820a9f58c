"""Segmentations of 3D Slicer beside volumes: which label each segment becomes, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.imported import ImportedCase, ImportSource
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.source import find_folder_source
from interactivepet.errors import CaseError, ManifestError
from tests.files import write_segmentation

SHAPE = (12, 10, 8)
AFFINE = np.array([[-4.0, 0, 0, 30], [0, -4, 0, 20], [0, 0, 3, -100], [0, 0, 0, 1]])
GEOMETRY = Geometry(SHAPE, AFFINE)


def box(*edges: int, value: int = 1) -> np.ndarray:
    i, j, k, size = edges
    mask = np.zeros(SHAPE, np.uint8)
    mask[i : i + size, j : j + size, k : k + size] = value
    return mask


FIRST, SECOND = box(2, 2, 2, 3), box(7, 5, 4, 2)
SHARED = (FIRST + 2 * SECOND)[None]
STACK = np.stack([FIRST, SECOND])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).uniform(1, 5, size=SHAPE).astype(np.float32)
    write_image(tmp_path / "A.nrrd", image[None], geometry=GEOMETRY)
    return tmp_path


def find(folder: Path, **options: Any) -> ImportSource:
    return find_folder_source(folder, options=FolderOptions(**options))


def load(folder: Path, **options: Any) -> tuple[ImportSource, ImportedCase]:
    source = find(folder, **options)
    assert [job.id for job in source.training] == ["A"]
    return source, source.training[0].load()


@pytest.mark.parametrize(
    ("layers", "segments", "is_old", "options", "labels", "expected"),
    [
        (SHARED, [("tumour", 1, 0), ("node", 2, 0)], False, {}, ("tumour", "node"), FIRST + 2 * SECOND),
        (STACK, [("tumour", 1, 0), ("node", 1, 1)], False, {}, ("node", "tumour"), 2 * FIRST + SECOND),
        (STACK, [("tumour", 1, 0), ("node", 1, 1)], True, {}, ("node", "tumour"), 2 * FIRST + SECOND),
        (SHARED, [("a", 1, 0), ("b", 2, 0)], False, {"labels": ("b", "a")}, ("b", "a"), 2 * FIRST + SECOND),
        (SHARED, [("Tumour", 1, 0), ("liver", 2, 0)], False, {"labels": ("tumour",)}, ("tumour",), FIRST),
        (SHARED, [("lesion", 1, 0), ("lesion", 2, 0)], False, {}, ("lesion",), FIRST + SECOND),
        (
            np.concatenate([SHARED, box(5, 1, 1, 2)[None]]),
            [("a", 1, 0), ("b", 2, 0), ("c", 1, 1)],
            False,
            {},
            ("a", "c", "b"),
            FIRST + 3 * SECOND + 2 * box(5, 1, 1, 2),
        ),
        (FIRST[None], [("Segment_1", 1, 0)], False, {}, ("lesion",), FIRST),
        (FIRST[None], [("Segment_1", 1, 0)], False, {"labels": ("tumour",)}, ("tumour",), FIRST),
        (7 * FIRST[None], [("GTV 1", 7, 0)], False, {}, ("GTV_1",), FIRST),
        (
            SHARED,
            [("Segment_1", 1, 0), ("Segment_2", 2, 0)],
            False,
            {"labels": ("t", "n")},
            ("t", "n"),
            FIRST + 2 * SECOND,
        ),
    ],
    ids=[
        "shared layer",
        "layers",
        "Slicer 4.10",
        "order of -l",
        "chosen with -l",
        "one name",
        "layers and shared",
        "automatic",
        "automatic with -l",
        "other value",
        "by value",
    ],
)
def test_segments_become_labels(
    folder: Path,
    layers: np.ndarray,
    segments: list[tuple[str, int, int]],
    is_old: bool,
    options: dict[str, Any],
    labels: tuple[str, ...],
    expected: np.ndarray,
) -> None:
    write_segmentation(folder / "A.seg.nrrd", layers, AFFINE, segments=segments, is_old=is_old)
    source, imported = load(folder, **options)
    assert source.labels == labels
    np.testing.assert_array_equal(imported.case.label, expected)
    assert "the mask was placed on the voxels of the image without loss: cropped" in imported.remarks


@pytest.mark.parametrize(
    ("layers", "segments", "options", "message"),
    [
        (SHARED, [("tumour", 1, 0)], {}, "voxels of layer 0 hold 2, which is no segment's value"),
        (
            SHARED,
            [("liver", 1, 0), ("spleen", 2, 0)],
            {"labels": ("tumour",)},
            "segments liver, spleen, expected tumour; rename them in Slicer",
        ),
        (
            SHARED,
            [("Segment_1", 1, 0), ("Segment_2", 2, 0)],
            {"labels": ("tumour",)},
            "segments of one name are joined",
        ),
        (np.stack([FIRST, FIRST]), [("a", 1, 0), ("b", 1, 1)], {}, "27 voxels belong to b and to a"),
        (SHARED, [("a", 1, 0), ("b", 2, 4)], {}, "holds? 2|segment b lies in another"),
        (FIRST[None], [("tumour", 300, 0)], {}, "value 300 of segment tumour, expected 1 to 255"),
        (FIRST[None], [("liver", 1, 0)], {"labels": ("tumour",)}, "segments liver, expected tumour"),
    ],
    ids=[
        "value without segment",
        "other names",
        "two for one label",
        "overlap",
        "no such layer",
        "large value",
        "another organ",
    ],
)
def test_segments_that_cannot_be_labels(
    folder: Path, layers: np.ndarray, segments: list[tuple[str, int, int]], options: dict[str, Any], message: str
) -> None:
    write_segmentation(folder / "A.seg.nrrd", layers, AFFINE, segments=segments)
    with pytest.raises(CaseError, match=message):
        find(folder, **options).training[0].load()


@pytest.mark.parametrize(
    "name", ["A.seg.nrrd", "A_mask.seg.nrrd", "A-segmentation.seg.nrrd", "A_Segmentation.seg.nrrd", "A_seg.nrrd"]
)
def test_names_of_segmentations(folder: Path, name: str) -> None:
    write_segmentation(folder / name, FIRST[None], AFFINE, segments=[("tumour", 1, 0)])
    source, imported = load(folder)
    assert source.labels == ("tumour",)
    np.testing.assert_array_equal(imported.case.label, FIRST)


def test_segments_left_out_are_named(folder: Path) -> None:
    write_segmentation(folder / "A.seg.nrrd", SHARED, AFFINE, segments=[("tumour", 1, 0), ("liver", 2, 0)])
    _, imported = load(folder, labels=("tumour",))
    assert "segments without a label were left out: liver" in imported.remarks


def test_a_segmentation_among_plain_masks_needs_names(folder: Path) -> None:
    write_segmentation(folder / "A.seg.nrrd", FIRST[None], AFFINE, segments=[("tumour", 1, 0)])
    write_image(folder / "B.nrrd", np.ones((1, *SHAPE), np.float32), geometry=GEOMETRY)
    write_mask(folder / "B_mask.nrrd", FIRST, geometry=GEOMETRY)
    with pytest.raises(ManifestError, match=r"B_mask\.nrrd: its header names no segments, as 1 other masks do"):
        find(folder)
    assert find(folder, labels=("tumour",)).labels == ("tumour",)


def test_segmentations_of_a_raw_dataset(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(1, 5, size=SHAPE).astype(np.float32)
    write_image(tmp_path / "imagesTr" / "A_0000.nrrd", image[None], geometry=GEOMETRY)
    segments = [("tumour", 1, 0), ("node", 2, 0)]
    (tmp_path / "labelsTr").mkdir()
    write_segmentation(tmp_path / "labelsTr" / "A.seg.nrrd", SHARED, AFFINE, segments=segments)
    source, imported = load(tmp_path)
    assert source.labels == ("tumour", "node")
    np.testing.assert_array_equal(imported.case.label, SHARED[0])
