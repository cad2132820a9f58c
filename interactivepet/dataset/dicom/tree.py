"""A tree of mixed files -> the DICOM series in it, by patient, study, series and modality."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactivepet.dataset.dicom.files import is_bare_dicom
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["FoundSeries", "Tree", "find_series", "has_identity", "scan_tree", "summarise_passed_over"]

LAST_TAG = 0x00200052
"""FrameOfReferenceUID: nothing behind it is needed to know which series a file belongs to."""
KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "StudyDate",
    "SeriesTime",
    "StudyDescription",
    "SeriesDescription",
)
IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID")
"""Files that share these are of one series."""
NOBODY = ("", "anonymous", "anonymized", "anonymised", "anon", "deidentified", "unknown", "none", "removed")
"""What anonymisers write as PatientID of everybody."""
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage, the only DICOM file without a series."""
SHOWN_FILES = 3
"""So many files of one folder are passed over by name; more are counted."""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """The files of one series.

    Attributes:
        uid: SeriesInstanceUID.
        patient: PatientID, may be empty.
        study: StudyInstanceUID.
        frame_of_reference: FrameOfReferenceUID, may be empty.
        modality: such as PT, CT, RTSTRUCT or SEG.
        sop_class: SOPClassUID of its first file.
        started: date and time as text, for sorting.
        description: SeriesDescription.
        study_description: StudyDescription.
        paths: sorted.
    """

    uid: str
    patient: str
    study: str
    frame_of_reference: str
    modality: str
    sop_class: str
    started: str
    description: str
    study_description: str
    paths: tuple[Path, ...]

    @property
    def patient_key(self) -> tuple[str, str]:
        """Two series are of one patient when these agree: PatientID, or without one the study, else the series."""
        if has_identity(self.patient):
            return "patient", self.patient
        return ("study", self.study) if self.study else ("series", self.uid)

    def shares_patient(self, other: FoundSeries) -> bool:
        """Whether two series are of one patient, as far as the headers tell; without a PatientID, of one study."""
        return self.patient == other.patient and (has_identity(self.patient) or self.study == other.study)


def has_identity(patient: str) -> bool:
    """Whether a PatientID identifies anybody: anonymisers leave one text for all patients, or none."""
    return re.sub(r"[\W_]+", "", patient).casefold() not in NOBODY


@dataclass(frozen=True, slots=True)
class Tree:
    """What is in a tree of mixed files.

    Attributes:
        series: sorted by patient, time and UID.
        passed_over: files that are no DICOM -> why.
        unreadable: files and folders that cannot be read -> why; they may hold slices of any series.
    """

    series: tuple[FoundSeries, ...]
    passed_over: dict[Path, str]
    unreadable: dict[Path, str]


def find_series(folder: Path) -> tuple[tuple[FoundSeries, ...], dict[Path, str]]:
    """Find every series below a folder; pixels are not read.

    Folders that links lead to are read too, each of them once.

    Returns:
        The series, sorted by patient, time and UID; and files that are no DICOM -> why.

    Raises:
        CaseError: the folder is empty, or it, or files and folders in it, cannot be read. They may hold slices, so
            they are not passed over.
    """
    tree = scan_tree(folder)
    if tree.unreadable:
        named = [f"{path}: {reason}" for path, reason in sorted(tree.unreadable.items())]
        more = f"\nand {len(named) - 5} more" if len(named) > 5 else ""
        raise CaseError(
            f"{len(named)} files or folders cannot be read; mend their permission or links, copy them again, or remove "
            "them:\n" + "\n".join(named[:5]) + more
        )
    return tree.series, tree.passed_over


