"""What is to be predicted: a task's test cases, a folder of images, or a tree of DICOM files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.plan import Plans
from interactivepet.core.suv import SuvVariant
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.checks import check_image
from interactivepet.dataset.click_files import find_own_clicks
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.dicom.case import DicomJob
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.files.frames import read_frame
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.scan import scan_folder
from interactivepet.dataset.files.write import WRITABLE_ENDINGS
from interactivepet.dataset.folders.mip import is_projection, read_projection
from interactivepet.dataset.layout import (
    ITK_ENDINGS,
    NIFTI_ENDINGS,
    SEGMENTATION_ENDING,
    channel_path,
    list_files,
    split_channel,
    split_ending,
)
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, ManifestError
from interactivepet.model.description import ImageInputs
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.predict.request_clicks import find_clicks
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.pipeline.workspace import Workspace

__all__ = [
    "FILE_ENDING",
    "MASK_ENDINGS",
    "PICTURE_ENDING",
    "PredictionRequest",
    "check_case",
    "find_images",
    "is_by_channel",
    "make_folder_request",
    "make_test_request",
    "read_inputs",
    "refuse_pictures_of_volumes",
]

logger = logging.getLogger(__name__)

FILE_ENDING = ".nii.gz"
PICTURE_ENDING = ".png"
_SHOWN = 5
"""Cases that a message names."""
MASK_ENDINGS = (*WRITABLE_ENDINGS, PICTURE_ENDING)
"""What a mask's file may end with."""
FOREIGN_ENDINGS = (
    *(ending for ending in ITK_ENDINGS if ending not in MASK_ENDINGS),
    *(".dcm", ".img", ".hdr", ".mgz", ".jpg", ".jpeg", ".bmp", ".gz", ".zip", ".npy", ".npz"),
)
"""Of files that somebody may want a mask in, and of no folder."""


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What to predict and where to put it.

    Attributes:
        entries: the cases, their files relative to `images_root`.
        images_root: folder that the entries' paths start from.
        clicks: case -> its click file; a case without one is predicted without clicks.
        point_frame: what the numbers are in click files that do not say it.
        out: folder of the masks.
        file_ending: format of the masks, such as `.nii.gz` or `.nrrd`.
        is_projected: PNG images are projections on which dark is hot, as `interactivepet_import mip` reads them.
        series: the cases that are DICOM series, by name.
        mask: path of the mask of the only case, in place of one named after the case.
        time_frame: what stands for a dynamic or gated image; None refuses one.
        unreadable: case, or file of no case, that is left out as it cannot be read -> why.
        picture: path of a picture of the mask of the only case.
    """

    entries: tuple[CaseEntry, ...]
    images_root: Path
    clicks: Mapping[str, Path]
    out: Path
    file_ending: str = FILE_ENDING
    is_projected: bool = False
    series: Mapping[str, DicomJob] = field(default_factory=dict)
    point_frame: PointFrame = "lps"
    mask: Path | None = None
    time_frame: TimeFrame | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    picture: Path | None = None

    def path(self, entry: CaseEntry) -> Path:
        """Give the path of a case's mask."""
        return self.mask or self.out / f"{entry.id}{self.file_ending}"

    def read(self, entry: CaseEntry, *, channels: Sequence[str]) -> Case:
        """Read a case's image without its label, and check it; raises as `load` and `check_case` do."""
        case = self.load(entry, channels=channels)
        check_case(case, channels)
        return case

    def load(self, entry: CaseEntry, *, channels: Sequence[str]) -> Case:
        """Read a case's image without its label, and do not check what it holds.

        Raises:
            CaseError: the image cannot be read.
        """
        if entry.id in self.series:
            from interactivepet.dataset.dicom.images import read_dicom_image

            return read_dicom_image(self.series[entry.id], channels=channels)
        paths = self.list_files(entry)
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise CaseError(
                f"{entry.id}: {missing[0]} is not there; expected {len(paths)} files, for {', '.join(channels)}; add it"
            )
        if self.is_projected and is_projection(paths):
            if self.time_frame is not None:
                raise CaseError(f"{paths[0]}: a picture has no frames; leave --time-frame out")
            image, geometry = read_projection(paths[0])
            return Case(entry.id, image, geometry)
        if self.time_frame is not None:
            image, geometry = read_frame(paths, self.time_frame, n_channels=len(channels))
            return Case(entry.id, image, geometry, source=paths[0])
        return read_case(self.images_root, entry, with_label=False)

    def load_single(self, *, channels: Sequence[str]) -> Case:
        """Read the only case as `load` does; raises ManifestError where there are several."""
        self.refuse_several("one image is expected here; name its file, or the folder of one series")
        return self.load(self.entries[0], channels=channels)

    def refuse_several(self, remedy: str) -> None:
        """Refuse a request that is not one case.

        Raises:
            ManifestError: there are several cases; the message ends with `remedy`.
            CaseError: a case cannot be read.
        """
        if self.unreadable or not self.entries:
            reasons = "\n".join(f"{name}: {reason}" for name, reason in self.unreadable.items())
            raise CaseError(f"{self.images_root}: not all images can be read:\n{reasons}")
        if len(self.entries) != 1:
            found = ", ".join(entry.id for entry in self.entries[:_SHOWN])
            raise ManifestError(f"{self.images_root} holds {len(self.entries)} cases ({found}), but {remedy}")

    def list_files(self, entry: CaseEntry) -> list[Path]:
        """List the files that a case is read from."""
        job = self.series.get(entry.id)
        if job is not None:
            return [*job.pet.paths, *(job.ct.paths if job.ct is not None else ())]
        return [self.images_root / name for name in entry.images]


