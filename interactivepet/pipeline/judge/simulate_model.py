"""Let a simulated user correct a model on any cases with known answers, without a task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.simulation import Simulation
from interactivepet.dataset.files.scan import scan_folder
from interactivepet.dataset.folders.mip import is_projection
from interactivepet.dataset.layout import list_labels
from interactivepet.errors import CaseError
from interactivepet.evaluation.curves import make_simulation
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.judge.simulated_cases import CaseSet, run_cases
from interactivepet.pipeline.judge.simulated_jobs import (
    SimulationJob,
    SimulationOptions,
    find_fixed,
    hash_options,
    list_programs,
)
from interactivepet.pipeline.judge.simulation_report import describe_simulation, write_summary
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.stamps import open_stamps

__all__ = ["run_model_simulation"]


def run_model_simulation(
    model: ModelFolder, images: Path, labels: Path, *, out: Path, options: SimulationOptions, n_proc: int
) -> Simulation:
    """Simulate every case of a folder that is not up to date; each is written as soon as it is finished.

    Args:
        model: whose folds answer together; channels and labels are its own.
        images: folder of image files, named as for a prediction.
        labels: folder of masks, named after the cases; images without one are left out.
        out: folder of the results.
        options: who answers and who asks.
        n_proc: cases side by side.

    Returns:
        The summary, which is also written with curves and page.

    Raises:
        CaseError: a folder is not there, no case is left to simulate, or one has no such name or no label.
        InteractionError: a case has no file of fixed clicks.
        InteractivePetError: a case failed; the finished ones are kept. Or another process is at it.
    """
    entries = _find_entries(model, images, labels, asked=options.cases)
    with lock_folder(out):
        jobs = _list_jobs(model, images, entries, options)
        where = CaseSet(model, images, model.description.plans.labels, out)
        cases, _ = run_cases(where, jobs, options=options, own={}, n_proc=n_proc)
        simulation = make_simulation(
            model.manifest.name,
            cases,
            name=options.name,
            provenance=describe_simulation(options, cases, seen=_describe_seen(model, images, options)),
            user=options.user,
            start=options.start,
            seed=options.seed,
            system=options.kind,
        )
        write_summary(out, simulation, cases)
    return simulation


def _find_entries(model: ModelFolder, images: Path, labels: Path, *, asked: Sequence[str]) -> list[CaseEntry]:
    """Join the images of a folder with their labels, by name."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise CaseError(f"{folder} is no folder; name the folders of images and of their labels")
    inputs = model.description.inputs
    entries = scan_folder(images, n_channels=len(inputs.channels), by_channel=inputs.is_by_channel)
    if not inputs.is_picture:
        _refuse_projections(images, entries)
    # relative to the images, as the images are
    known = {case: os.path.relpath(labels / file, images) for case, file in list_labels(labels, ".").items()}
    found = [entry.model_copy(update={"label": known[entry.id]}) for entry in entries if entry.id in known]
    if unknown := sorted(set(asked) - {entry.id for entry in found}):
        raise CaseError(f"{', '.join(unknown)}: no image in {images} with a label of the same name in {labels}")
    if not found:
        raise CaseError(
            f"{labels}: no label for any of the {len(entries)} images of {images}, such as "
            f"{entries[0].id}.nii.gz; name the labels after the images"
        )
    return [entry for entry in found if not asked or entry.id in asked]


def _refuse_projections(images: Path, entries: Sequence[CaseEntry]) -> None:
    """Refuse pictures for a model of volumes or of imported projections, as which they would not be read."""
    for entry in entries:
        if is_projection([images / name for name in entry.images]):
            raise CaseError(
                f"{images / entry.images[0]} is a picture; convert the folder with interactivepet_import mip"
            )


def _list_jobs(
    model: ModelFolder, images: Path, entries: Sequence[CaseEntry], options: SimulationOptions
) -> list[SimulationJob]:
    clicks = find_fixed(options, entries)
    values = sorted(model.description.plans.labels.values())
    with open_stamps(None) as stamps:
        salt = hash_options(values, options, stamps, fold=None, own={})
        salt += f"|{model.manifest.content_hash()}|{options.prediction.folds}|{options.prediction.own_promptable}"
        return [
            SimulationJob(
                entry,
                None,
                clicks.get(entry.id),
                stamps.stamp(_list_files(images, entry, clicks.get(entry.id), options), salt=f"{salt}|{entry.id}"),
            )
            for entry in entries
        ]


def _list_files(images: Path, entry: CaseEntry, clicks: Path | None, options: SimulationOptions) -> list[Path]:
    return [*(images / name for name in entry.files), *([clicks] if clicks else []), *list_programs(options)]


def _describe_seen(model: ModelFolder, images: Path, options: SimulationOptions) -> str:
    """Say whether the cases are new to what answered, as far as names tell."""
    if options.kind == "classical":
        return "A method without training, which was fitted to no case."
    if options.kind == "command":
        return "Whether the program saw these cases before is not known to this report."
    if model.task in images.resolve().parts:
        return (
            f"The model was trained on {model.task}, and these images lie in a folder of this name: the figures are of "
            "cases that its networks may have seen, and too good."
        )
    return "All folds answered together. Whether the model was trained on these cases is not known to this report."
