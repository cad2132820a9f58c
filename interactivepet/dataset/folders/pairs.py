"""Volumes beside their masks: `BASE.nii.gz` with `BASE_mask.nii.gz`, or `BASE_PET_image.nii.gz` a channel.

| file | what it is |
|---|---|
| `BASE`, `BASE_image` | the volume of a case |
| `BASE_PET_image`, `BASE_CT_image` | its channels, each on its own grid |
| `BASE_PET`, `BASE_CT` | the same, when `-m PET CT` names them |
| `BASE_mask`, `BASE_seg`, `BASE_label` | its mask, with the labels as values or one volume a label |
| `BASE_mask_tumour` | its mask of one label |
| `BASE_PET_mask` | its mask, on the grid of a channel |

| `BASE.seg.nrrd`, `BASE-segmentation.seg.nrrd` | its mask, a segmentation of 3D Slicer |

`--mask-suffix TEXT` puts TEXT in the place of `_mask`, `_seg` and `_label`. Each may end as any volume does, and lie in
any sub-folder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interactivepet.core.imported import ImportSource
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.folders.case_table import Group, find_table, read_table
from interactivepet.dataset.folders.label_names import name_labels
from interactivepet.dataset.folders.mask_files import MaskFile
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.tree import make_ids
from interactivepet.dataset.folders.volume_job import VolumeJob
from interactivepet.dataset.layout import SEGMENTATION_ENDING, split_ending
from interactivepet.errors import ManifestError

__all__ = ["DEFAULT_CHANNEL", "find_pairs", "has_channels", "has_masks"]

DEFAULT_CHANNEL = "image"
"""Name of the only channel when nobody names it."""
_MASK_WORD = re.compile(r"[_-](?:mask|seg|label)(?=$|[_-])", re.IGNORECASE)
_SEGMENTATION = re.compile(r"[_ .-]*segmentation$", re.IGNORECASE)
"""What Slicer adds to the name of a volume when it names a segmentation of it."""
_CLICK_ENDINGS = (".mrk.json", ".fcsv")
"""Endings of click files that nothing else has."""
_CHANNEL = re.compile(r"(?P<case>.+?)_+(?P<channel>[A-Z][^_]*)_image", re.IGNORECASE)
_IMAGE = re.compile(r"(?P<case>.+)_image", re.IGNORECASE)
_NO_CHANNEL = ""


@dataclass(slots=True)
class _CaseFiles:
    """Files of one case: channel -> volume, label -> mask (None stands for a mask of every label)."""

    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str | None, Path] = field(default_factory=dict)


def has_masks(files: Iterable[Path], suffix: str = "") -> bool:
    """Whether any file's name says that it is a mask, by a suffix of the user's or by one of the usual."""
    word = _make_mask_word(suffix)
    return any(word.search(_find_stem(path, word, suffix=suffix)) for path in files)


def has_channels(files: Iterable[Path]) -> bool:
    """Whether any file's name says which channel it is."""
    return any(_CHANNEL.fullmatch(split_ending(path.name)[0]) for path in files)


def find_pairs(folder: Path, files: Sequence[Path], *, options: FolderOptions) -> ImportSource:
    """Find volumes and their masks by name.

    Raises:
        ManifestError: names do not fit together; the message names files and what was expected.
    """
    if options.mask_suffix and not has_masks(files, options.mask_suffix):
        raise ManifestError(
            f"{folder}: no file is named BASE{options.mask_suffix}, as --mask-suffix says masks are; correct it"
        )
    found: dict[str, str] = {}
    named, doubled = _name_files(folder, files, suffix=options.mask_suffix)
    cases, orphans = _group(named, options, flaws=found)
    _find_contradictions(cases, doubled, flaws=found)
    if found and not options.skip_bad:
        raise ManifestError(next(iter(found.values())))
    ids = make_ids(cases, flaws=found if options.skip_bad else None)
    cases = {name: case for name, case in cases.items() if name not in found}
    if not cases:
        raise ManifestError("no case can be used:\n" + "\n".join(found.values()))
    channels = _choose_channels(cases, options.channels)
    labels, values = _choose_labels(cases, options.labels)
    table = find_table(files)
    groups, strange_rows = read_table(table, cases) if table is not None else ({}, {})
    flaws = {name: _find_flaw(name, case, channels=channels) for name, case in cases.items()}
    if all(flaws.values()):
        raise ManifestError(next(iter(flaws.values())))
    jobs = [
        VolumeJob(
            id=ids[name],
            images=_pick_images(case, channels),
            channels=channels,
            labels=labels,
            masks=tuple(MaskFile(path, values.get(label)) for label, path in case.masks.items()),
            patient=groups.get(name, Group()).patient,
            subtype=groups.get(name, Group()).subtype,
            grid=options.grid,
            time_frame=options.time_frame,
            spacing_mm=options.spacing_mm,
            allow_mask_as_volume=options.allow_mask_as_volume,
            flaw=flaws[name],
        )
        for name, case in sorted(cases.items())
    ]
    used = {path for job in jobs for path in (*job.images, *(mask.path for mask in job.masks))} | {table}
    rest = {path: _explain(path, orphans, is_incomplete=bool(found)) for path in files if path not in used}
    return ImportSource(
        channels=channels,
        labels=labels,
        training=tuple(job for job in jobs if job.masks),
        test=tuple(job for job in jobs if not job.masks),
        passed_over=strange_rows | {str(path.relative_to(folder)): reason for path, reason in rest.items()},
        left_out=found,
    )


