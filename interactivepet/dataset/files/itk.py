"""NRRD, MetaImage, TIFF and PNG through SimpleITK. Import this module where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.volume import DEFLATE_RATIO, Header, Volume, make_header, naming_file, refuse_size

__all__ = ["read_header", "read_metadata", "read_volume", "write_volume"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_ERRORS: tuple[type[Exception], ...] = (RuntimeError, ValueError, MemoryError, OSError, SyntaxError)
"""The last two are Pillow's, for a damaged PNG."""
_RATIOS = {".mha": DEFLATE_RATIO, ".png": 32 * DEFLATE_RATIO}
"""How far a file can inflate at most; one bit of a PNG's palette becomes four bytes. The others pack more densely."""
_GREY_WITH_ALPHA = 4
"""Colour type of a PNG that ITK cannot read (PNG specification, section 11.2.2)."""
_COLOUR_TYPE = 25
"""Byte of a PNG that says its colour type."""
_PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Grid of a picture as ITK gives it: voxels of 1 mm in LPS, here in RAS."""
_FORMATS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
    ".png": "PNGImageIO",
}
"""Ending of a file -> ITK's name of its format."""
_NRRD_SPACE = (b"space:", b"space dimension:", b"space directions:", b"space origin:")


def read_header(path: Path) -> Header:
    """Read grid and number of channels without the voxels.

    Raises:
        CaseError: the file cannot be read.
    """
    with naming_file(path, *_ERRORS):
        if _is_grey_with_alpha(path):
            columns, rows, _ = _read_grey_with_alpha(path).shape
            return make_header((columns, rows, 1, 2), _PICTURE_AFFINE)
        return _interpret(_information(path))


def read_metadata(path: Path) -> dict[str, str]:
    """Read a header's fields by name, such as the `Segment0_Name` of 3D Slicer.

    Raises:
        CaseError: the file cannot be read.
    """
    with naming_file(path, *_ERRORS):
        information = _information(path)
        return {key: information.GetMetaData(key) for key in information.GetMetaDataKeys()}


def read_volume(path: Path) -> Volume:
    """Read voxels and the grid, converted from ITK's LPS+ to RAS+ mm.

    Raises:
        CaseError: the file cannot be read.
    """
    with naming_file(path, *_ERRORS):
        if _is_grey_with_alpha(path):
            picture = _read_grey_with_alpha(path)
            header = make_header((*picture.shape[:2], 1, 2), _PICTURE_AFFINE)
            return Volume(picture.transpose(2, 0, 1)[..., None], header.geometry)
        information = _information(path)
        header = _interpret(information)
        _refuse_size(path, information)
        image = information.Execute()
        array = SimpleITK.GetArrayFromImage(image)
        if array.dtype.kind not in "iuf":
            raise ValueError(f"its voxels are {image.GetPixelIDTypeAsString()}, expected real numbers")
    i, j, k = header.geometry.shape
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    values = array.reshape((header.n_channels, k, j, i)).transpose(0, 3, 2, 1)
    return Volume(values, header.geometry)


