"""DICOM images without masks: the cases that a trained model is to segment, in SUV on the PET grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.suv import SuvRecord, SuvVariant
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.dicom.case import SUV_JSON, DicomJob
from interactivepet.dataset.dicom.reconstructions import ALL_SERIES
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.dicom.tree import Tree
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import CaseError

__all__ = ["DicomReading", "find_dicom_images", "find_suv_variant", "read_dicom_case", "read_dicom_image"]


@dataclass(frozen=True, slots=True)
class DicomReading:
    """Which series are images to predict, and how they are read.

    Attributes:
        series: pattern of SeriesDescription, or a SeriesInstanceUID; None takes every series.
        time_frame: what stands for a dynamic or gated series.
        long_uptake: accept an injection up to a day before the scan, or an hour after its start.
    """

    series: str | None = None
    time_frame: TimeFrame | None = None
    long_uptake: bool = False


def find_dicom_images(
    folder: Path,
    *,
    channels: Sequence[str],
    variant: SuvVariant = "bw",
    reading: DicomReading | None = None,
    tree: Tree | None = None,
) -> tuple[tuple[DicomJob, ...], Mapping[str, str]]:
    """Find every PET series in a tree of mixed files; no pixel is read, and masks are passed over.

    Args:
        folder: anything, such as a PACS export.
        channels: of the model, in its order: one PET, and perhaps a CT.
        variant: of the SUV that the model was trained on.
        reading: which series to take, and how; every series by default.
        tree: of the folder, where it was scanned before.

    Returns:
        One per series, named as `interactivepet_import dicom` names cases: by PatientID; and case or file that cannot
        be read -> why.

    Raises:
        CaseError: there is no PET series, or the model wants other channels.
    """
    _find_order(channels)
    reading = reading or DicomReading()
    options = DicomOptions(
        variant=variant,
        with_ct=len(channels) > 1,
        read_masks=False,
        series=reading.series or ALL_SERIES,
        time_frame=reading.time_frame,
        long_uptake=reading.long_uptake,
        skip_bad=True,
    )
    source = find_dicom_source(folder, options=options, tree=tree)
    return tuple(job for job in source.test if isinstance(job, DicomJob)), source.left_out


def find_suv_variant(raw: Path, cases: Sequence[CaseEntry]) -> SuvVariant:
    """Find the SUV that a task's cases were imported in, which images to predict must be in as well.

    Args:
        raw: folder of the task.
        cases: its training cases.

    Returns:
        What the `suv.json` beside the images says; by body weight where there is none.

    Raises:
        ArtefactError: one of these files is damaged.
        CaseError: they do not say the same.
    """
    paths = [raw / Path(image).with_name(f"{case.id}.{SUV_JSON}") for case in cases for image in case.images[:1]]
    records = [read_artefact(path, SuvRecord, command="interactivepet_import") for path in paths if path.is_file()]
    variants = sorted({record.suv.variant for record in records})
    if len(variants) > 1:
        raise CaseError(
            f"{raw}: cases were imported with --suv {' and --suv '.join(variants)}, so which SUV the model expects is "
            "unknown; import all of them again with one"
        )
    return variants[0] if variants else "bw"


def read_dicom_image(job: DicomJob, *, channels: Sequence[str]) -> Case:
    """Read one series as SUV, with the CT resampled onto its grid when the channels name one.

    Args:
        job: of `find_dicom_images`.
        channels: as there.

    Returns:
        Image (C, I, J, K) in the order of `channels`, without a label.

    Raises:
        CaseError: tags are missing, slices do not make a volume, or there is no CT in the PET's frame of reference.
    """
    case = job.load().case
    return replace(case, image=np.ascontiguousarray(case.image[_find_order(channels)]))


def read_dicom_case(folder: Path, *, channels: Sequence[str] = ("PET",), variant: SuvVariant = "bw") -> Case:
    """Read the only PET series of a folder as one case.

    Args:
        folder: as `find_dicom_images`.
        channels: as `find_dicom_images`.
        variant: as `find_dicom_images`.

    Raises:
        CaseError: as `find_dicom_images` and `read_dicom_image`, or there are several PET series.
    """
    jobs, left_out = find_dicom_images(folder, channels=channels, variant=variant)
    if left_out:
        raise CaseError("\n".join(f"{name}: {reason}" for name, reason in left_out.items()))
    if len(jobs) > 1:
        named = ", ".join(f"{job.id} ({job.pet.description or job.pet.uid})" for job in jobs[:5])
        raise CaseError(f"{folder}: {len(jobs)} PET series ({named}), expected one; name the folder of one of them")
    return read_dicom_image(jobs[0], channels=channels)


def _find_order(channels: Sequence[str]) -> list[int]:
    """Give the place of every channel in an image of PET and CT.

    Raises:
        CaseError: DICOM does not give these channels.
    """
    order = [0 if is_pet(channel) else 1 for channel in channels]
    are_known = all(is_pet(channel) or channel.strip().casefold() == "ct" for channel in channels)
    if not are_known or sorted(order) not in ([0], [0, 1]):
        raise CaseError(
            f"the model's channels are {', '.join(channels)}, expected PET, or PET and CT, to read DICOM; convert the "
            "images, one file a channel"
        )
    return order
