"""The unit of an image's uptake, from what lies beside it and from its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from interactivepet.core.suv import SuvRecord
from interactivepet.core.uptake import LARGEST_MEAN_SUV, UNIT_OF_VARIANT, UptakeUnit, average_uptake
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.dicom.case import SUV_JSON
from interactivepet.dataset.files.write import read_artefact

__all__ = ["find_unit", "read_noted_unit"]


def read_noted_unit(image: Path, *, case: str) -> UptakeUnit | None:
    """Read which SUV an image file holds from the `CASE.suv.json` beside it; None without one.

    Raises:
        ArtefactError: the note is damaged.
    """
    path = image.with_name(f"{case}.{SUV_JSON}")
    if not path.is_file():
        return None
    return UNIT_OF_VARIANT[read_artefact(path, SuvRecord, command="interactivepet_import").suv.variant]


def find_unit(image: Path, values: npt.NDArray[Any], *, case: str, channel: str) -> UptakeUnit:
    """Find the unit of an image file.

    Args:
        image: the file.
        values: its first channel (I, J, K).
        case: the case's name.
        channel: the channel's name.

    Returns:
        What the `CASE.suv.json` beside the file says; without one SUV by body weight, if the channel is a PET whose
        values can be SUV; else `unknown`.

    Raises:
        ArtefactError: the note is damaged.
    """
    noted = read_noted_unit(image, case=case)
    if noted is not None:
        return noted
    return "suv" if is_pet(channel) and average_uptake(values) <= LARGEST_MEAN_SUV else "unknown"
