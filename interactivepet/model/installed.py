"""Models under a name: those that a user installed, each a folder, and those that come with the package."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from interactivepet.dataset.layout import PARTIAL_PREFIX
from interactivepet.errors import ModelError
from interactivepet.model.archive import extract_archive
from interactivepet.model.folder import ModelFolder, open_folder
from interactivepet.model.manifest import MANIFEST, is_name

__all__ = ["SHIPPED", "find_model", "install_model", "list_installed", "list_shipped", "remove_model"]

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "shipped"
"""Models that come with the package: NAME, a folder, or NAME.zip."""
ENDING = ".zip"


def find_model(text: str, store: Path) -> Path:
    """Find what a user named: a zip file, a folder, an installed model, or one that comes with the package.

    Args:
        text: a path or a name; a path wins, then an installed model.
        store: folder of the installed models.

    Raises:
        ModelError: there is none of these.
    """
    path = Path(text).expanduser()
    if path.is_file() or (path / MANIFEST).is_file():
        return path
    if is_name(text) and (store / text).is_dir():
        return store / text
    shipped = list_shipped()
    if text in shipped:
        return shipped[text]
    if path.is_dir():
        raise ModelError(f"{path} is no model of interactivepet: it holds no {MANIFEST}")
    installed = _list_names(folder.name for folder in _list_folders(store))
    raise ModelError(
        f"{text} is neither a file nor a folder nor an installed model; installed in {store}: {installed}; with the "
        f"package: {_list_names(shipped)}"
    )


def list_shipped() -> dict[str, Path]:
    """Give name -> folder or file of every model that comes with the package."""
    paths = sorted(SHIPPED.iterdir()) if SHIPPED.is_dir() else []
    named = {path.name.removesuffix(ENDING): path for path in paths if path.suffix == ENDING or path.is_dir()}
    return {name: path for name, path in named.items() if is_name(name)}


def _list_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def install_model(source: Path, store: Path, *, name: str | None = None) -> ModelFolder:
    """Copy a model into the folder of installed models, complete and verified or not at all.

    Args:
        source: a zip file, or a folder.
        store: folder of the installed models.
        name: under which it is installed; its own when None.

    Returns:
        The installed model; the one that is there already when it has the same content.

    Raises:
        ModelError: the model is damaged, hostile or not there, or another one has its name.
    """
    if name is not None and not is_name(name):
        raise ModelError(f"{name!r} cannot name a model; use letters, digits, dots, hyphens and underscores")
    if not source.exists():
        raise ModelError(f"{source} is not there; name the file or folder of a model")
    store.mkdir(parents=True, exist_ok=True)
    # in the same folder, so that the complete model only has to be renamed
    with TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=store) as temporary:
        folder = Path(temporary) / "model"
        _copy(source, folder)
        model = open_folder(folder, source=source)
        model.verify()
        final = store / (name or model.manifest.name)
        if final.exists():
            return _keep(final, model)
        folder.rename(final)
    return open_folder(final)


def remove_model(name: str, store: Path) -> Path:
    """Delete an installed model, damaged or not.

    Args:
        name: under which it is installed.
        store: folder of the installed models.

    Returns:
        The folder that was deleted.

    Raises:
        ModelError: no such model is installed.
    """
    folder = store / name
    if not is_name(name) or not folder.is_dir():
        is_shipped = name in list_shipped()
        told = "comes with the package and stays" if is_shipped else "is not installed"
        installed = _list_names(known.name for known in _list_folders(store))
        raise ModelError(f"{name!r} {told}; installed in {store}: {installed}")
    if folder.is_symlink():
        # what it leads to was not installed here
        folder.unlink()
        return folder
    with TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=store) as temporary:
        # renamed first, so that no half of a model stays under its name
        folder.rename(Path(temporary) / name)
    return folder


def list_installed(store: Path) -> list[ModelFolder]:
    """Read the descriptions of all installed models; damaged ones are named in a warning."""
    found = []
    for folder in _list_folders(store):
        try:
            found.append(open_folder(folder))
        except ModelError as error:
            logger.warning("%s", error)
    return found


def _list_folders(store: Path) -> list[Path]:
    return sorted(path for path in store.iterdir() if path.is_dir() and is_name(path.name)) if store.is_dir() else []


def _copy(source: Path, folder: Path) -> None:
    """Put the listed files of a model into a folder that does not exist yet."""
    if source.is_file():
        extract_archive(source, folder)
        return
    model = open_folder(source)
    for file in (MANIFEST, *model.manifest.files):
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (source / file).is_file():
            raise ModelError(f"{source}: {file} is missing; get the model again")
        shutil.copyfile(source / file, target, follow_symlinks=False)


def _keep(final: Path, model: ModelFolder) -> ModelFolder:
    """Keep an installed model if it is the same."""
    if open_folder(final).manifest != model.manifest:
        raise ModelError(f"{final} is another model; remove it with --remove {final.name}, or choose another --name")
    return open_folder(final)
