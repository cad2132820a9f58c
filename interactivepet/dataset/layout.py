"""Names of a task's folders and files: what counts as an image, and which case and channel it belongs to."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interactivepet.errors import CaseError, ManifestError

__all__ = [
    "DATASET_JSON",
    "IMAGES_TEST",
    "IMAGES_TRAINING",
    "ITK_ENDINGS",
    "LABELS_TEST",
    "LABELS_TRAINING",
    "NIFTI_ENDINGS",
    "PARTIAL_PREFIX",
    "SEGMENTATION_ENDING",
    "FoundFile",
    "channel_path",
    "commonest_ending",
    "find_detached",
    "find_files",
    "find_masks",
    "list_files",
    "list_labels",
    "refuse_foreign_name",
    "split_channel",
    "split_ending",
]

DATASET_JSON = "dataset.json"
IMAGES_TRAINING, LABELS_TRAINING = "imagesTr", "labelsTr"
IMAGES_TEST, LABELS_TEST = "imagesTs", "labelsTs"
CLICKS_TRAINING, CLICKS_TEST = "interactionsTr", "interactionsTs"

NIFTI_ENDINGS = (".nii.gz", ".nii")
"""Read with nibabel, which keeps the header's own transform to the last bit."""
SEGMENTATION_ENDING = ".seg.nrrd"
"""A segmentation of 3D Slicer: NRRD whose header names the segments."""
ITK_ENDINGS = (SEGMENTATION_ENDING, ".nrrd", ".nhdr", ".mha", ".mhd", ".tif", ".tiff", ".png")
"""Read with SimpleITK."""
PARTIAL_PREFIX = ".partial-"
"""Before the name of a file that is still being written."""

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One image or mask of a folder.

    Attributes:
        path: relative to the task's folder, with `/` as separator.
        stem: the file's name without its ending.
        ending: such as `.nii.gz`, as it is spelt on disk.
    """

    path: str
    stem: str
    ending: str


def split_ending(name: str) -> tuple[str, str]:
    """Split a file or path name into what precedes its ending and the ending, `("", "")` if none is known."""
    for ending in (*NIFTI_ENDINGS, *ITK_ENDINGS):
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return "", ""


def split_channel(stem: str) -> tuple[str, int] | None:
    """Split `CASE_0001` into `("CASE", 1)`; None for a stem without a channel of four digits."""
    match = _CHANNEL.fullmatch(stem)
    return (match["case"], int(match["channel"])) if match else None


def channel_path(folder: str, case: str, *, channel: int, ending: str) -> str:
    """Give the path of one channel's file relative to the task's folder: `imagesTr/CASE_0001.nii.gz`."""
    return f"{folder}/{case}_{channel:04d}{ending}"


def commonest_ending(files: Iterable[FoundFile]) -> str:
    """Give the ending that most files have, the first of them on a tie; `.nii.gz` without any file."""
    counts = Counter(file.ending for file in files)
    return counts.most_common(1)[0][0] if counts else NIFTI_ENDINGS[0]


def find_detached(path: Path) -> tuple[Path, ...]:
    """Give the file of voxels that a header of its own (.mhd, .nhdr) names; none for any other file."""
    key, separator = {".mhd": ("elementdatafile", "="), ".nhdr": ("data file", ":")}.get(path.suffix.lower(), ("", "="))
    if not key or not path.is_file():
        return ()
    for line in path.read_text(encoding="latin-1").splitlines():
        name, _, value = line.partition(separator)
        if name.strip().lower() == key and os.path.isfile(path.parent / value.strip()):  # noqa: PTH113
            return (path.parent / value.strip(),)
    return ()


def find_files(task_dir: Path, folder: str) -> tuple[FoundFile, ...]:
    """Find the images or masks of a task's folder by name, without hidden and half-written files.

    A folder that is not there has no files.

    Raises:
        ManifestError: a name is not UTF-8.
    """
    directory = task_dir / folder
    names = sorted(p.name for p in directory.iterdir() if p.is_file()) if directory.is_dir() else []
    for name in names:
        refuse_foreign_name(directory / name)
    visible = [(name, *split_ending(name)) for name in names if not name.startswith(".")]
    return tuple(FoundFile(f"{folder}/{name}", stem, ending) for name, stem, ending in visible if stem)


def refuse_foreign_name(path: Path) -> None:
    """Refuse a file or folder whose own name is not UTF-8: no file of the project could name it.

    Raises:
        ManifestError: it is one.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise ManifestError(f"{shown}: the name is not UTF-8; rename the file or folder") from error


def list_files(task_dir: Path, folder: str) -> tuple[FoundFile, ...]:
    """Find the images or masks of a task's folder, each of them once.

    Raises:
        ManifestError: two files differ only in their ending, so that it is open which one is meant.
    """
    found: dict[str, FoundFile] = {}
    for file in find_files(task_dir, folder):
        if file.stem in found:
            raise ManifestError(
                f"{task_dir.name}: {found[file.stem].path} and {file.path} differ only in their ending, "
                "expected one file; remove either"
            )
        found[file.stem] = file
    return tuple(found.values())


def list_labels(task_dir: Path, folder: str) -> dict[str, str]:
    """Give case -> path of its mask, relative to the task's folder.

    Raises:
        ManifestError: two masks differ only in their ending.
    """
    return {file.stem: file.path for file in list_files(task_dir, folder)}


def find_masks(folder: Path) -> dict[str, Path]:
    """Map case identifiers to the masks of a folder."""
    if not folder.is_dir():
        raise CaseError(f"{folder} is not there; predict first, or give the folder of the masks")
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*")):
        refuse_foreign_name(path)
        stem, ending = split_ending(path.name)
        if ending and stem in found:
            raise CaseError(f"{folder}: {found[stem].name} and {path.name} are both masks of {stem}; keep one")
        if ending:
            found[stem] = path
    return found
