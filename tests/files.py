"""Files that no library of the project writes: PNG of every colour type, and segmentations as 3D Slicer saves them."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types of PNG."""


def write_png(
    path: Path,
    pixels: np.ndarray,
    *,
    colour_type: int = GREY,
    depth: int = 8,
    palette: Sequence[int] = (),
    opacities: Sequence[int] = (),
) -> Path:
    """Write samples (rows, columns[, samples]) as they are.

    Args:
        path: of the file.
        pixels: whole numbers of `depth` bits.
        colour_type: of the PNG specification.
        depth: bits per sample: 1, 8 or 16.
        palette: red, green, blue of each index.
        opacities: of each index of the palette.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = pixels.shape[:2]
    kinds = {1: np.packbits, 8: lambda row: row.astype(np.uint8), 16: lambda row: row.astype(">u2")}
    lines = b"".join(b"\0" + kinds[depth](row).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    if palette:
        parts.append(chunk(b"PLTE", bytes(palette)))
    if opacities:
        parts.append(chunk(b"tRNS", bytes(opacities)))
    parts += [chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def write_segmentation(
    path: Path,
    layers: np.ndarray,
    affine: np.ndarray,
    *,
    segments: Sequence[tuple[str, int, int]],
    is_old: bool = False,
) -> Path:
    """Write a segmentation with the header of 3D Slicer 5, cropped to what is labelled as Slicer crops it.

    Args:
        path: ends in `.seg.nrrd`.
        layers: (layers, I, J, K) uint8.
        affine: of the whole image, voxel -> RAS+ mm.
        segments: name, value and layer of each.
        is_old: as Slicer 4.10 wrote it: a layer per segment, without values and layers in the header.
    """
    labelled = np.argwhere(layers.any(axis=0))
    low, high = labelled.min(axis=0), labelled.max(axis=0) + 1
    cropped = layers[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    lps = np.diag([-1.0, -1.0, 1.0])
    origin = lps @ (affine[:3, :3] @ low + affine[:3, 3])
    directions = [f"({','.join(f'{v:.17g}' for v in lps @ affine[:3, axis])})" for axis in range(3)]
    is_stack = len(layers) > 1
    extent = " ".join(f"0 {n - 1}" for n in cropped.shape[1:])
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {4 if is_stack else 3}",
        "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if is_stack else ''}{' '.join(map(str, cropped.shape[1:]))}",
        f"space directions: {'none ' if is_stack else ''}{' '.join(directions)}",
        f"kinds: {'list ' if is_stack else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: ({','.join(f'{v:.17g}' for v in origin)})",
    ]
    for number, (name, value, layer) in enumerate(segments):
        fields = {"Color": "0.5 0.7 0.5", "Extent": extent, "ID": f"Segment_{number + 1}", "Name": name}
        if not is_old:
            fields |= {"LabelValue": str(value), "Layer": str(layer)}
        lines += [f"Segment{number}_{key}:={text}" for key, text in fields.items()]
    lines += [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        f"Segmentation_ReferenceImageExtentOffset:={' '.join(map(str, low))}",
    ]
    voxels = cropped.astype(np.uint8).tobytes(order="F")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + gzip.compress(voxels))
    return path
