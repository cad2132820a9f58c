"""The slices of a PET or CT series, whether each is a file of its own or a frame of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from interactivepet.dataset.dicom.files import decode_pixels
from interactivepet.dataset.dicom.multi_frame import is_multi_frame, list_frame_headers
from interactivepet.dataset.dicom.series import SliceOrder, read_dataset
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["PixelReader", "Slice", "read_slices", "read_voxels"]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One slice.

    Attributes:
        path: of its file.
        header: as of a classic slice; of a frame with the frame's own values.
        frame: index of the frame in its file; None for a file of one slice.
    """

    path: Path
    header: Dataset
    frame: int | None = None


def read_slices(paths: Sequence[Path]) -> tuple[Slice, ...]:
    """Read the header of every slice; no pixel is read.

    Raises:
        CaseError: a file cannot be read, or holds several frames without saying where each lies.
    """
    slices: list[Slice] = []
    for path in paths:
        dataset = read_dataset(path, stop_before_pixels=True)
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        if is_multi_frame(dataset):
            headers = list_frame_headers(dataset)
            if len(headers) != n_frames:
                raise CaseError(
                    f"{path}: NumberOfFrames (0028,0008) is {n_frames}, but {len(headers)} frames are described in "
                    "PerFrameFunctionalGroupsSequence (5200,9230); export it again"
                )
            slices += [Slice(path, header, frame) for frame, header in enumerate(headers)]
        elif n_frames > 1:
            raise CaseError(
                f"{path}: a multi-frame image of {n_frames} frames that does not say where each lies; expected one "
                "file per slice, or an enhanced image with functional groups: export it again"
            )
        else:
            slices.append(Slice(path, dataset))
    return tuple(slices)


class PixelReader:
    """Reads stored values; the last file stays decoded, as frames of one file follow one another."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._path: Path | None = None
        self._decoded: npt.NDArray[Any] = np.empty(0)

    def read(self, one: Slice) -> npt.NDArray[Any]:
        """Read a slice, (rows, columns).

        Raises:
            CaseError: the file is truncated, or its compression has no decoder here.
        """
        if one.path != self._path:
            self._decoded = decode_pixels(read_dataset(one.path), source=str(one.path))
            self._path = one.path
        is_single = one.frame is None or self._decoded.ndim == 2
        return self._decoded if is_single else self._decoded[one.frame]


def read_voxels(
    slices: Sequence[Slice], order: SliceOrder, *, factors: Sequence[float] = (1.0,), pixels: PixelReader | None = None
) -> npt.NDArray[np.float32]:
    """Read a volume slice by slice, each with its own rescale slope and intercept.

    Args:
        slices: of the volume.
        order: of `arrange_slices` for their headers.
        factors: one for all slices, or one per slice in the order of `slices`, applied after rescaling.
        pixels: reads the stored values; one for all volumes of a file saves decoding it again.

    Returns:
        (I, J, K) float32, a view whose last axis changes slowest in memory.

    Raises:
        CaseError: a file is truncated or holds colours, or its compression has no decoder here.
    """
    pixels = pixels or PixelReader()
    columns, rows, n_slices = order.geometry.shape
    volume = np.empty((n_slices, rows, columns), dtype=np.float32)
    places = {index: k for k, index in enumerate(order.indices)}
    for index in sorted(places, key=lambda index: (slices[index].path, slices[index].frame or 0)):
        stored, header = pixels.read(slices[index]), slices[index].header
        if stored.shape != (rows, columns):
            found = "x".join(str(n) for n in stored.shape)
            raise CaseError(
                f"{slices[index].path}: pixels of {found}, expected {rows}x{columns} in shades of grey; export it again"
            )
        factor = factors[index] if len(factors) > 1 else factors[0]
        slope, intercept = float(header.RescaleSlope), float(header.get("RescaleIntercept") or 0.0)
        volume[places[index]] = factor * (stored * slope + intercept)
    return volume.transpose(2, 1, 0)