def check_case(case: Case, channels: Sequence[str]) -> None:
    """Check an image in memory as `interactivepet_verify` checks training images.

    Raises:
        CaseError: it cannot be what a model of these channels was trained on.
    """
    issues = check_image(case, channels)
    errors = [issue for issue in issues if issue.severity == "error"]
    for issue in issues:
        if issue not in errors[:1]:
            logger.warning("%s: %s; expected %s; %s", case.id, issue.found, issue.expected, issue.remedy)
    if errors:
        raise CaseError(f"{case.id}: {errors[0].found}; expected {errors[0].expected}; {errors[0].remedy}")


def make_test_request(workspace: Workspace, *, file_ending: str = ".nii.gz") -> PredictionRequest:
    """Ask for the task's own test cases.

    Raises:
        ManifestError: the task has none.
    """
    manifest = read_manifest(workspace.raw)
    if not manifest.test:
        raise ManifestError(f"{workspace.raw}: no images in imagesTs; add some, or name a folder with -i and -o")
    return PredictionRequest(
        entries=manifest.test,
        images_root=workspace.raw,
        clicks=find_own_clicks(workspace.clicks_folder(test=True), [entry.id for entry in manifest.test]),
        out=workspace.predictions,
        file_ending=file_ending,
    )


def make_folder_request(
    source: PredictionSource,
    images: Path,
    *,
    clicks_folder: Path | None,
    out: Path,
    file_ending: str = ".nii.gz",
    reading: DicomReading | None = None,
    point_frame: PointFrame = "lps",
) -> PredictionRequest:
    """Ask for the images of a folder, the PET series of a tree of DICOM files, or one image.

    Images are named as the task's own are. DICOM becomes the SUV that the task's training cases were imported in.

    Args:
        source: a task or a model.
        images: folder, or the file of one image; of several channels `CASE_0000.nii.gz`, the others beside it.
        clicks_folder: of click files, or the click file of one image; None predicts without clicks.
        out: folder of the masks; for one image, a name with the ending of a mask is the mask itself.
        file_ending: of the masks in a folder.
        reading: which frame of dynamic images to take; of DICOM also which series, and how.
        point_frame: what the numbers of click files are that do not say it.

    Raises:
        ManifestError: the folders cannot be used so, one mask or click file is named for several images, or masks are
            not written in the format of `out`.
        CaseError: there is neither an image nor a PET series, or the task's cases are in different SUV.
        InteractionError: there is no click for any of the cases.
    """
    if clicks_folder is not None and not clicks_folder.exists():
        raise ManifestError(
            f"{clicks_folder} is not there; name the click file or the folder of them, or leave -in out"
        )
    ending = _find_mask_ending(out)
    mask = out if ending else None
    folder = out.parent if mask else out
    if images.exists() and folder.resolve() == images.resolve():
        raise ManifestError(
            f"{folder} holds the images, which masks of the same names would replace; choose another -o"
        )
    request = find_images(source, images, reading=reading)
    named = mask or (clicks_folder if clicks_folder is not None and clicks_folder.is_file() else None)
    if named is not None or not request.entries:
        request.refuse_several(
            f"{named} is one {'mask' if mask else 'file'}; name the file of one image with -i, or a folder with "
            f"{'-o' if mask else '-in'}"
        )
    request = replace(request, out=folder, file_ending=ending if mask else file_ending, mask=mask)
    _refuse_replacing(request)
    if clicks_folder is None:
        return request
    return replace(request, clicks=find_clicks(clicks_folder, request.entries), point_frame=point_frame)


def refuse_pictures_of_volumes(request: PredictionRequest, plans: Plans) -> None:
    """Refuse to write the masks of volumes as pictures.

    Raises:
        CaseError: the masks are to be PNG, but the plan is one of volumes.
    """
    if request.file_ending == PICTURE_ENDING and not plans.is_flat:
        remedy = f"name it {request.mask.stem}{FILE_ENDING}" if request.mask else f"choose --format {FILE_ENDING}"
        raise CaseError(f"{plans.task}: its cases are volumes, and {PICTURE_ENDING} holds pictures; {remedy}")


