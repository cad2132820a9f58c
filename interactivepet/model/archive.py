"""A model as one zip file: written byte for byte the same from the same content, extracted whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from interactivepet.dataset.files.write import atomic_path
from interactivepet.errors import ModelError
from interactivepet.model.entries import check_listed, list_entries, open_archive
from interactivepet.model.manifest import MANIFEST, ModelFile, ModelManifest, parse_manifest

__all__ = ["extract_archive", "write_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip file can hold, so that no date of the export is in it."""
_UNIX, _PLAIN_FILE = 3, 0o100644 << 16
_CHUNK = 2**20


def write_archive(path: Path, files: Iterable[tuple[str, bytes]], *, name: str) -> ModelManifest:
    """Write a model's files and its manifest, atomically.

    Nothing is compressed: weights would hardly become smaller, and the bytes would depend on the version of zlib.

    Args:
        path: of the archive.
        files: name inside the model and content, each only held while it is written.
        name: of the model.

    Returns:
        The manifest that was written.
    """
    listed = {}
    with atomic_path(path) as partial, ZipFile(partial, "w", ZIP_STORED) as archive:
        for file, content in files:
            listed[file] = ModelFile(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            archive.writestr(_make_entry(file), content)
        manifest = ModelManifest(name=name, files=listed)
        archive.writestr(_make_entry(MANIFEST), manifest.model_dump_json(indent=2) + "\n")
    return manifest


def extract_archive(path: Path, folder: Path) -> None:
    """Extract a model into a folder that does not exist yet, after checking every entry.

    Contents are compared with the manifest when they are read from the folder.

    Args:
        path: of the archive.
        folder: removed again if anything is wrong.

    Raises:
        ModelError: the archive is damaged, hostile or no model.
    """
    with open_archive(path) as archive:
        entries = list_entries(archive, path)
        if MANIFEST not in entries:
            raise ModelError(f"{path} is no model of interactivepet: it holds no {MANIFEST}")
        manifest = parse_manifest(archive.read(entries[MANIFEST]), source=str(path))
        check_listed(entries, manifest.files, path)
        try:
            for name, entry in entries.items():
                _extract(archive, entry, folder / name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _extract(archive: ZipFile, entry: ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as stream:
        # zipfile gives no more than the size that was checked
        shutil.copyfileobj(source, stream, _CHUNK)


def _make_entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, _EPOCH)
    entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
    return entry