def _explain(path: Path, orphans: Collection[Path], *, is_incomplete: bool) -> str:
    if path in orphans:
        return "a mask without its volume"
    if path.name.lower().endswith(_CLICK_ENDINGS):
        return "clicks, which interactivepet_import clicks adds to a task that is there"
    if not split_ending(path.name)[0]:
        return "no volume"
    return "of a case that is left out" if is_incomplete else "a channel that -m does not name"


def _make_mask_word(suffix: str) -> re.Pattern[str]:
    """Make the pattern of what follows a case in the name of its mask."""
    return re.compile(rf"{re.escape(suffix)}(?=$|[_-])", re.IGNORECASE) if suffix else _MASK_WORD


def _find_stem(path: Path, word: re.Pattern[str], *, suffix: str) -> str:
    """Give a file's name without its ending; of a segmentation of Slicer, with the word that says so."""
    stem, ending = split_ending(path.name)
    if ending.lower() != SEGMENTATION_ENDING or word.search(stem):
        return stem
    return _SEGMENTATION.sub("", stem) + (suffix or "_seg")


def _name_files(folder: Path, files: Sequence[Path], *, suffix: str) -> tuple[dict[str, Path], dict[Path, str]]:
    """Name volumes and masks by their stem, and by their folders too where stems occur twice.

    Returns:
        Name -> file, the first of a name; and those of them that are not the only one -> which others there are.
    """
    word = _make_mask_word(suffix)
    stems = {path: stem for path in files if (stem := _find_stem(path, word, suffix=suffix))}
    if len(set(stems.values())) < len(stems):
        stems = {path: "_".join((*path.relative_to(folder).parts[:-1], stem)) for path, stem in stems.items()}
    named: dict[str, Path] = {}
    doubled: dict[Path, str] = {}
    for path, name in stems.items():
        first = named.setdefault(name, path)
        if first != path:
            doubled[first] = f"{first} and {path} have one name, expected one file; remove either"
    return named, doubled


def _group(
    named: Mapping[str, Path], options: FolderOptions, *, flaws: dict[str, str]
) -> tuple[dict[str, _CaseFiles], set[Path]]:
    """Sort files into cases; give the masks that have no volume too.

    `flaws` takes the cases with two masks of one label, with the reason.

    Raises:
        ManifestError: there is no volume with a mask.
    """
    volumes = {name: _split_channel(name, options.channels) for name in named}
    known, case_names = set(volumes.values()), {case for case, _ in volumes.values()}
    word = _make_mask_word(options.mask_suffix)
    owners = {name: _find_owner(name, known, case_names, word=word) for name in named}
    owning = {owner[0] for owner in owners.values() if owner}
    cases: dict[str, _CaseFiles] = defaultdict(_CaseFiles)
    orphans: set[Path] = set()
    for name, path in named.items():
        owner, (case, channel) = owners[name], volumes[name]
        if owner is not None:
            masks = cases[owner[0]].masks
            if owner[1] in masks:
                flaws[owner[0]] = (
                    f"{masks[owner[1]]} and {path} are both the mask of {owner[0]}; expected one a label, named such "
                    "as BASE_mask_LABEL: rename or remove either"
                )
            masks[owner[1]] = path
        elif case in owning or not word.search(name):
            cases[case].images[channel] = path
        elif options.allow_mask_as_volume:
            base = word.split(name)[0]
            cases[base].images[_NO_CHANNEL] = cases[base].masks[None] = path
        else:
            orphans.add(path)
    if options.needs_masks:
        _refuse_no_masks(cases, named, orphans=orphans)
    return dict(cases), orphans


def _refuse_no_masks(cases: Mapping[str, _CaseFiles], named: Mapping[str, Path], *, orphans: Collection[Path]) -> None:
    if any(case.masks for case in cases.values()):
        return
    if orphans:
        raise ManifestError(
            f"{min(orphans)}: a mask without its volume, as are all {len(orphans)}; put the volumes beside them, or "
            "take masks as volumes with --allow-mask-as-volume, for debugging"
        )
    raise ManifestError(
        f"{len(named)} volumes, none of them with a mask; expected BASE.nii.gz with BASE_mask.nii.gz, or "
        "BASE_PET_image.nii.gz with BASE_PET_mask.nii.gz; import volumes that have no masks with --test"
    )


