"""Synthetic DICOM files in other encodings: compressed, deflated, without preamble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import UID

JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
DEFLATED = "1.2.840.10008.1.2.1.99"
SYNTAXES = {
    "JPEG Lossless": JPEG_LOSSLESS[0],
    "JPEG Lossless SV1": JPEG_LOSSLESS[1],
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
    "deflated": DEFLATED,
    "implicit": "1.2.840.10008.1.2",
}
"""What a PACS stores, without loss."""
_CODE_BITS = 5
"""Every category of differences, 0 to 16, has a code of this length."""


def encode_file(path: Path, syntax: str) -> None:
    """Store a file in another transfer syntax, in place."""
    dataset = pydicom.dcmread(path)
    if syntax in JPEG_LOSSLESS:
        dataset.PixelData = encapsulate([encode_lossless_jpeg(dataset.pixel_array.view(np.uint16))])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    elif UID(syntax).is_encapsulated:
        dataset.compress(UID(syntax), generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(path)


def encode_lossless_jpeg(pixels: np.ndarray) -> bytes:
    """Encode (row, column) uint16 as JPEG, process 14, selection value 1 (ITU-T T.81, annex H)."""
    rows, columns = pixels.shape
    values = pixels.astype(np.int64)
    predicted = np.full_like(values, 1 << 15)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    bits = "".join(_encode_difference(int(d)) for d in ((values - predicted + 32768) % 65536 - 32768).ravel())
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")
    counts = bytes(17 if length == _CODE_BITS else 0 for length in range(1, 17))
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, bytes([16, *divmod(rows, 256), *divmod(columns, 256), 1, 1, 0x11, 0])),
            _segment(0xC4, b"\0" + counts + bytes(range(17))),
            _segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            scan,
            b"\xff\xd9",
        ]
    )


def strip_preamble(path: Path, *, keep_meta: bool) -> None:
    """Take away the first 132 bytes of a file and, unless kept, its meta information."""
    content = path.read_bytes()[132:]
    if not keep_meta:
        length = int.from_bytes(content[8:12], "little")
        content = content[12 + length :]
    path.write_bytes(content)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker, *divmod(len(content) + 2, 256)]) + content


def _encode_difference(difference: int) -> str:
    if difference == -32768:
        return f"{16:0{_CODE_BITS}b}"
    category = abs(difference).bit_length()
    extra = difference if difference >= 0 else difference + (1 << category) - 1
    return f"{category:0{_CODE_BITS}b}" + (f"{extra:0{category}b}" if category else "")