def write_volume(path: Path, values: npt.NDArray[Any], *, geometry: Geometry, like: Path | None = None) -> None:
    """Write (I, J, K) or (I, J, K, C) voxels in their own number type.

    Args:
        path: ends in .nrrd or .mha.
        values: voxels; with a 2D `like`, (I, J, 1) is written as (I, J).
        geometry: their grid in RAS+ mm, used without `like`.
        like: a file read with SimpleITK whose origin, spacing and direction are copied bit by bit.
    """
    information = None if like is None or _is_grey_with_alpha(like) else _information(like)
    if information is not None and information.GetDimension() == 2:
        values = values[:, :, 0]
    spatial = tuple(range(min(values.ndim, 3)))[::-1]
    image = SimpleITK.GetImageFromArray(values.transpose(*spatial, *range(3, values.ndim)), isVector=values.ndim == 4)
    if like is None or information is None or information.GetDimension() != image.GetDimension():
        spacing = np.asarray(geometry.spacing_mm)
        image.SetOrigin((_LPS_TO_RAS @ geometry.affine[:3, 3]).tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((_LPS_TO_RAS @ geometry.affine[:3, :3] / spacing).ravel().tolist())
        _write(image, path)
        return
    image.SetOrigin(information.GetOrigin())
    image.SetSpacing(information.GetSpacing())
    image.SetDirection(information.GetDirection())
    _write(image, path)
    if path.suffix.lower() == ".nrrd" and like.suffix.lower() in (".nrrd", ".nhdr"):
        _copy_nrrd_space(path, like)


def _is_lower(path: Path) -> bool:
    """Whether ITK finds out the format of a file by itself, which it does by an ending in small letters."""
    return path.suffix == path.suffix.lower()


def _write(image: SimpleITK.Image, path: Path) -> None:
    """Write a compressed file at once: with an ending in capitals, ITK would make a header with voxels beside it."""
    written = path.with_suffix(path.suffix.lower())
    try:
        SimpleITK.WriteImage(image, str(written), useCompression=True)
        written.replace(path)
    except BaseException:
        if written != path:
            written.unlink(missing_ok=True)
        raise


def _information(path: Path) -> SimpleITK.ImageFileReader:
    reader = SimpleITK.ImageFileReader()
    if not _is_lower(path):
        reader.SetImageIO(_FORMATS[path.suffix.lower()])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _interpret(reader: SimpleITK.ImageFileReader) -> Header:
    dimension = reader.GetDimension()
    size = reader.GetSize()
    n = min(dimension, 3)
    matrix = np.eye(3)
    direction = np.asarray(reader.GetDirection()).reshape(dimension, dimension)
    matrix[:n, :n] = direction[:n, :n] * np.asarray(reader.GetSpacing())[:n]
    origin = np.zeros(3)
    origin[:n] = reader.GetOrigin()[:n]
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ matrix
    affine[:3, 3] = _LPS_TO_RAS @ origin
    shape = (*size, *(1,) * (3 - dimension), reader.GetNumberOfComponents())
    return make_header(shape, affine)


def _is_grey_with_alpha(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as stream:
        start = stream.read(_COLOUR_TYPE + 1)
    return start.startswith(b"\x89PNG") and len(start) > _COLOUR_TYPE and start[_COLOUR_TYPE] == _GREY_WITH_ALPHA


def _read_grey_with_alpha(path: Path) -> npt.NDArray[np.uint8]:
    """Read a PNG of grey and opacity, (columns, rows, 2)."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            # The checksums; nothing can be read from this object afterwards.
            picture.verify()
        with Image.open(path) as picture:
            refuse_size(picture.size, item_bytes=2, file_bytes=path.stat().st_size, ratio=DEFLATE_RATIO)
            if picture.mode != "LA":
                raise ValueError("grey with alpha in more than 8 bits per sample, expected 8")
            return np.asarray(picture).swapaxes(0, 1)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def _refuse_size(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    voxel = SimpleITK.Image([1] * reader.GetDimension(), reader.GetPixelID(), reader.GetNumberOfComponents())
    ratio = _RATIOS.get(path.suffix.lower())
    refuse_size(
        reader.GetSize(),
        item_bytes=voxel.GetSizeOfPixelComponent() * reader.GetNumberOfComponents(),
        file_bytes=path.stat().st_size if ratio else None,
        ratio=ratio or 1,
    )


def _copy_nrrd_space(path: Path, like: Path) -> None:
    """Copy the lines of the header that place the grid.

    NRRD stores direction times spacing. ITK takes the product apart and multiplies again when it writes,
    which changes the last digit of an oblique grid.
    """
    place = {name: line for line in _nrrd_header(like) for name in _NRRD_SPACE if line.startswith(name)}
    if b"space directions:" not in place:
        return
    # A channel axis has no direction ("none"), and the mask has no channel axis.
    place[b"space directions:"] = place[b"space directions:"].replace(b"none ", b"").replace(b" none", b"")
    header, _, voxels = path.read_bytes().partition(b"\n\n")
    lines = [line for line in header.split(b"\n") if not line.startswith(_NRRD_SPACE)]
    path.write_bytes(b"\n".join((*lines, *place.values())) + b"\n\n" + voxels)


def _nrrd_header(path: Path) -> list[bytes]:
    lines: list[bytes] = []
    with path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                break
            lines.append(line.rstrip(b"\r\n"))
    return lines
