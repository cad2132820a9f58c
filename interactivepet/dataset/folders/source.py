"""Other people's folders of NIfTI, NRRD or MHA volumes, in the layouts that the field uses -> cases to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interactivepet.core.imported import ImportSource
from interactivepet.dataset.folders.options import FolderLayout, FolderOptions
from interactivepet.dataset.folders.pairs import find_pairs, has_channels, has_masks
from interactivepet.dataset.folders.studies import find_studies, has_studies
from interactivepet.dataset.folders.tasks import find_task, recognise_task
from interactivepet.dataset.folders.tree import list_tree
from interactivepet.dataset.layout import IMAGES_TRAINING, split_ending
from interactivepet.errors import ManifestError

__all__ = ["find_folder_source"]

_DESCRIPTIONS: dict[FolderLayout, str] = {
    "pairs": "volumes beside their masks",
    "channels": "one file a channel beside the masks",
    "nnunet": "raw dataset of nnU-Net",
    "msd": "task of the Medical Segmentation Decathlon",
    "interactivenet": "task of InteractiveNet",
    "autopet": "autoPET",
}


def find_folder_source(folder: Path, *, options: FolderOptions) -> ImportSource:
    """Find the cases of a folder; no voxel is read, but for masks whose labels nobody names.

    Args:
        folder: of any of the layouts of `FolderLayout`.
        options: `layout=None` recognises it; the source says which it was.

    Raises:
        ManifestError: the folder or a part of it cannot be read, no layout fits, or the files contradict each
            other; the message names them.
    """
    files = list_tree(folder, with_broken=options.skip_bad)
    if not files:
        raise ManifestError(f"{folder}: the folder is empty; name the folder that holds the volumes")
    if not any(split_ending(path.name)[0] for path in files):
        raise ManifestError(f"{folder}: {len(files)} files, none of them NIfTI, NRRD or MHA; name the folder with them")
    if options.mask_suffix and options.layout not in (None, "pairs", "channels"):
        raise ManifestError(
            f"--mask-suffix is for masks beside their volumes, but the masks of the layout {options.layout} have the "
            "names of their cases; leave one of the options out"
        )
    layout = options.layout or _recognise(folder, files, options)
    if layout in ("pairs", "channels"):
        source = find_pairs(folder, files, options=options)
    elif layout == "autopet" and not (folder / IMAGES_TRAINING).is_dir():
        source = find_studies(folder, files, options=options)
    else:
        source = find_task(folder, options=options)
    return replace(source, layout=_DESCRIPTIONS[layout])


def _recognise(folder: Path, files: Sequence[Path], options: FolderOptions) -> FolderLayout:
    task = None if options.mask_suffix else recognise_task(folder)
    if task is not None:
        return task
    if has_studies(files) and not options.mask_suffix:
        return "autopet"
    if options.mask_suffix or has_masks(files) or not options.needs_masks:
        return "channels" if has_channels(files) else "pairs"
    volumes = [path.relative_to(folder).as_posix() for path in files if split_ending(path.name)[0]]
    raise ManifestError(
        f"{folder}: {len(volumes)} volumes such as {', '.join(volumes[:3])} in no layout that is known: BASE and "
        "BASE_mask, BASE_PET_image and BASE_PET_mask, PATIENT/STUDY/SUV and SEG (autoPET), or imagesTr and labelsTr "
        "(nnU-Net, MSD, InteractiveNet); rename the files, say with --mask-suffix how masks are named, "
        "import volumes that have no masks with --test, or PNG "
        "projections with interactivepet_import mip"
    )