def scan_tree(folder: Path) -> Tree:
    """Find every series below a folder, and what cannot be read.

    Raises:
        CaseError: there is no such folder, or it is empty.
    """
    if not folder.is_dir():
        raise CaseError(f"{folder}: there is no such folder; give the folder of a DICOM export")
    members: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    first: dict[tuple[str, ...], Dataset] = {}
    passed_over: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    with warnings.catch_warnings():
        # Headers of the field break small rules of the standard; what matters is checked where it is used.
        warnings.simplefilter("ignore")
        for path in _walk(folder, unreadable, passed_over):
            header = _peek(path, unreadable, passed_over)
            if header is not None:
                key = tuple(_text(header, keyword) for keyword in IDENTITY)
                first.setdefault(key, header)
                members[key].append(path)
    if not (members or passed_over or unreadable):
        raise CaseError(f"{folder}: the folder is empty; name the folder that holds the images")
    series = [_describe(first[key], tuple(sorted(paths))) for key, paths in members.items()]
    ordered = sorted(series, key=lambda s: (s.patient, s.started, s.uid, s.sop_class))
    return Tree(tuple(ordered), passed_over, unreadable)


def summarise_passed_over(files: Mapping[Path, str], *, root: Path) -> dict[str, str]:
    """Name files relative to `root`; many of one folder with one reason become one line."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path, reason in sorted(files.items()):
        groups[path.parent, reason].append(path)
    lines: dict[str, str] = {}
    for (_, reason), paths in groups.items():
        if len(paths) <= SHOWN_FILES:
            lines |= {path.relative_to(root).as_posix(): reason for path in paths}
        else:
            lines[f"{paths[0].relative_to(root).as_posix()} ..."] = f"{reason} ({len(paths)} files)"
    return lines


def _walk(folder: Path, unreadable: dict[Path, str], passed_over: dict[Path, str]) -> Iterator[Path]:
    """Give every file; a folder that links lead to a second time is not entered again."""
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = error.strerror or str(error)

    for name, folders, files in os.walk(folder, followlinks=True, onerror=note):
        place = Path(name)
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:
            passed_over[place] = "a link to a folder that is read already"
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (place / file for file in sorted(files))


def _peek(path: Path, unreadable: dict[Path, str], passed_over: dict[Path, str]) -> Dataset | None:
    """Read what tells the series of a file; None, with the reason noted, when it is of none."""
    from pydicom.errors import InvalidDicomError

    if path.exists() and not path.is_file():
        # Reading a pipe would wait for ever.
        passed_over[path] = "no regular file"
        return None
    try:
        header = _read_start(path)
    except OSError as error:
        unreadable[path] = error.strerror or str(error)
    except InvalidDicomError:
        passed_over[path] = "no DICOM file" if path.stat().st_size else "empty file"
    except Exception as error:  # pydicom raises whatever the damage leads to
        unreadable[path] = f"damaged DICOM header ({error})"
    else:
        if _text(header, "SeriesInstanceUID"):
            return header
        if header.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR_CLASS:
            passed_over[path] = "DICOMDIR, an index"
        else:
            unreadable[path] = "DICOM that ends before SeriesInstanceUID (0020,000E), or has none"
    return None


def _read_start(path: Path) -> Dataset:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_partial

    tags: list[Any] = [tag_for_keyword(keyword) for keyword in KEYWORDS]
    with path.open("rb") as file:
        return read_partial(
            file, stop_when=lambda tag, *_: tag > LAST_TAG, specific_tags=tags, force=is_bare_dicom(file)
        )


def _describe(header: Dataset, paths: tuple[Path, ...]) -> FoundSeries:
    return FoundSeries(
        uid=_text(header, "SeriesInstanceUID"),
        patient=_text(header, "PatientID"),
        study=_text(header, "StudyInstanceUID"),
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        modality=_text(header, "Modality"),
        sop_class=_text(header, "SOPClassUID"),
        started=_text(header, "StudyDate") + _text(header, "SeriesTime"),
        description=_text(header, "SeriesDescription"),
        study_description=_text(header, "StudyDescription"),
        paths=paths,
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip("\0 ")
