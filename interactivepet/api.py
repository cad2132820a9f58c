"""What a program calls: `import interactivepet` offers these functions and types, and loads them when they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.core.case import Case
from interactivepet.model.description import ImageInputs
from interactivepet.model.folder import open_model
from interactivepet.model.installed import find_model
from interactivepet.pipeline.predict.model import Model, open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.requests import check_case, find_images
from interactivepet.settings import count_processors, load_machine_settings

__all__ = ["load_model", "read_image"]


def load_model(
    name_or_path: str | Path,
    *,
    folds: Sequence[int] = (),
    device: str | None = None,
    threads: int | None = None,
    tta: bool = True,
) -> Model:
    """Load a model; no folder of tasks is needed.

    Args:
        name_or_path: the zip file of `interactivepet_export_model`, its extracted folder, or the name of an installed
            model.
        folds: which to average; all of the model when empty.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; None takes `interactivepet_device`, else `auto`.
        threads: of torch, in the whole process; None takes `interactivepet_n_threads`, else all processors.
        tta: average over mirrored inputs.

    Returns:
        The model, in memory; the file is not needed any more. nnInteractive takes part only where its model is in the
        file and has a share in the choice; then use the model in a `with` statement, or close it.

    Raises:
        ModelError: there is no such model, it is damaged or hostile, or lacks a fold.
        SettingsError: an environment variable is invalid.
    """
    settings = load_machine_settings()
    options = PredictionOptions(
        folds=tuple(folds),
        tta=tta,
        device=device or settings.device,
        n_threads=threads or settings.n_threads or count_processors(),
    )
    with open_model(find_model(str(name_or_path), settings.models)) as opened:
        return open_trained_model(opened, options, with_corrections=True)


def read_image(path: str | Path, *, channels: Sequence[str] = ("PET",)) -> Case:
    """Read an image without a model. `Model.predict` takes the path itself, and reads what the model needs.

    Args:
        path: a file, of several channels `CASE_0000.nii.gz` with the others beside it; or a folder with one case,
            such as a DICOM series, which is converted to SUV by body weight.
        channels: names in order. `PET` and `CT` are read from DICOM, and their units are checked.

    Returns:
        Image (C, I, J, K) float32 in the units of the files, or SUV and HU from DICOM, and its grid.

    Raises:
        CaseError: the image is not there, cannot be read, or has other channels.
        ManifestError: there are several images.
    """
    names = tuple(channels)
    inputs = ImageInputs(channels=names, is_by_channel=len(names) > 1, is_picture=True, suv="bw")
    case = find_images(inputs, Path(path)).load_single(channels=names)
    check_case(case, names)
    return case
