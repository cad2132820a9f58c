"""Maximum-intensity projections as PNG, dark being hot, with masks of two values and healthy controls.

| file | what it is |
|---|---|
| `patients/imgs/patient_002.png` | projection of a patient |
| `patients/labels/segmentation_002.png` | its mask: two values, of which black or transparent is the background |
| `controls/imgs/control_009.png` | projection of somebody healthy: a case without lesion |

A folder with `imgs` and `labels` and no controls will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.core.imported import ImportedCase, ImportSource
from interactivepet.dataset.files.write import atomic_path
from interactivepet.dataset.folders.label_names import DEFAULT_LABEL
from interactivepet.dataset.folders.pictures import WHITE, read_luminance, read_mask_picture
from interactivepet.dataset.folders.tree import list_tree, make_ids
from interactivepet.errors import CaseError, ManifestError

__all__ = [
    "MipOptions",
    "ProjectionJob",
    "find_mip_source",
    "is_projection",
    "read_projection",
    "write_projection_mask",
]

_PNG = ".png"


@dataclass(frozen=True, slots=True)
class MipOptions:
    """How to import projections.

    Attributes:
        channel: name of the only channel.
        label: name of the only label.
        mask_above: luminance above which a pixel of a mask is lesion; None expects masks of two values.
        skip_bad: leave out projections whose files contradict each other; else these are an error.
    """

    channel: str = "PET"
    label: str = DEFAULT_LABEL
    mask_above: int | None = None
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class ProjectionJob:
    """A projection and what is known of it.

    Attributes:
        id: the case's identifier in the task.
        image: the PNG.
        mask: its mask; None for somebody healthy, and where nothing is known.
        is_control: whether it is known that there is no lesion.
        patient: cases of one patient stay in one fold.
        subtype: `patient` or `control`.
        mask_above: as in `MipOptions`.
    """

    id: str
    image: Path
    mask: Path | None
    is_control: bool
    patient: str
    subtype: str
    mask_above: int | None = None

    def load(self) -> ImportedCase:
        """Read projection and mask.

        Raises:
            CaseError: a file cannot be used, or they differ in their size.
        """
        image, geometry = read_projection(self.image)
        label = np.zeros(geometry.shape, np.uint8) if self.is_control else None
        if self.mask is not None:
            label = read_mask_picture(self.mask, above=self.mask_above)
            if label.shape != geometry.shape:
                raise CaseError(
                    f"{self.mask}: a mask of {_size(label.shape)} pixels for a projection of "
                    f"{_size(geometry.shape)}, expected one size; export both from one picture"
                )
        is_empty = self.mask is not None and label is not None and not label.any()
        remarks = ("the mask holds no lesion: all its pixels are background",) if is_empty else ()
        return ImportedCase(Case(self.id, image, geometry, label), remarks=remarks)


def read_projection(path: Path) -> tuple[npt.NDArray[np.float32], Geometry]:
    """Read a projection on which dark is hot.

    Args:
        path: PNG of 8 bits, grey or RGB, with or without opacity.

    Returns:
        (1, I, J, 1) in arbitrary units from 0 (white) to 255 (black), i being columns and j rows; and a grid
        of 1 mm on which viewers show it upright: i runs to the left (-x in RAS+), j to posterior (-y).

    Raises:
        CaseError: the file cannot be read, or has other numbers than bytes.
    """
    luminance, geometry = read_luminance(path, behind=WHITE)
    return (WHITE - luminance)[None], geometry


def is_projection(paths: Sequence[Path]) -> bool:
    """Whether a case is a single picture, to be read by `read_projection`."""
    return len(paths) == 1 and paths[0].suffix.lower() == _PNG


def write_projection_mask(path: Path, mask: npt.NDArray[np.uint8], *, largest_label: int) -> None:
    """Write a 2D mask as a PNG of 8 bits, atomically: black, and white for the label.

    Args:
        path: ends in `.png`.
        mask: (I, J, 1), i being columns and j rows; several labels become evenly spaced greys.
        largest_label: the value that is white.

    Raises:
        CaseError: the mask is not flat.
    """
    import SimpleITK

    if mask.ndim != 3 or mask.shape[2] != 1:
        raise CaseError(f"{path}: a mask of shape {mask.shape} is no picture; choose --format .nii.gz")
    step = WHITE // largest_label
    pixels = np.ascontiguousarray((mask[:, :, 0] * step).astype(np.uint8).T)
    with atomic_path(path) as partial:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(partial))


def find_mip_source(folder: Path, *, options: MipOptions) -> ImportSource:
    """Find projections, their masks and healthy controls by name and folder; no pixel is read.

    Raises:
        ManifestError: there are no projections, or none has a mask.
    """
    files = list_tree(folder, with_broken=options.skip_bad)
    flaws: dict[str, str] = {}
    root = folder / "patients" if (folder / "patients").is_dir() else folder
    patients = _list_png(files, root / "imgs")
    controls = _list_png(files, folder / "controls" / "imgs")
    masks = _by_number(_list_png(files, root / "labels"), flaws=flaws)
    pairs = {path: masks.get(number) for number, path in _by_number(patients, flaws=flaws).items()}
    if flaws and not options.skip_bad:
        raise ManifestError(next(iter(flaws.values())))
    left_out = {path.stem: flaws[_read_number(path)] for path in patients if _read_number(path) in flaws}
    patients = [path for path in patients if path.stem not in left_out]
    if not any(pairs.values()):
        raise ManifestError(
            f"{folder}: {len(patients)} projections and {len(masks)} masks, expected patients/imgs/patient_001.png and "
            "patients/labels/segmentation_001.png; rename folders or files"
        )
    ids = make_ids((path.stem for path in (*patients, *controls)), flaws=left_out if options.skip_bad else None)
    jobs = [
        ProjectionJob(
            ids[path.stem], path, pairs.get(path), path not in pairs, ids[path.stem], subtype, options.mask_above
        )
        for paths, subtype in ((patients, "patient"), (controls, "control"))
        for path in paths
        if path.stem in ids
    ]
    used = {path for job in jobs for path in (job.image, job.mask)}
    return ImportSource(
        channels=(options.channel,),
        labels=(options.label,),
        training=tuple(job for job in jobs if job.mask or job.is_control),
        test=tuple(job for job in jobs if not job.mask and not job.is_control),
        passed_over={str(path.relative_to(folder)): _explain(path) for path in files if path not in used},
        layout=f"projections of {len(patients)} patients and {len(controls)} controls",
        left_out=left_out,
    )


def _list_png(files: Sequence[Path], folder: Path) -> list[Path]:
    return [path for path in files if path.parent == folder and path.suffix.lower() == _PNG]


def _by_number(paths: Sequence[Path], *, flaws: dict[str, str]) -> dict[str, Path]:
    """Name pictures by their number; `flaws` takes the numbers that occur twice, with the reason."""
    named: dict[str, Path] = {}
    for path in paths:
        number = _read_number(path)
        if number in named:
            flaws[number] = f"{named[number]} and {path} both are number {number}, expected one; rename either"
        named.setdefault(number, path)
    return named


def _read_number(path: Path) -> str:
    """Read what a projection and its mask have in common: `002` of `patient_002`, `segmentation_002`."""
    return path.stem.rpartition("_")[2]


def _explain(path: Path) -> str:
    return "no projection has this mask" if path.suffix.lower() == _PNG else "no PNG"


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"