def _find_owner(
    name: str, known: Collection[tuple[str, str]], cases: Collection[str], *, word: re.Pattern[str]
) -> tuple[str, str | None] | None:
    """Give case and label of a mask, the case with the longest name that has a volume; None for a volume.

    Args:
        name: of the file.
        known: (case, channel) of every volume.
        cases: the cases among them.
        word: what follows a case in the name of its mask.
    """
    for match in reversed(list(word.finditer(name))):
        base, label = name[: match.start()], name[match.end() + 1 :] or None
        if base not in cases:
            # `--mask-suffix roi` for BASE_roi
            base = base.rstrip("_-. ")
        if base in cases:
            return base, label
        on_grid_of = _CHANNEL.fullmatch(f"{base}_image")
        if on_grid_of is not None and on_grid_of.group("case", "channel") in known:
            return on_grid_of["case"], label
    return None


def _split_channel(name: str, channels: Sequence[str]) -> tuple[str, str]:
    """Split the name of a volume into case and channel, which is empty when there is none."""
    match = _CHANNEL.fullmatch(name)
    if match is not None:
        return match["case"], match["channel"]
    case, _, last = name.rpartition("_")
    if len(channels) > 1 and case and last.casefold() in (channel.casefold() for channel in channels):
        return case.rstrip("_"), last
    bare = _IMAGE.fullmatch(name)
    return bare["case"] if bare else name, _NO_CHANNEL


def _choose_channels(cases: Mapping[str, _CaseFiles], names: Sequence[str]) -> tuple[str, ...]:
    """Take the user's channels, else those of the files' names, PET first.

    Raises:
        ManifestError: some files name a channel and others none.
    """
    found = sorted({channel for case in cases.values() for channel in case.images})
    if found == [_NO_CHANNEL]:
        return tuple(names) or (DEFAULT_CHANNEL,)
    if _NO_CHANNEL in found:
        bare = next(case.images[_NO_CHANNEL] for case in cases.values() if _NO_CHANNEL in case.images)
        raise ManifestError(
            f"{bare}: its name says no channel, but others say {', '.join(found[1:])}; name all of them such as "
            "BASE_PET_image"
        )
    return tuple(names) or tuple(sorted(found, key=lambda channel: (not is_pet(channel), channel)))


def _pick_images(case: _CaseFiles, channels: Sequence[str]) -> tuple[Path, ...]:
    """Give the volumes in the order of the channels, as far as there are any."""
    if _NO_CHANNEL in case.images:
        return (case.images[_NO_CHANNEL],)
    spelt = {channel.casefold(): path for channel, path in case.images.items()}
    return tuple(spelt[channel.casefold()] for channel in channels if channel.casefold() in spelt)


def _find_flaw(name: str, case: _CaseFiles, *, channels: Sequence[str]) -> str:
    """Say which channels a case lacks; empty when it has all of them."""
    spelt = {channel.casefold() for channel in case.images}
    missing = [channel for channel in channels if channel.casefold() not in spelt]
    if not missing or _NO_CHANNEL in case.images:
        return ""
    return (
        f"{name}: no volume of the channel {', '.join(missing)}, only of {', '.join(case.images)}; add it, remove the "
        "case, or name other channels with -m"
    )


def _find_contradictions(
    cases: Mapping[str, _CaseFiles], doubled: Mapping[Path, str], *, flaws: dict[str, str]
) -> None:
    """Find the cases with two files of one name, or with both a mask of every label and masks of one label.

    `flaws` takes them, with the reason.
    """
    for name, case in cases.items():
        for path in (*case.images.values(), *case.masks.values()):
            if path in doubled:
                flaws.setdefault(name, doubled[path])
        if None in case.masks and len(case.masks) > 1:
            files = ", ".join(path.name for path in case.masks.values())
            flaws.setdefault(name, f"{name}: {files}: expected one mask, or one a label; remove either")


def _choose_labels(
    cases: Mapping[str, _CaseFiles], names: Sequence[str]
) -> tuple[tuple[str, ...], dict[str | None, int | None]]:
    """Give the labels' names, and which value the masks of each label of a file's name get.

    Raises:
        ManifestError: some cases have one mask and others one per label, or the names differ from the user's.
    """
    found = sorted({label for case in cases.values() for label in case.masks if label is not None})
    whole = [MaskFile(case.masks[None]) for case in cases.values() if None in case.masks]
    if not found:
        return name_labels(whole, names=names), {None: None}
    labels = tuple(names) or tuple(found)
    if sorted(labels) != found or whole:
        raise ManifestError(
            f"the masks are of {', '.join(found)}{' and of every label' if whole else ''}, expected one a label for "
            f"{', '.join(labels)}; name with -l exactly the labels of the files"
        )
    return labels, {label: value for value, label in enumerate(labels, start=1)}
