"""How a file's content is stamped, so that what was made from it stays valid as long as the content is the same.

A stamp hashes names, sizes and times of change. A file that was copied back has another time and the same content, so
the content of every stamped file is hashed as well, and kept in `stamps/files.json`: a file whose size is as before and
whose time is not is read again, and when its content is known, the time that it had first enters the stamp. Stamps
of files that were never copied are what they are without this list.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from interactivepet.core.stamped import FileList, StampedFile
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.dataset.layout import find_detached
from interactivepet.errors import ArtefactError, TrainingError
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.workspace import Workspace

__all__ = ["FileStamps", "open_stamps"]

logger = logging.getLogger(__name__)

_MANY_BYTES = 5 * 10**9
"""From so much on, reading takes long enough to be told."""


class FileStamps:
    """Makes stamps; `open_stamps` keeps what it learns about files."""

    def __init__(self, roots: Mapping[str, Path], known: FileList) -> None:
        """Start from the files that are known; those in `roots` are named by their paths in these."""
        self._roots = roots
        self._known = dict(known.files)
        self.found: dict[str, StampedFile] = {}
        self._n_bytes = 0

    def stamp(self, paths: Iterable[Path], *, salt: str = "") -> str:
        """Hash names, sizes and times of change of files, 16 hexadecimal digits; a missing file counts as such.

        Cheap enough to check thousands of cases, and changed by every change of a file's content. A file counts as
        unchanged, and is not read, when size and time are as before.
        """
        digest = hashlib.sha256(salt.encode())
        for path in (part for whole in paths for part in (whole, *find_detached(whole))):
            status = path.stat() if path.exists() else None
            time_ns = status.st_mtime_ns if status else -1
            if status and path.is_file():
                time_ns = self._find_time(path, size=status.st_size, time_ns=time_ns)
            digest.update(f"{path.name}|{status.st_size if status else -1}|{time_ns}".encode())
        return digest.hexdigest()[:16]

    def _find_time(self, path: Path, *, size: int, time_ns: int) -> int:
        """Give the time of change that a file had when it was seen first with the content that it has."""
        key = self._name(path)
        known = self._known.get(key)
        if known is None or (known.size, known.time_ns) != (size, time_ns):
            sha256 = self._hash(path, size)
            if sha256 is None:
                return time_ns
            first_ns = {sha256: time_ns, **(known.first_ns if known else {})}
            known = StampedFile(size=size, time_ns=time_ns, sha256=sha256, first_ns=first_ns)
            self._known[key] = self.found[key] = known
        return known.first_ns[known.sha256]

    def _name(self, path: Path) -> str:
        whole = path.absolute()
        for name, root in self._roots.items():
            if whole.is_relative_to(root):
                return f"{name}/{whole.relative_to(root).as_posix()}"
        return str(whole)

    def _hash(self, path: Path, size: int) -> str | None:
        """Hash a file's content; None for one that cannot be read, which is for others to tell."""
        if self._n_bytes < _MANY_BYTES <= self._n_bytes + size:
            logger.info("reading files once, so that copies of them are known")
        self._n_bytes += size
        try:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return None


@contextmanager
def open_stamps(workspace: Workspace | None) -> Iterator[FileStamps]:
    """Make stamps of a task's files, and keep what is learned about them; without a task nothing is kept.

    Where the list cannot be written, such as in a folder that others share to read, the stamps are the same, and files
    are read again next time.
    """
    if workspace is None:
        yield FileStamps({}, FileList())
        return
    path = workspace.file_list
    roots = {"raw": workspace.raw, "processed": workspace.processed, "results": workspace.results}
    stamps = FileStamps(roots, _read(path))
    try:
        yield stamps
    finally:
        if stamps.found:
            try:
                with lock_folder(path.parent):
                    # other processes may have learned of other files
                    write_artefact(path, FileList(files={**_read(path).files, **stamps.found}))
            except (OSError, TrainingError) as error:
                logger.info("%s was not written: %s", path, error)


def _read(path: Path) -> FileList:
    try:
        return read_artefact(path, FileList, command="")
    except (ArtefactError, OSError):
        return FileList()
