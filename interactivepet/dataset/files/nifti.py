"""NIfTI files through nibabel. Import this module where it is used: nibabel is not cheap."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.volume import DEFLATE_RATIO, Header, Volume, make_header, naming_file, refuse_size

__all__ = ["read_header", "read_volume", "write_volume"]

_ERRORS: tuple[type[Exception], ...] = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    OverflowError,
    zlib.error,
)
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Metre, millimetre and micrometre by NIfTI's codes, which ITK heeds too; any other is taken for mm."""
_SPACE_BITS = 7
_LARGEST_FORM_OFFSET = 0.5
"""Voxels by which sform and qform may place a corner apart before it is worth a remark: less is rounding."""
_CHUNK_BYTES = 1 << 20
_LARGEST_TAIL_BYTES = 16 << 20
"""Behind the voxels there is nothing; a stream that goes on for longer is no image, whatever its header says."""


def read_header(path: Path) -> Header:
    """Read grid and number of channels without the voxels.

    Raises:
        CaseError: the file cannot be read.
    """
    with naming_file(path, *_ERRORS):
        image = _load(path)
        header = make_header(image.shape, _find_affine_mm(image))
        return replace(header, remark=_compare_forms(image, header.geometry))


def read_volume(path: Path) -> Volume:
    """Read voxels, scaled by the header's slope and intercept, and the grid that nibabel gives.

    Raises:
        CaseError: the file cannot be read, or its checksum is wrong.
    """
    with naming_file(path, *_ERRORS), _decompressed(path) as stream:
        image = type(_load(path)).from_stream(stream)
        header = make_header(image.shape, _find_affine_mm(image))
        stored = image.get_data_dtype()
        if stored.kind not in "iuf":
            raise ValueError(f"its voxels are of type {stored}, expected real numbers")
        ratio = DEFLATE_RATIO if isinstance(stream, gzip.GzipFile) else 1
        refuse_size(image.shape, item_bytes=stored.itemsize, file_bytes=path.stat().st_size, ratio=ratio)
        values = np.asanyarray(image.dataobj)
        _read_to_end(stream)
    channels = np.moveaxis(values.reshape((*header.geometry.shape, header.n_channels)), -1, 0)
    return Volume(channels, header.geometry, _step(image), _compare_forms(image, header.geometry))


def write_volume(path: Path, values: npt.NDArray[Any], *, geometry: Geometry, like: Path | None = None) -> None:
    """Write (I, J, K) or (I, J, K, C) voxels in their own number type.

    Args:
        path: ends in .nii or .nii.gz.
        values: voxels; with a 2D `like`, (I, J, 1) is written as (I, J).
        geometry: their grid, used without `like`.
        like: a NIfTI file whose transforms, codes, voxel sizes and units are copied bit by bit.
    """
    if like is None:
        image = Nifti1Image(values, geometry.affine)
        image.set_qform(geometry.affine, code=1)
        image.set_sform(geometry.affine, code=1)
        image.header.set_xyzt_units(xyz="mm")
        nibabel.save(image, path)
        return
    source = _load(like)
    header = type(source.header)()
    for field in ("pixdim", "xyzt_units", "qform_code", "sform_code"):
        header[field] = source.header[field]
    for letter in ("b", "c", "d"):
        header[f"quatern_{letter}"] = source.header[f"quatern_{letter}"]
    for letter in ("x", "y", "z"):
        header[f"qoffset_{letter}"] = source.header[f"qoffset_{letter}"]
        header[f"srow_{letter}"] = source.header[f"srow_{letter}"]
    header.set_data_dtype(values.dtype)
    image = type(source)(values.reshape(source.shape[:3]), None, header)
    # nibabel sets the thickness of a plane to 1
    image.header["pixdim"] = source.header["pixdim"]
    nibabel.save(image, path)


def _find_affine_mm(image: Nifti1Image) -> npt.NDArray[np.float64]:
    """Give the affine in mm, whatever unit the header has; without one it is mm."""
    return _to_mm(image, image.affine)


def _to_mm(image: Nifti1Image, affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    scale = _MM.get(int(image.header["xyzt_units"]) & _SPACE_BITS, 1.0)
    in_mm: npt.NDArray[np.float64] = np.diag([scale, scale, scale, 1.0]) @ affine
    return in_mm


def _compare_forms(image: Nifti1Image, geometry: Geometry) -> str:
    """Say when sform and qform, both of them set, place the image half a voxel or more apart."""
    if not int(image.header["sform_code"]) or not int(image.header["qform_code"]):
        return ""
    try:
        qform = Geometry(geometry.shape, _to_mm(image, image.header.get_qform()))
    except (HeaderDataError, ValueError):
        return "the qform is invalid; the sform was taken"
    offset = geometry.offset_mm(qform)
    if not offset >= _LARGEST_FORM_OFFSET * min(geometry.spacing_mm):
        return ""
    return f"sform and qform place the image up to {offset:.3g} mm apart; the sform was taken"


def _load(path: Path) -> Nifti1Image:
    image = nibabel.load(path)
    if not isinstance(image, Nifti1Image):
        raise ImageFileError(f"it is a {type(image).__name__}, expected NIfTI")
    return image


def _read_to_end(stream: io.BufferedIOBase) -> None:
    """Read on to the checksum of gzip, which stands behind the voxels: without it a flipped bit passes unnoticed."""
    n_bytes = 0
    while chunk := stream.read(_CHUNK_BYTES):
        n_bytes += len(chunk)
        if n_bytes > _LARGEST_TAIL_BYTES:
            raise ValueError(f"it goes on for more than {_LARGEST_TAIL_BYTES >> 20} MiB behind the last voxel")


@contextmanager
def _decompressed(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("rb") as raw:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream
        else:
            yield raw


def _step(image: Nifti1Image) -> float:
    slope = float(getattr(image.dataobj, "slope", 1.0))
    return abs(slope) if image.get_data_dtype().kind in "iu" and slope != 1.0 else 0.0
