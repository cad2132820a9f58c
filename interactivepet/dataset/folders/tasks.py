"""Folders with `imagesTr`: the Decathlon's tasks, nnU-Net's raw datasets, autoPET's and InteractiveNet's tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.click_files import list_visible, match_click_files
from interactivepet.dataset.decathlon import flatten_regions, parse_channels, parse_labels
from interactivepet.dataset.files.json_text import read_json
from interactivepet.dataset.folders.case_table import Group
from interactivepet.dataset.folders.label_names import name_labels
from interactivepet.dataset.folders.mask_files import MaskFile
from interactivepet.dataset.folders.options import FolderLayout, FolderOptions
from interactivepet.dataset.folders.tree import make_ids
from interactivepet.dataset.folders.volume_job import VolumeJob
from interactivepet.dataset.layout import (
    CLICKS_TEST,
    CLICKS_TRAINING,
    DATASET_JSON,
    IMAGES_TRAINING,
    LABELS_TRAINING,
    NIFTI_ENDINGS,
    find_files,
    split_channel,
    split_ending,
)
from interactivepet.dataset.manifest import build_manifest, read_manifest
from interactivepet.errors import ManifestError

__all__ = ["find_task", "recognise_task"]

_AUTOPET = re.compile(r"(?P<tracer>fdg|psma)_(?P<patient>[0-9a-f]{6,})_.+")
"""autoPET's names say tracer, patient and study."""


def recognise_task(folder: Path) -> FolderLayout | None:
    """Recognise whose form a folder with `imagesTr` has; None without one."""
    stems = [file.stem for file in find_files(folder, IMAGES_TRAINING)]
    if not (folder / IMAGES_TRAINING).is_dir():
        return None
    if stems and all(_AUTOPET.fullmatch(stem) for stem in stems):
        return "autopet"
    clicks = folder / CLICKS_TRAINING
    if clicks.is_dir() and any(path.name.endswith(NIFTI_ENDINGS) for path in clicks.iterdir()):
        return "interactivenet"
    return "nnunet" if stems and all(split_channel(stem) for stem in stems) else "msd"


def find_task(folder: Path, *, options: FolderOptions) -> ImportSource:
    """Find the cases of a folder with `imagesTr` and `labelsTr`, as `dataset.json` or their names say.

    Raises:
        ManifestError: `dataset.json` cannot be used, or there is none and the channels are not named.
    """
    manifest, groups, remark = _read(folder, options)
    picks = _pick_channels(manifest.channels, options.channels)
    channels = tuple(options.channels) or manifest.channels
    labels = tuple(options.labels) or tuple(manifest.labels)
    entries = (*manifest.training, *manifest.test)
    left_out: dict[str, str] = {}
    ids = make_ids((entry.id for entry in entries), flaws=left_out if options.skip_bad else None)
    jobs: dict[bool, list[VolumeJob]] = {True: [], False: []}
    n_training = len(manifest.training)
    training, unused = _find_clicks(folder, CLICKS_TRAINING, manifest.training)
    test, unused_test = _find_clicks(folder, CLICKS_TEST, manifest.test)
    for number, entry in enumerate(entries):
        if entry.id not in ids:
            continue
        group = groups.get(entry.id) or _read_name(entry)
        is_split = len(entry.images) > 1
        images = [entry.images[pick] for pick in picks] if is_split else entry.images
        jobs[number < n_training].append(
            VolumeJob(
                id=ids[entry.id],
                images=tuple(folder / name for name in images),
                channels=channels,
                labels=labels,
                masks=(MaskFile(folder / entry.label),) if entry.label else (),
                picks=None if is_split else picks,
                clicks=(training if number < n_training else test).get(entry.id),
                patient=entry.patient or group.patient,
                subtype=entry.subtype or group.subtype,
                grid=options.grid,
                n_volumes=1 if is_split else len(manifest.channels),
                time_frame=options.time_frame,
                spacing_mm=options.spacing_mm,
                point_frame=options.point_frame,
            )
        )
    return ImportSource(
        channels,
        labels,
        tuple(jobs[True]),
        tuple(jobs[False]),
        passed_over={**unused, **unused_test},
        remarks=(remark,) if remark else (),
        left_out=left_out,
    )


