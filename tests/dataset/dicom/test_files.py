"""Encodings of DICOM files: compressed, deflated, without preamble, and what has no decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from interactivepet.dataset.dicom.images import read_dicom_case
from interactivepet.dataset.dicom.rtstruct import list_rois, read_rtstruct, write_rtstruct
from interactivepet.dataset.dicom.seg import list_segments, read_seg, write_seg
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.dicom.tree import find_series
from interactivepet.errors import CaseError
from tests.dicom_codecs import SYNTAXES, encode_file, strip_preamble
from tests.dicom_series import draw_masks, write_grid, write_series


def draw(k: int, header: Dataset) -> None:
    """Fill a larger slice from end to end of 16 bits; encoders need some pixels to work on."""
    header.Rows, header.Columns = 36, 40
    values = np.add.outer(700 * np.arange(36), 300 * np.arange(40)) + k
    values[0, :3] = (0, 65535, 32768)
    header.PixelData = values.astype("<u2").tobytes()


@pytest.mark.parametrize("sign", [1, 0], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=list(SYNTAXES))
def test_a_series_in_any_lossless_syntax_gives_the_same_voxels(tmp_path: Path, syntax: str, sign: int) -> None:
    def change(k: int, header: Dataset) -> None:
        draw(k, header)
        header.PixelRepresentation = sign

    write_series(tmp_path, change=change)
    expected = read_dicom_case(tmp_path).image
    assert (expected.min() < 0) == bool(sign)
    for path in tmp_path.iterdir():
        encode_file(path, syntax)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_dicom_case(tmp_path).image, expected)


@pytest.mark.parametrize("keep_meta", [True, False], ids=["meta", "bare"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_images_and_masks_without_preamble_are_dicom(tmp_path: Path, syntax: str, keep_meta: bool) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    mask = draw_masks(geometry.shape)["labels"]
    options: dict[str, Any] = {"geometry": geometry, "labels": {"a": 1, "b": 2, "c": 3}, "series": series}
    write_seg(tmp_path / "seg", mask, **options)
    write_rtstruct(tmp_path / "rt", mask, **options)
    expected = read_dicom_case(tmp_path / "PT").image
    for path in (*series, tmp_path / "seg", tmp_path / "rt"):
        if syntax == "implicit":
            encode_file(path, SYNTAXES["implicit"])
        strip_preamble(path, keep_meta=keep_meta)
    (tmp_path / "text").write_bytes(b"\x08\0no DICOM")
    (tmp_path / "numbers").write_bytes(np.arange(8, 400, dtype="<u2").tobytes())
    found, passed_over = find_series(tmp_path)
    assert sorted(one.modality for one in found) == ["PT", "RTSTRUCT", "SEG"]
    assert {path.name for path in passed_over} == {"text", "numbers"}
    assert np.array_equal(read_dicom_case(tmp_path / "PT").image, expected)
    assert list_segments(tmp_path / "seg") == list_rois(tmp_path / "rt") == ("a", "b", "c")
    assert np.array_equal(read_seg(tmp_path / "seg", geometry=geometry), mask)
    assert np.array_equal(read_rtstruct(tmp_path / "rt", geometry=geometry), mask)
    (tmp_path / "seg").unlink()
    (job,) = find_dicom_source(tmp_path, options=DicomOptions()).training
    assert np.array_equal(job.load().case.label, mask)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_missing_decoder_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    series, geometry = write_grid(tmp_path / "PT")
    write_seg(tmp_path / "seg", draw_masks(geometry.shape)["blob"], geometry=geometry, labels={"a": 1}, series=series)
    dataset = pydicom.dcmread(tmp_path / "seg")
    dataset.file_meta.TransferSyntaxUID = UID(SYNTAXES["JPEG Lossless SV1"])
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0"] * int(dataset.NumberOfFrames))
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "seg")
    for path in series:
        encode_file(path, SYNTAXES["JPEG Lossless SV1"])
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    with pytest.raises(CaseError, match=r'JPEG Lossless.*1\.2\.4\.70.*run pip install "interactivepet\[dicom\]"'):
        read_dicom_case(tmp_path / "PT") if kind == "image" else read_seg(tmp_path / "seg", geometry=geometry)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("1.2.840.10008.1.2.4.102", r"MPEG-4.*cannot be decoded here; export it uncompressed"),
        ("1.2.840.10008.1.2.4.70", r"cannot be decoded \(JPEG Lossless.*copy or export it again"),
    ],
)
def test_what_cannot_be_decoded_is_named(tmp_path: Path, syntax: str, message: str) -> None:
    write_series(tmp_path)
    for path in tmp_path.iterdir():
        encode_file(path, SYNTAXES["JPEG Lossless SV1"])
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = pydicom.encaps.encapsulate([dataset.PixelData[16:40]])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    with pytest.raises(CaseError, match=message):
        read_dicom_case(tmp_path)


def test_compressed_pixels_without_a_transfer_syntax_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    for path in tmp_path.iterdir():
        encode_file(path, SYNTAXES["RLE"])
        strip_preamble(path, keep_meta=False)
    with pytest.raises(CaseError, match=r"compressed, but no transfer syntax \(0002,0010\) says how"):
        read_dicom_case(tmp_path)
