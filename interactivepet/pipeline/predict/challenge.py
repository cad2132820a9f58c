"""One case of autoPET V as its containers get it: PET, CT and clicks in an input folder, the mask in an output folder.

| below the input folder | what it holds |
|---|---|
| `images/pet/*.mha` | one PET in SUV (body weight) |
| `images/ct/*.mha` | one CT in HU, on any grid |
| `lesion-clicks.json` | "Multiple points" named `tumor` or `background`; voxel indices (i, j, k) of the PET, from 0 |

The mask is `images/tumor-lesion-segmentation/NAME.mha` below the output folder, named as the PET and on its grid. The
first call for a case has no clicks.

Grand Challenge defines points in mm; the organisers' files and programs have voxel indices in their place.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.files.write import write_mask
from interactivepet.dataset.folders.volume_job import VolumeJob
from interactivepet.dataset.interactions import read_clicks
from interactivepet.errors import CaseError, ModelError
from interactivepet.model.description import ModelDescription
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions

__all__ = ["CLICKS_FILE", "CT_FOLDER", "MASK_FOLDER", "PET_FOLDER", "refuse_unfit", "run_challenge_case"]

logger = logging.getLogger(__name__)

PET_FOLDER, CT_FOLDER = "images/pet", "images/ct"
CLICKS_FILE = "lesion-clicks.json"
MASK_FOLDER = "images/tumor-lesion-segmentation"
ENDING = ".mha"


def run_challenge_case(model: ModelFolder, inputs: Path, outputs: Path, *, options: PredictionOptions) -> Path:
    """Predict the case of an input folder and write its mask.

    Args:
        model: of one label, and of PET or of PET and CT.
        inputs: folder as at the top of this module.
        outputs: made when it is not there.
        options: device, threads and mirrored inputs.

    Returns:
        The path of the mask, which is uint8: the value of the label, or 0.

    Raises:
        ModelError: the model is damaged, or cannot predict such cases.
        CaseError: an image is missing or cannot be used.
        InteractionError: the clicks cannot be read, or one is outside of the image.
    """
    import torch

    refuse_unfit(model.description, source=str(model.source))
    torch.set_num_threads(options.n_threads)
    channels = model.description.inputs.channels
    pet = _find_image(inputs / PET_FOLDER, "PET")
    images = [pet if is_pet(name) else _find_image(inputs / CT_FOLDER, "CT") for name in channels]
    case = VolumeJob(pet.stem, tuple(images), channels, labels=()).load().case
    with open_trained_model(model, options) as opened:
        opened.read(case)
        clicks = _read_clicks(inputs / CLICKS_FILE, case, model.description)
        _, segmentation = opened.predict_whole(case, clicks)
    path = outputs / MASK_FOLDER / pet.name
    write_mask(path, segmentation.mask, geometry=case.geometry, like=pet)
    logger.info("%s: %d clicks, %d voxels in the mask", case.id, len(clicks), np.count_nonzero(segmentation.mask))
    return path


def refuse_unfit(description: ModelDescription, *, source: str) -> None:
    """Refuse a model that cannot predict the challenge's cases.

    Args:
        description: of the model.
        source: what the user named, for messages.

    Raises:
        ModelError: says what the model needs and what the cases have.
    """
    channels = description.inputs.channels
    others = [name for name in channels if not is_pet(name)]
    found = expected = ""
    if len(channels) - len(others) != 1 or [name.strip().lower() for name in others] not in ([], ["ct"]):
        found, expected = f"channels {', '.join(channels)}", "PET, or PET and CT"
    elif len(description.plans.labels) != 1:
        found, expected = f"labels {', '.join(description.plans.labels)}", "one label, the tumour"
    elif description.plans.is_flat or description.inputs.is_picture:
        found, expected = "pictures of one slice", "volumes"
    elif any(description.plans.plan(name).crop.region == "clicks" for name in description.needed):
        found, expected = "networks that need clicks", "networks that also predict without, as the first call asks"
    elif description.inputs.suv not in (None, "bw"):
        found, expected = f"PET in SUV by {description.inputs.suv}", "SUV by body weight (bw)"
    if found:
        raise ModelError(f"{source}: {found}, but autoPET V needs {expected}; export a task that was trained so")


def _find_image(folder: Path, kind: str) -> Path:
    """Find the only image of a folder."""
    paths = sorted(path for path in folder.glob(f"[!.]*{ENDING}") if path.is_file())
    if len(paths) != 1:
        names = f" ({', '.join(path.name for path in paths[:3])})" if paths else ""
        raise CaseError(
            f"{folder}: {len(paths)} files{names}, expected the {kind} of one case as one {ENDING} file; check the "
            "interfaces of the algorithm"
        )
    return paths[0]


def _read_clicks(path: Path, case: Case, description: ModelDescription) -> tuple[Click, ...]:
    """Read the clicks; none when the file is not there or holds no point."""
    if not path.exists():
        return ()
    return read_clicks(path, geometry=case.geometry, point_frame="voxel", labels=description.plans.labels)
