"""Write a task's model as a folder from which a container for Grand Challenge is built."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from interactivepet.dataset.layout import PARTIAL_PREFIX
from interactivepet.errors import ModelError
from interactivepet.model.archive import extract_archive
from interactivepet.model.description import ModelDescription
from interactivepet.model.manifest import is_name
from interactivepet.pipeline.predict.challenge import refuse_unfit
from interactivepet.pipeline.predict.container_files import make_files
from interactivepet.pipeline.predict.model_export import run_model_export
from interactivepet.pipeline.workspace import Workspace

__all__ = ["REQUIREMENTS", "run_container_export"]

REQUIREMENTS = (
    "SimpleITK",
    "batchgenerators",
    "connected-components-3d",
    "dynamic_network_architectures",
    "edt",
    "filelock",
    "nibabel",
    "numpy",
    "pydantic",
    "python-dotenv",
    "safetensors",
    "scikit-image",
    "scipy",
    "torch",
    "tqdm",
)
"""Distributions that predicting a case imports; a test compares them with what is loaded then."""
TRANSFORMER_REQUIREMENT = "monai"
"""What transformers need besides."""


def run_container_export(workspace: Workspace, folder: Path, *, folds: Sequence[int] = ()) -> ModelDescription:
    """Write the folder of a container: Dockerfile, entry script, model, package, requirements and README.

    Args:
        workspace: of the task.
        folder: must not exist yet, or be empty; its name in lower case is the container's.
        folds: indices; all complete ones when empty.

    Returns:
        What the model is besides its weights.

    Raises:
        ModelError: the folder cannot be used, or the model cannot predict the challenge's cases.
        ArtefactError: as of `run_model_export`.
    """
    folder = folder.absolute()
    if not is_name(folder.name):
        raise ModelError(f"{folder}: expected a name of letters, digits, dots, hyphens and underscores; rename it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} exists already and is not empty; delete it, or choose another name")
    partial = folder.with_name(PARTIAL_PREFIX + folder.name)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        description = _write(workspace, partial, name=folder.name, folds=folds)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return description


def _write(workspace: Workspace, partial: Path, *, name: str, folds: Sequence[int]) -> ModelDescription:
    archive = partial / f"{name}.zip"
    description = run_model_export(workspace, archive, folds=folds)
    refuse_unfit(description, source=workspace.task)
    extract_archive(archive, partial / "model")
    archive.unlink()
    source = Path(__file__).parents[2]
    shutil.copytree(source, partial / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    (partial / "requirements.txt").write_text(_list_requirements(description), encoding="utf-8")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file, text in make_files(description, name=name.lower(), python=python).items():
        (partial / file).write_text(text, encoding="utf-8")
        if file.endswith(".sh"):
            (partial / file).chmod(0o755)
    return description


def _list_requirements(description: ModelDescription) -> str:
    """List what to install, in the versions that are installed here; PyTorch's without the build's suffix."""
    networks = [description.plans.plan(name).network.architecture for name in description.needed]
    is_transformer = any(kind in ("unetr", "swinunetr") for kind in networks)
    names = sorted((*REQUIREMENTS, *([TRANSFORMER_REQUIREMENT] if is_transformer else [])), key=str.lower)
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in names)
