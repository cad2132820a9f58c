"""Masks as files."""

from __future__ import annotations

from pathlib import Path

from interactivepet.core.prediction import Segmentation
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.folders.mip import write_projection_mask
from interactivepet.errors import ManifestError
from interactivepet.pipeline.predict.requests import PICTURE_ENDING

__all__ = ["save_mask"]


def save_mask(segmentation: Segmentation, path: str | Path) -> None:
    """Write a mask on the grid of its image, complete or not at all.

    Args:
        segmentation: what `Model.predict` or `Session.segment` gave.
        path: ends in `.nii.gz`, `.nii`, `.nrrd` or `.mha`. In the family of formats of the image's own file (NIfTI,
            or those of ITK) origin, spacing and direction are copied bit by bit. `.png` for a flat mask: black, and
            white or evenly spaced greys for the labels.

    Raises:
        ManifestError: the mask would replace its image.
        CaseError: the format is unknown, or cannot hold the mask.
        OSError: the file cannot be written.
    """
    path, source = Path(path), segmentation.source
    if source is not None and path.resolve() == source.resolve():
        raise ManifestError(f"{path} is the image, which the mask would replace; choose another name")
    if path.suffix.lower() == PICTURE_ENDING:
        write_projection_mask(path, segmentation.mask, largest_label=max(segmentation.labels))
        return
    like = source if source is not None and source.suffix.lower() != PICTURE_ENDING and source.is_file() else None
    write_mask(path, segmentation.mask, geometry=segmentation.geometry, like=like)
