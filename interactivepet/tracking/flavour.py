"""A model's folder as an MLflow model: what `mlflow models predict` and `mlflow models serve` load."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from interactivepet.version import __version__

__all__ = ["COLUMNS", "MASK", "MODEL_PLACE", "name_volume", "write_flavour"]

COLUMNS = ("image", "clicks", "out")
"""Columns of the input; only the first is required."""
MASK = "mask"
"""Column of the output that holds the path of the mask."""
_ARTEFACT = "model"
"""Name under which the script finds the model's own folder."""
MODEL_PLACE = f"artifacts/{_ARTEFACT}"
"""Where the model's own folder lies inside the MLflow model."""

_EXAMPLE = {
    "image": "scan.nii.gz",
    "clicks": '[{"position_mm": [12.5, -30.0, 88.0], "label": 1, "is_positive": true}]',
    "out": "mask.nii.gz",
}


def name_volume(label: str) -> str:
    """Name the column of the output that holds the volume of a label, in ml."""
    return f"volume_ml_{label}"


def write_flavour(folder: Path, model: Path, *, script: Path, labels: Sequence[str]) -> None:
    """Write a model as an MLflow model of the flavour `python_function`, without a pickle and without local paths.

    Args:
        folder: that is written; it must not exist yet.
        model: folder of the model.
        script: Python file that hands the model to MLflow ("models from code"); it is copied.
        labels: names, in the order of the output's columns.

    Raises:
        MlflowException: MLflow refuses to write it.
    """
    # of type hints of MLflow's own, and of what it asks of pandas
    with warnings.catch_warnings(action="ignore"):
        _save(folder, model, script=script, labels=labels)
    _forget_paths(folder)


def _save(folder: Path, model: Path, *, script: Path, labels: Sequence[str]) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", name, required=name == COLUMNS[0]) for name in COLUMNS])
    outputs = Schema([ColSpec("string", MASK), *(ColSpec("double", name_volume(label)) for label in labels)])
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(script),
        artifacts={_ARTEFACT: str(model)},
        signature=ModelSignature(inputs, outputs),
        input_example=pd.DataFrame([_EXAMPLE]),
        # given, so that MLflow does not load the model to find them out
        pip_requirements=[f"interactivepet=={__version__}"],
        model_config={"device": "auto", "tta": True},
    )


def _forget_paths(folder: Path) -> None:
    """Leave out where script and model lay on this machine, and how the model's folder was called there."""
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.pyfunc import FLAVOR_NAME

    description = Model.load(str(folder))
    flavour = description.flavors[FLAVOR_NAME]
    flavour["model_code_path"] = Path(flavour["model_code_path"]).name
    artefact = flavour["artifacts"][_ARTEFACT]
    (folder / artefact["path"]).rename(folder / MODEL_PLACE)
    artefact["path"] = artefact["uri"] = MODEL_PLACE
    # nothing is pickled
    flavour.pop("cloudpickle_version", None)
    description.save(str(folder / MLMODEL_FILE_NAME))
