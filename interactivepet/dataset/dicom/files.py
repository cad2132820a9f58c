"""One DICOM file: its data set, with or without the preamble of a file, and its decoded pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy.typing as npt

from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["INSTALL_DECODERS", "decode_pixels", "is_bare_dicom", "read_file"]

INSTALL_DECODERS = 'pip install "interactivepet[dicom]"'
"""Brings every decoder that pydicom can use for images of a PACS."""
_PREAMBLE = 128
"""Bytes before the letters `DICM` (PS3.10, 7.1)."""
_FIRST_GROUPS = (0x0002, 0x0008)
"""Group of the first element of a file's meta information, and of a data set without any."""
_LONGEST_FIRST_VALUE = 1024
"""Bytes of the first value of a data set: a length, a character set or a date."""


def read_file(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """Read a DICOM file, also one that starts with its first element in place of the preamble.

    Raises:
        Exception: of pydicom, whatever the damage leads to.
    """
    import pydicom

    with warnings.catch_warnings(), path.open("rb") as file:
        # Headers of the field break small rules of the standard; what matters is checked where it is used.
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, force=is_bare_dicom(file))
    if not dataset.file_meta.get("TransferSyntaxUID"):
        _set_native_syntax(dataset)
    return dataset


def is_bare_dicom(file: BinaryIO) -> bool:
    """Whether a file lacks the preamble and yet starts as DICOM does.

    The first element must be one that the standard knows in group 0002 or 0008, with its own value representation
    or, without one, a short value.

    Args:
        file: open at its start, where it is again afterwards.
    """
    start = file.read(_PREAMBLE + 4)
    file.seek(0)
    if start[_PREAMBLE:] == b"DICM" or len(start) < 8:
        return False
    return _is_first_element(start, "little") or _is_first_element(start, "big")


def decode_pixels(dataset: Dataset, *, source: str) -> npt.NDArray[Any]:
    """Decode the stored values of all frames.

    Args:
        dataset: with its pixels.
        source: file, for messages.

    Raises:
        CaseError: there is no decoder for its transfer syntax here, or the pixels are damaged.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    name = f"{getattr(syntax, 'name', 'transfer syntax unknown')}, {syntax}"
    if syntax is None:
        raise CaseError(
            f"{source}: its pixels are compressed, but no transfer syntax (0002,0010) says how; export it again with "
            "the file's meta information"
        )
    _refuse_undecodable(syntax, name, source=source)
    try:
        with warnings.catch_warnings(), _without_log():
            warnings.simplefilter("ignore")
            stored: npt.NDArray[Any] = dataset.pixel_array
    except Exception as error:  # decoders raise whatever the damage leads to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CaseError(
            f"{source}: cannot be read, as its pixels cannot be decoded ({name}: {reason}); copy or export it again"
        ) from error
    return stored


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep back the traceback that pydicom logs beside the error that it raises."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _refuse_undecodable(syntax: Any, name: str, *, source: str) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if syntax.is_private or not syntax.is_encapsulated:
        return
    try:
        is_there = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise CaseError(
            f"{source}: its pixels are stored as {name}, which cannot be decoded here; export it uncompressed, or as "
            "JPEG Lossless or JPEG 2000"
        ) from error
    if not is_there:
        raise CaseError(
            f"{source}: its pixels are stored as {name}, and no decoder for it is installed; run {INSTALL_DECODERS}"
        )


def _is_first_element(start: bytes, order: Any) -> bool:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    group, element = int.from_bytes(start[:2], order), int.from_bytes(start[2:4], order)
    tag = group << 16 | element
    if group not in _FIRST_GROUPS or not (element == 0 or dictionary_has_tag(tag)):
        return False
    if start[4:6].decode("latin-1") == ("UL" if element == 0 else dictionary_VR(tag)):
        return True
    length = int.from_bytes(start[4:8], order)
    return length % 2 == 0 and length <= _LONGEST_FIRST_VALUE


def _set_native_syntax(dataset: Dataset) -> None:
    """Fill in the transfer syntax by which the elements were read; compressed pixels keep none."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        return
    is_implicit, is_little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
