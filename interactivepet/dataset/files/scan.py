"""A task's folders -> its cases, in either of the two layouts of files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.dataset import CaseEntry
from interactivepet.dataset.files.read import read_header
from interactivepet.dataset.layout import (
    IMAGES_TEST,
    IMAGES_TRAINING,
    LABELS_TEST,
    LABELS_TRAINING,
    NIFTI_ENDINGS,
    FoundFile,
    channel_path,
    commonest_ending,
    list_files,
    list_labels,
    split_channel,
    split_ending,
)
from interactivepet.errors import CaseError, ManifestError

__all__ = ["Layout", "find_layout", "scan_folder", "scan_test", "scan_training"]

CaseFiles = dict[int | None, FoundFile]
"""Channel -> file of one case; None stands for a file with every channel."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a task names its files.

    Attributes:
        n_channels: number of channels of every case.
        by_channel: whether there is one file a channel, `CASE_0000.nii.gz`, or one a case, `CASE.nii.gz`.
        ending: of a file that should be there and is not.
    """

    n_channels: int
    by_channel: bool
    ending: str

    def images(self, folder: str, case: str, *, files: CaseFiles) -> tuple[str, ...]:
        """Give a case's files; one that is missing under the name that it should have."""
        if None in files:
            return (files[None].path,)
        if not self.by_channel:
            return (f"{folder}/{case}{self.ending}",)
        return tuple(
            files[channel].path if channel in files else channel_path(folder, case, channel=channel, ending=self.ending)
            for channel in range(self.n_channels)
        )


def find_layout(task_dir: Path, *, n_channels: int, is_dynamic: bool = False) -> Layout:
    """Find how a task names its files; the names of its masks decide.

    A task without training images is one to predict only: its test images tell.

    Args:
        task_dir: the task's folder.
        n_channels: of every case.
        is_dynamic: whether files may hold frames in place of channels.

    Raises:
        ManifestError: there are no images, or every case has another number of channels.
    """
    images, masks = list_files(task_dir, IMAGES_TRAINING), list_labels(task_dir, LABELS_TRAINING)
    if not images:
        images, masks = list_files(task_dir, IMAGES_TEST), list_labels(task_dir, LABELS_TEST)
    if not images:
        raise ManifestError(
            f"{task_dir}: no images in {IMAGES_TRAINING}, expected CASE.nii.gz or CASE_0000.nii.gz; "
            f"put the training images there and their masks into {LABELS_TRAINING}"
        )
    by_channel = _is_by_channel(images, masks, n_channels=n_channels)
    counts = _count_channels(task_dir, _group(images, by_channel=by_channel), enough=n_channels)
    if counts and n_channels not in counts and not is_dynamic:
        found = " or ".join(str(count) for count in sorted(counts))
        raise ManifestError(
            f"{task_dir}: the cases have {found} channels, expected {n_channels}; "
            "name every channel, in the order of the files; of a dynamic image, one frame is taken by "
            "interactivepet_import folder --time-frame"
        )
    return Layout(n_channels, by_channel, commonest_ending(images))


def scan_training(task_dir: Path, layout: Layout) -> tuple[CaseEntry, ...]:
    """List the training cases by name: every one that has an image or a mask.

    A file that is missing is listed under the name that it should have, so that verification reports it.

    Raises:
        ManifestError: an image is there twice.
    """
    cases = _group(list_files(task_dir, IMAGES_TRAINING), by_channel=layout.by_channel)
    masks = list_labels(task_dir, LABELS_TRAINING)
    ending = split_ending(next(iter(masks.values()), NIFTI_ENDINGS[0]))[1]
    return tuple(
        CaseEntry(
            id=case,
            images=layout.images(IMAGES_TRAINING, case, files=cases.get(case, {})),
            label=masks.get(case, f"{LABELS_TRAINING}/{case}{ending}"),
        )
        for case in sorted(cases.keys() | masks.keys())
    )


def scan_test(task_dir: Path, layout: Layout) -> tuple[CaseEntry, ...]:
    """List the test cases by name, with their masks where there are any.

    Raises:
        ManifestError: an image is there twice.
    """
    cases = _group(list_files(task_dir, IMAGES_TEST), by_channel=layout.by_channel)
    masks = list_labels(task_dir, LABELS_TEST)
    return tuple(
        CaseEntry(id=case, images=layout.images(IMAGES_TEST, case, files=files), label=masks.get(case))
        for case, files in sorted(cases.items())
    )


def scan_folder(folder: Path, *, n_channels: int, by_channel: bool = False) -> tuple[CaseEntry, ...]:
    """List the images of any folder by name, with paths relative to it; masks are not looked for.

    A channel that a case lacks is listed under the name that it should have.

    Args:
        folder: any.
        n_channels: of every case.
        by_channel: whether `CASE_0000` is known to be channel 0 of CASE; otherwise the names decide.

    Raises:
        ManifestError: there is no image, an image is there twice, a file is one too many, or no case is complete.
    """
    files = list_files(folder, ".")
    if not files:
        raise ManifestError(
            f"{folder}: no images, expected CASE.nii.gz or CASE_0000.nii.gz; name the folder that has them"
        )
    by_channel = by_channel or _is_by_channel(files, (), n_channels=n_channels)
    layout = Layout(n_channels, by_channel, commonest_ending(files))
    cases = _group(files, by_channel=by_channel)
    if not any(None in found or set(range(n_channels)) <= set(found) for found in cases.values()):
        case, found = next(iter(cases.items()))
        missing = next(channel for channel in range(n_channels) if channel not in found)
        raise ManifestError(f"{folder}: {case} has no file for channel {missing} of {n_channels}; add it")
    for case, found in cases.items():
        surplus = [file.path for channel, file in found.items() if channel is not None and channel >= n_channels]
        if surplus:
            raise ManifestError(
                f"{folder}: {case} has {len(found)} channels, expected {n_channels}; take {', '.join(surplus)} away"
            )
    return tuple(
        CaseEntry(id=case, images=layout.images(".", case, files=found)) for case, found in sorted(cases.items())
    )


def _is_by_channel(images: Iterable[FoundFile], cases: Collection[str], *, n_channels: int) -> bool:
    channels = {file.stem: split_channel(file.stem) for file in images}
    n_whole = sum(stem in cases for stem in channels)
    n_split = sum(channel is not None and channel[0] in cases for channel in channels.values())
    if n_whole or n_split:
        return n_split > n_whole
    return all(channel is not None and channel[1] < n_channels for channel in channels.values())


def _group(images: Iterable[FoundFile], *, by_channel: bool) -> dict[str, CaseFiles]:
    cases: dict[str, CaseFiles] = {}
    for file in images:
        case, channel = (split_channel(file.stem) if by_channel else None) or (file.stem, None)
        cases.setdefault(case, {})[channel] = file
    for case, files in cases.items():
        if None in files and len(files) > 1:
            names = ", ".join(file.path for file in files.values())
            raise ManifestError(f"{case}: {names}: expected one file a channel or one for all; remove either")
    return cases


def _count_channels(task_dir: Path, cases: dict[str, CaseFiles], *, enough: int) -> set[int]:
    """Give the numbers of channels that occur, looking no further than the first case with `enough`."""
    counts: set[int] = set()
    for files in cases.values():
        counts |= {_channels_of(task_dir / files[None].path) or enough} if None in files else {len(files)}
        if enough in counts:
            break
    return counts


def _channels_of(path: Path) -> int | None:
    try:
        return read_header(path).n_channels
    except CaseError:
        # Verification names the file; here it only has no say.
        return None
