"""The entries of a zip file, checked before anything is extracted."""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

from interactivepet.errors import ModelError
from interactivepet.model.manifest import MANIFEST, SMALL_BYTES

__all__ = ["check_listed", "list_entries", "open_archive"]

MOST_ENTRIES = 1000
"""A model has four files and one per fold and configuration."""
MOST_BYTES = 16 * 2**30
"""Of all files together, uncompressed: twenty folds of the largest network that is planned."""
MOST_RATIO = 20.0
"""Uncompressed over compressed size; weights hardly compress, text about five times."""
RATIO_FROM_BYTES = 2**20
"""Smaller files are no bombs, whatever their ratio."""

_ENCRYPTED, _UTF8 = 0x1, 0x800
"""Bits of an entry's flags."""
_UNIX_EXTRA, _UNIX_EXTRA_BYTES = 0x000D, 12
"""PKWARE's extra field for Unix, and its length without the target of a link."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz", ".joblib")


@contextmanager
def open_archive(path: Path) -> Iterator[ZipFile]:
    """Open a zip file; whatever turns out to be damaged while it is read is a `ModelError`.

    Raises:
        ModelError: it is no zip file, or a damaged one.
    """
    import zlib

    if not is_zipfile(path):
        raise ModelError(f"{path} is no zip file, or a truncated one; get the model again")
    try:
        with ZipFile(path) as archive:
            yield archive
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: a file name is not UTF-8; get the model again") from error
    except (BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(f"{path} is damaged ({error}); get the model again") from error


def list_entries(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """Check all entries and give the files by name.

    Raises:
        ModelError: an entry is none that a model has, or could harm this machine.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise ModelError(f"{path}: {len(entries)} entries, expected at most {MOST_ENTRIES}; a model has fewer")
    found: dict[str, ZipInfo] = {}
    for entry in entries:
        # zipfile replaces separators and cuts names at a zero byte
        name = entry.orig_filename
        cause = _find_bad_name(name, entry) or _find_bad_kind(name, entry)
        if cause:
            raise ModelError(f"{path}: {name!r} {cause}; nothing was extracted")
        if name.lower() in {known.lower() for known in found}:
            raise ModelError(f"{path}: {name!r} is there twice; nothing was extracted")
        if not name.endswith("/"):
            found[name] = entry
        if not 0 <= entry.header_offset < path.stat().st_size:
            raise ModelError(f"{path} is damaged: {name!r} lies outside of the file; get the model again")
    _refuse_bombs(found, path)
    return found


def check_listed(found: Collection[str], listed: Collection[str], path: Path) -> None:
    """Compare the files of an archive with those that its manifest lists.

    Raises:
        ModelError: one is missing, or is not listed.
    """
    missing, foreign = sorted(set(listed) - set(found)), sorted(set(found) - set(listed) - {MANIFEST})
    if missing:
        raise ModelError(f"{path}: {', '.join(missing)} is missing, which {MANIFEST} lists; get the model again")
    if foreign:
        raise ModelError(f"{path}: {', '.join(foreign)} is not listed in {MANIFEST}; get the model again")


def _find_bad_name(name: str, entry: ZipInfo) -> str:
    if not name.isascii() and not entry.flag_bits & _UTF8:
        return "has a name that is not UTF-8"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive"
    if "\\" in name or any(ord(letter) < 32 for letter in name):
        return "has a character that no file of a model has in its name"
    return ""


def _find_bad_kind(name: str, entry: ZipInfo) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    method = entry.compress_type
    causes = {
        "is a symbolic link": kind == stat.S_IFLNK,
        "is a hard link": _has_link_target(entry.extra),
        "is a device or pipe, and no file": kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK),
        "is encrypted, which no model is": bool(entry.flag_bits & _ENCRYPTED),
        f"is compressed by method {method}, expected stored or deflated": method not in (ZIP_STORED, ZIP_DEFLATED),
        "is an archive inside of the archive": name.lower().endswith(_ARCHIVES),
        "may hold a pickle, which can run any program when it is loaded": name.lower().endswith(_PICKLES),
    }
    return next((cause for cause, is_so in causes.items() if is_so), "")


def _has_link_target(extra: bytes) -> bool:
    """Whether the extra fields name the target of a link."""
    while len(extra) >= 4:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == _UNIX_EXTRA and length > _UNIX_EXTRA_BYTES:
            return True
        extra = extra[4 + length :]
    return False


def _refuse_bombs(entries: dict[str, ZipInfo], path: Path) -> None:
    for name, entry in entries.items():
        if not name.endswith(".safetensors") and entry.file_size > SMALL_BYTES:
            raise ModelError(f"{path}: {name} has {entry.file_size} bytes, expected at most {SMALL_BYTES}; no model")
        if entry.file_size > max(RATIO_FROM_BYTES, MOST_RATIO * entry.compress_size):
            raise ModelError(
                f"{path}: {name} has {entry.file_size} bytes in {entry.compress_size}, more than {MOST_RATIO:g} times "
                "as many: a zip bomb; nothing was extracted"
            )
    total = sum(entry.file_size for entry in entries.values())
    # entries may share the same compressed bytes
    if total > min(MOST_BYTES, max(RATIO_FROM_BYTES, MOST_RATIO * path.stat().st_size)):
        raise ModelError(f"{path}: {total} bytes when extracted, too many for a model; nothing was extracted")