def _find_mask_ending(out: Path) -> str:
    """Give the ending of a path that names one mask; empty for a folder.

    Raises:
        ManifestError: it names a file in a format that masks are not written in.
    """
    name = out.name.lower()
    if out.is_dir():
        return ""
    ending = next((known for known in MASK_ENDINGS if name.endswith(known)), "")
    if name.endswith(SEGMENTATION_ENDING) or (not ending and name.endswith(FOREIGN_ENDINGS)):
        raise ManifestError(
            f"{out}: masks are written as {' '.join(MASK_ENDINGS)}; name it so, give a folder, or write DICOM with "
            "interactivepet_export afterwards"
        )
    return ending


def _refuse_replacing(request: PredictionRequest) -> None:
    """Refuse masks that would replace images."""
    for entry in request.entries:
        path = request.path(entry)
        if path.resolve() in {image.resolve() for image in request.list_files(entry)}:
            raise ManifestError(f"{path} is the image, which the mask would replace; choose another -o")


def find_images(
    source: PredictionSource | ImageInputs, images: Path, *, reading: DicomReading | None = None
) -> PredictionRequest:
    """Find the images of a path; where masks go is open.

    Args:
        source: a task or a model, or what images must be.
        images: as of `make_folder_request`.
        reading: as of `make_folder_request`.

    Raises:
        ManifestError: options for DICOM, but there is none.
        CaseError: there is neither an image nor a PET series, or the task's cases are in different SUV.
    """
    inputs, reading = read_inputs(source), reading or DicomReading()
    if not images.is_dir() and not images.is_file():
        raise CaseError(f"{images} is not there; name an image, or a folder of images")
    if images.is_dir() and not list_files(images, "."):
        return _make_dicom_request(images, inputs, variant=_find_variant(source), reading=reading)
    if reading.series is not None or reading.long_uptake:
        raise ManifestError(f"{images} holds no DICOM, so --series and --long-uptake have no effect; leave them out")
    if images.is_file():
        request = _find_file(images, inputs)
    else:
        entries = scan_folder(images, n_channels=len(inputs.channels), by_channel=inputs.is_by_channel)
        request = PredictionRequest(entries, images, {}, Path(), is_projected=not inputs.is_picture)
    return replace(request, time_frame=reading.time_frame)


def _find_file(image: Path, inputs: ImageInputs) -> PredictionRequest:
    """Find the other channels of an image beside the file that was named."""
    stem, ending = split_ending(image.name)
    if not ending:
        known = " ".join((*NIFTI_ENDINGS, *ITK_ENDINGS))
        raise CaseError(f"{image}: unknown ending, expected one of {known}, or the folder of a DICOM series")
    numbered = split_channel(stem) if inputs.is_by_channel else None
    names: tuple[str, ...] = (image.name,)
    if numbered is not None:
        stem = numbered[0]
        n_channels = len(inputs.channels)
        names = tuple(Path(channel_path(".", stem, channel=n, ending=ending)).name for n in range(n_channels))
    if image.name not in names:
        raise CaseError(f"{image} is not among the {len(names)} channels of a case; name {names[0]}")
    missing = [name for name in names if not (image.parent / name).is_file()]
    if missing:
        raise CaseError(f"{image.parent}: {', '.join(missing)} is not there; expected {', '.join(inputs.channels)}")
    entry = CaseEntry(id=stem, images=names)
    return PredictionRequest((entry,), image.parent, {}, Path(), is_projected=not inputs.is_picture)


def is_by_channel(manifest: DatasetManifest) -> bool:
    """Whether the task names its images `CASE_0000`, so that those to predict are named so, too."""
    names = [(entry.id, Path(entry.images[0]).name) for entry in manifest.training if entry.images]
    return any(name.startswith(f"{case}_0000.") for case, name in names)


def read_inputs(source: PredictionSource | ImageInputs) -> ImageInputs:
    """Read what images must be; a task's SUV is not read, since few images need it."""
    if isinstance(source, ImageInputs):
        return source
    if isinstance(source, ModelFolder):
        return source.description.inputs
    manifest = read_manifest(source.raw)
    is_picture = manifest.file_ending == PICTURE_ENDING
    return ImageInputs(
        channels=manifest.channels, is_by_channel=is_by_channel(manifest), is_picture=is_picture, suv=None
    )


def _find_variant(source: PredictionSource | ImageInputs) -> SuvVariant:
    if isinstance(source, Workspace):
        from interactivepet.dataset.dicom.images import find_suv_variant

        return find_suv_variant(source.raw, read_manifest(source.raw).training)
    variant = read_inputs(source).suv
    if variant is None:
        raise CaseError("the SUV that the model expects is unknown; convert the DICOM series and name files")
    return variant


def _make_dicom_request(
    folder: Path, inputs: ImageInputs, *, variant: SuvVariant, reading: DicomReading
) -> PredictionRequest:
    from interactivepet.dataset.dicom.images import find_dicom_images

    jobs, unreadable = find_dicom_images(folder, channels=inputs.channels, variant=variant, reading=reading)
    series = {job.id: job for job in jobs}
    entries = tuple(CaseEntry(id=name, images=()) for name in series)
    return PredictionRequest(
        entries, folder, {}, Path(), series=series, time_frame=reading.time_frame, unreadable=unreadable
    )
