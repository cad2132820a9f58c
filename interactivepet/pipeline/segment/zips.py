"""Zip files of images: checked, and extracted to a folder."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from interactivepet.errors import CaseError

__all__ = ["extract_zip"]

_CHUNK = 2**20
_ENCRYPTED = 0x1


def extract_zip(path: Path, folder: Path) -> None:
    """Extract the files of a zip file with their times of change, by which results are known to be up to date.

    Args:
        path: of the zip file.
        folder: that exists.

    Raises:
        CaseError: it is damaged, encrypted, names files outside of itself, or needs more room than there is.
    """
    try:
        with ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(entries, folder)
            for entry in entries:
                _extract(archive, entry, folder)
    except (BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise CaseError(f"the zip file cannot be extracted ({error}); copy or pack it again") from error
    except Exception as error:  # zlib and lzma have errors of their own
        if isinstance(error, CaseError):
            raise
        raise CaseError(f"the zip file is damaged ({error}); copy or pack it again") from error


def _check(entries: list[ZipInfo], folder: Path) -> None:
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith("/") or ":" in parts[0]:
            raise CaseError("the zip file names a file outside of itself; pack it again")
        if entry.flag_bits & _ENCRYPTED:
            raise CaseError("the zip file is encrypted; extract it, and name the folder")
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        raise CaseError(
            f"the zip file holds {needed / 1e9:.1f} GB, and the disk of temporary files has {free / 1e9:.1f} GB; make "
            "room, or name another disk with TMPDIR"
        )


def _extract(archive: ZipFile, entry: ZipInfo, folder: Path) -> None:
    target = folder / entry.filename.replace("\\", "/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("wb") as stream:
        # zipfile gives no more than the size that was checked
        shutil.copyfileobj(source, stream, _CHUNK)
    changed = time.mktime((*entry.date_time, 0, 0, -1))
    os.utime(target, (changed, changed))
