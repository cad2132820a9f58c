"""Files that are complete or absent: every write goes to a temporary name, is fsynced and renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from interactivepet.core.artefact import Artefact, explain_refusal
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import LARGEST_LABEL, read_geometry
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.layout import ITK_ENDINGS, NIFTI_ENDINGS, PARTIAL_PREFIX, split_ending
from interactivepet.errors import ArtefactError, CaseError, MissingArtefactError, StaleArtefactError

__all__ = [
    "WRITABLE_ENDINGS",
    "atomic_path",
    "name_target",
    "read_artefact",
    "read_present",
    "write_artefact",
    "write_image",
    "write_mask",
    "write_text",
]

WRITABLE_ENDINGS = (*NIFTI_ENDINGS, ".nrrd", ".mha")
"""Formats of one file that keep the whole grid."""

_TRIAL_BYTES = 2**20
"""Written to find out why a file could not be."""

T = TypeVar("T", bound=Artefact)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary sibling to write, which becomes `final` when the block ends without an exception.

    The sibling is `.partial-<final.name>`, so that a killed run leaves one file, which the next overwrites.

    Yields:
        A path that does not exist, in a folder that does.

    Raises:
        OSError: it cannot be written, such as on a full disk; it names `final`.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(PARTIAL_PREFIX + final.name)
    partial.unlink(missing_ok=True)
    try:
        with name_target(partial, final):
            yield partial
            _flush(partial)
            partial.replace(final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The new name lives in the folder, which has to reach the disk too.
        _flush(final.parent)


@contextmanager
def name_target(written: Path, final: Path) -> Iterator[None]:
    """Let a failure to write `written` name the file that was asked for.

    Libraries hide the reason behind a `RuntimeError`; one more attempt to write finds it out. `written` is spoilt then.

    Raises:
        OSError: names `final`.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(final)) from error
    except RuntimeError as error:
        found = _find_write_error(written)
        if found is None:
            raise
        raise OSError(found.errno, found.strerror, str(final)) from error


def _find_write_error(path: Path) -> OSError | None:
    """Write to a file that failed, and give what goes wrong."""
    try:
        with path.open("ab") as stream:
            stream.write(bytes(_TRIAL_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_artefact(path: Path, artefact: Artefact) -> None:
    """Write an artefact as indented JSON, atomically."""
    write_text(path, artefact.model_dump_json(indent=2) + "\n")


def read_present(path: Path, kind: type[T], *, made_from: str) -> T | None:
    """Read an artefact if it is there, whole, and made from what it should be."""
    try:
        return read_artefact(path, kind, command="", made_from=made_from)
    except ArtefactError:
        return None


def read_artefact(path: Path, kind: type[T], *, command: str, made_from: str | None = None) -> T:
    """Read an artefact and check the chain of hashes.

    Args:
        path: the JSON file.
        kind: the artefact's type.
        command: what to run to make the file, for the error message.
        made_from: `content_hash` of what it should have been made from; None checks nothing.

    Raises:
        MissingArtefactError: there is no such file.
        StaleArtefactError: it was made from something else than `made_from`.
        ArtefactError: it does not parse, or was written in another schema.
    """
    try:
        content = path.read_bytes()
        artefact = kind.model_validate_json(content)
    except FileNotFoundError as error:
        raise MissingArtefactError(f"{path} is not there; run `{command}` first") from error
    except ValidationError as error:
        raise ArtefactError(
            f"{path}: {explain_refusal(error, kind, content=content)}, expected a {kind.__name__}; correct it, or "
            f"delete the file and run `{command}` again"
        ) from error
    expected = kind.model_fields["schema_version"].default
    if artefact.schema_version != expected:
        raise ArtefactError(
            f"{path}: schema_version {artefact.schema_version} of interactivepet {artefact.package_version}, "
            f"expected {expected}; run `{command}` again"
        )
    if made_from is not None and artefact.made_from != made_from:
        raise StaleArtefactError(
            f"{path} was made from {artefact.made_from or 'nothing'}, which is now {made_from}; run `{command}` again"
        )
    return artefact


def write_mask(path: Path, mask: npt.NDArray[Any], *, geometry: Geometry, like: Path | None = None) -> None:
    """Write a label mask as uint8 on a grid, atomically.

    Args:
        path: its ending, one of `WRITABLE_ENDINGS`, chooses the format.
        mask: (I, J, K) integers from 0 to 255.
        geometry: the grid of `mask`.
        like: the image that the mask belongs to. In the same family of formats (NIfTI, or those of ITK) its
            placement is copied bit by bit and a 2D image gets a 2D mask; else `geometry` is written, which
            NIfTI rounds to single precision.

    Raises:
        CaseError: unknown ending, or mask, geometry and `like` do not fit together.
    """
    if mask.shape != geometry.shape:
        raise CaseError(f"{path}: mask of shape {mask.shape} on a grid of shape {geometry.shape}; give its own grid")
    if mask.dtype.kind not in "biu" or mask.min() < 0 or mask.max() > LARGEST_LABEL:
        raise CaseError(f"{path}: mask of {mask.dtype}, expected integers from 0 to {LARGEST_LABEL}; round it")
    if like is not None:
        image_geometry = read_geometry(like)
        if not geometry.matches(image_geometry):
            found = describe_mismatch("mask", geometry, other_name=like.name, other=image_geometry)
            raise CaseError(f"{path}: {found}; bring the mask back to the image's grid")
    _write(path, mask.astype(np.uint8), geometry=geometry, like=like)


def write_image(path: Path, image: npt.NDArray[np.float32], *, geometry: Geometry) -> None:
    """Write an image as float32, atomically: a 3D file for one channel, one 4D file for several.

    Args:
        path: its ending, one of `WRITABLE_ENDINGS`, chooses the format.
        image: (C, I, J, K).
        geometry: the grid.

    Raises:
        CaseError: unknown ending, or image and geometry do not fit together.
    """
    if image.ndim != 4 or image.shape[1:] != geometry.shape:
        raise CaseError(
            f"{path}: image of shape {image.shape} on a grid of shape {geometry.shape}, expected (C, I, J, K)"
        )
    values = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
    _write(path, values.astype(np.float32), geometry=geometry, like=None)


def _write(path: Path, values: npt.NDArray[Any], *, geometry: Geometry, like: Path | None) -> None:
    ending = split_ending(path.name)[1].lower()
    if ending not in WRITABLE_ENDINGS:
        raise CaseError(f"{path}: cannot be written, expected one of the endings {' '.join(WRITABLE_ENDINGS)}")
    family = NIFTI_ENDINGS if ending in NIFTI_ENDINGS else ITK_ENDINGS
    same_family = like is not None and split_ending(like.name)[1].lower() in family
    model = like if same_family else None
    with atomic_path(path) as partial:
        if family is NIFTI_ENDINGS:
            from interactivepet.dataset.files import nifti

            nifti.write_volume(partial, values, geometry=geometry, like=model)
        else:
            from interactivepet.dataset.files import itk

            itk.write_volume(partial, values, geometry=geometry, like=model)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
