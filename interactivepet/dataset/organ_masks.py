"""Masks of organs that TotalSegmentator wrote: one file per class, on the grid of the CT."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.layout import NIFTI_ENDINGS
from interactivepet.dataset.regrid import resample_onto
from interactivepet.errors import CaseError

__all__ = ["ORGANS", "read_organ_masks"]

logger = logging.getLogger(__name__)

ORGANS: Mapping[str, str] = {
    "brain": "brain",
    "heart": "heart",
    "kidney_left": "left kidney",
    "kidney_right": "right kidney",
    "urinary_bladder": "bladder",
    "liver": "liver",
    "spleen": "spleen",
    "stomach": "stomach",
    "duodenum": "bowel",
    "small_bowel": "bowel",
    "colon": "bowel",
    "gallbladder": "gallbladder",
    **{f"{name}_{side}": "muscle" for name in ("autochthon", "iliopsoas") for side in ("left", "right")},
    **{f"gluteus_{name}_{side}": "muscle" for name in ("maximus", "medius", "minimus") for side in ("left", "right")},
}
"""Class of TotalSegmentator (task `total`) -> organ of normal uptake; other classes say nothing about uptake."""


def read_organ_masks(folder: Path, *, geometry: Geometry) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Read the masks of organs and bring them to the grid of an image.

    Args:
        folder: with files such as `liver.nii.gz`; those of other classes are passed over.
        geometry: of the image.

    Returns:
        Organ -> (I, J, K) bool, the voxels that its classes fill to at least half; organs outside of the image and
        empty masks are left out.

    Raises:
        CaseError: the folder holds no mask of these classes, one cannot be read, or the masks lie elsewhere.
    """
    paths = [(organ, path) for name, organ in ORGANS.items() if (path := _find_file(folder, name)) is not None]
    if not paths:
        raise CaseError(
            f"{folder}: no mask of an organ, expected TotalSegmentator's files, such as liver.nii.gz; name its folder"
        )
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for organ, path in paths:
        mask, grid = read_mask(path)
        if not mask.any():
            continue
        try:
            share = resample_onto((mask > 0)[None].astype(np.float32), grid, target=geometry, outside=0.0)[0]
        except CaseError as error:
            raise CaseError(f"{path}: {error}") from error
        if (share >= 0.5).any():
            found[organ] = found.get(organ, np.zeros(geometry.shape, np.bool_)) | (share >= 0.5)
    logger.info("%s: %s", folder, ", ".join(sorted(found)) or "no organ is in the image")
    return found


def _find_file(folder: Path, name: str) -> Path | None:
    return next((path for ending in NIFTI_ENDINGS if (path := folder / f"{name}{ending}").is_file()), None)
