"""The slices of a PET or CT series, whether each is a file of its own or a frame of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from interactivepet.dataset.dicom.multi_frame import is_multi_frame, list_frame_headers
from interactivepet.dataset.dicom.series import SliceOrder, decode_pixels, read_dataset
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Slice", "read_slices", "read_voxels"]


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


def read_voxels(
    slices: Sequence[Slice], order: SliceOrder, *, factors: Sequence[float] = (1.0,)
) -> npt.NDArray[np.float32]:
    """Read a volume slice by slice, each with its own rescale slope and intercept.

    Args:
        slices: of the volume.
        order: of `arrange_slices` for their headers.
        factors: one for all slices, or one a slice in the order of `slices`, applied after rescaling.

    Returns:
        (I, J, K) float32, a view whose last axis changes slowest in memory.

    Raises:
        CaseError: a file is truncated, or its compression has no decoder here.
    """
    columns, rows, n_slices = order.geometry.shape
    volume = np.empty((n_slices, rows, columns), dtype=np.float32)
    places = {index: k for k, index in enumerate(order.indices)}
    open_path, frames = None, np.empty(0)
    # Each file is decoded once: frames of one file stand together.
    for index in sorted(places, key=lambda index: (slices[index].path, slices[index].frame or 0)):
        one = slices[index]
        if one.path != open_path:
            open_path, frames = one.path, decode_pixels(read_dataset(one.path), one.path)
        is_single = one.frame is None or frames.ndim == 2
        stored = frames if is_single else frames[one.frame]
        factor = factors[index] if len(factors) > 1 else factors[0]
        slope, intercept = float(one.header.RescaleSlope), float(one.header.get("RescaleIntercept") or 0.0)
        volume[places[index]] = factor * (stored * slope + intercept)
    return volume.transpose(2, 1, 0)