def _find_clicks(folder: Path, name: str, entries: Sequence[CaseEntry]) -> tuple[dict[str, Path], dict[str, str]]:
    """Give case -> its click file, and file -> why it is not used."""
    found, unused = match_click_files(list_visible(folder / name), {entry.id for entry in entries}).take_first()
    return found, {f"{name}/{path.name}": reason for path, reason in unused.items()}


def _read(folder: Path, options: FolderOptions) -> tuple[DatasetManifest, dict[str, Group], str]:
    """Read the cases, the classes that InteractiveNet gives them, and a remark on the labels."""
    path = folder / DATASET_JSON
    is_dynamic = options.time_frame is not None
    if not path.is_file():
        channels = options.channels or _default_channels(folder)
        masks = (MaskFile(folder / file.path) for file in find_files(folder, LABELS_TRAINING))
        labels = name_labels(masks, names=options.labels)
        return build_manifest(folder, channels=channels, labels=labels, is_dynamic=is_dynamic), {}, ""
    data, remark = flatten_regions(_load(path))
    if "train" not in data and not remark:
        return read_manifest(folder, is_dynamic=is_dynamic), {}, ""
    named = tuple(parse_labels(_mend_labels(data), source=str(path)))
    channels = parse_channels(data, source=str(path))
    manifest = build_manifest(folder, channels=channels, labels=named, is_dynamic=is_dynamic)
    return manifest, _read_classes(data.get("train")), remark


def _default_channels(folder: Path) -> tuple[str, ...]:
    channels = [split_channel(file.stem) for file in find_files(folder, IMAGES_TRAINING)]
    n_channels = len({channel[1] for channel in channels if channel})
    if n_channels > 1:
        raise ManifestError(
            f"{folder}: no {DATASET_JSON} that names its {n_channels} channels; name them with -m, in the order of the "
            "files, such as -m PET CT"
        )
    return ("image",)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}); mend it, or name channels with -m") from error
    if not isinstance(data, Mapping):
        raise ManifestError(f"{path}: holds a {type(data).__name__}, expected an object; mend it")
    return data


def _mend_labels(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Count the labels from 1: InteractiveNet writes the first one over the background, as number 0."""
    labels = data.get("labels")
    if not isinstance(labels, Mapping) or not all(str(key).isdigit() for key in labels):
        return data
    if str(labels.get("0", "background")).lower() == "background":
        return data
    return {**data, "labels": {str(int(key) + 1): name for key, name in labels.items()}}


def _read_classes(items: object) -> dict[str, Group]:
    """Give case -> subtype of InteractiveNet's list of cases, which has an item for every channel."""
    groups = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping) and item.get("class") and item.get("label"):
            groups[split_ending(Path(str(item["label"])).name)[0]] = Group(subtype=str(item["class"]))
    return groups


def _pick_channels(known: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Give the channels to take, as positions: those named with -m, or all when -m gives all of them new names."""
    spelt = [name.casefold() for name in known]
    if not wanted or all(name.casefold() in spelt for name in wanted):
        return tuple(spelt.index(name.casefold()) for name in wanted or known)
    if len(wanted) != len(known):
        raise ManifestError(
            f"the channels are {', '.join(known)}, but -m names {', '.join(wanted)}; choose among them, or name all "
            f"{len(known)} anew"
        )
    return tuple(range(len(known)))


def _read_name(entry: CaseEntry) -> Group:
    """Give patient and tracer of a case of autoPET, whose name says both."""
    match = _AUTOPET.fullmatch(entry.id)
    return Group(f"{match['tracer']}_{match['patient']}", match["tracer"]) if match else Group()
