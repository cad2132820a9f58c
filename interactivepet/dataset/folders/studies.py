"""autoPET's tree: a folder a patient, in it a folder a study with `SUV.nii.gz`, `CTres.nii.gz` and `SEG.nii.gz`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from interactivepet.core.imported import ImportSource
from interactivepet.dataset.folders.label_names import DEFAULT_LABEL
from interactivepet.dataset.folders.mask_files import MaskFile
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.tree import make_ids
from interactivepet.dataset.folders.volume_job import VolumeJob
from interactivepet.dataset.layout import split_ending
from interactivepet.errors import ManifestError

__all__ = ["find_studies", "has_studies"]

_FILES = {"pet": ("suv",), "ct": ("ctres", "ct")}
"""Channel -> the files that hold it, the first that is there; any other channel is the file of its name."""
_MASK = "seg"


def has_studies(files: Iterable[Path]) -> bool:
    """Whether any file is a PET of autoPET's tree."""
    return any(split_ending(path.name)[0].lower() in _FILES["pet"] for path in files)


def find_studies(folder: Path, files: Sequence[Path], *, options: FolderOptions) -> ImportSource:
    """Find autoPET's studies; all studies of a patient stay in one fold.

    Raises:
        ManifestError: no study has a file of every channel.
    """
    studies: dict[Path, dict[str, Path]] = defaultdict(dict)
    for path in files:
        if stem := split_ending(path.name)[0]:
            studies[path.parent][stem.lower()] = path
    wanted = {place: found for place, found in studies.items() if found.keys() & set(_FILES["pet"])}
    channels = tuple(options.channels) or ("PET", "CT")
    labels = tuple(options.labels) or (DEFAULT_LABEL,)
    flaws = {place: _find_flaw(place, found, channels=channels) for place, found in wanted.items()}
    if wanted and all(flaws.values()):
        raise ManifestError(next(iter(flaws.values())))
    left_out: dict[str, str] = {}
    names = {place: "_".join(place.relative_to(folder).parts) or folder.name for place in wanted}
    ids = make_ids(names.values(), flaws=left_out if options.skip_bad else None)
    jobs = [
        VolumeJob(
            id=ids[names[place]],
            images=tuple(image for channel in channels if (image := _pick(found, channel))),
            channels=channels,
            labels=labels,
            masks=(MaskFile(found[_MASK]),) if _MASK in found else (),
            patient=_name_patient(folder, place),
            grid=options.grid,
            time_frame=options.time_frame,
            spacing_mm=options.spacing_mm,
            flaw=flaws[place],
        )
        for place, found in wanted.items()
        if names[place] in ids
    ]
    strange = {path: "no study of PET" for path in files if path.parent not in wanted}
    return ImportSource(
        channels=channels,
        labels=labels,
        training=tuple(job for job in jobs if job.masks),
        test=tuple(job for job in jobs if not job.masks),
        passed_over={str(path.relative_to(folder)): reason for path, reason in strange.items()},
        left_out=left_out,
    )


def _pick(found: Mapping[str, Path], channel: str) -> Path | None:
    return next((found[name] for name in _list_names(channel) if name in found), None)


def _find_flaw(place: Path, found: Mapping[str, Path], *, channels: Sequence[str]) -> str:
    """Say which channel a study lacks; empty when it has all of them."""
    for channel in channels:
        if _pick(found, channel) is None:
            return (
                f"{place}: no {' or '.join(_list_names(channel))} for the channel {channel}, only "
                f"{', '.join(sorted(found))}; add it, or name other channels with -m"
            )
    return ""


def _list_names(channel: str) -> tuple[str, ...]:
    return _FILES.get(channel.lower(), (channel.lower(),))


def _name_patient(folder: Path, place: Path) -> str:
    """Name the patient by the folder around the study, or by the study's own when there is none."""
    parts = place.relative_to(folder).parts
    return parts[-2] if len(parts) > 1 else place.name
