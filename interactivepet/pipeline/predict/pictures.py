"""A picture of a mask on its image, for a look at the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.core.prediction import Segmentation
from interactivepet.dataset.files.write import atomic_path
from interactivepet.errors import ManifestError
from interactivepet.pipeline.predict.requests import PICTURE_ENDING, PredictionRequest

__all__ = ["is_suv", "save_picture", "with_picture"]


def with_picture(request: PredictionRequest, picture: Path | None) -> PredictionRequest:
    """Ask for a picture of the mask of a request's only case.

    Args:
        request: what is to be predicted.
        picture: path of the picture; None changes nothing.

    Raises:
        ManifestError: there are several cases, or the path does not end in `.png` or is that of the image or the mask.
        CaseError: a case cannot be read.
    """
    if picture is None:
        return request
    request.refuse_several("--picture shows one mask; name the file of one image, or the folder of one series, with -i")
    if picture.suffix.lower() != PICTURE_ENDING:
        raise ManifestError(f"{picture}: pictures are PNG files; name it {picture.stem}{PICTURE_ENDING}")
    entry = request.entries[0]
    taken = {path.resolve() for path in (request.path(entry), *request.list_files(entry))}
    if picture.resolve() in taken:
        raise ManifestError(f"{picture} is the image or the mask; choose another name for --picture")
    return replace(request, picture=picture)


def is_suv(plans: Plans) -> bool:
    """Whether the first channel is in SUV."""
    return plans.plan(plans.default).normalisation[0].scheme == "suv"


def save_picture(
    path: Path,
    case: Case,
    segmentation: Segmentation,
    *,
    clicks: Sequence[Click],
    channels: Sequence[str],
    labels: Mapping[str, int],
    in_suv: bool,
) -> None:
    """Write a PNG of the mask on the image: three planes, and a maximum-intensity projection.

    Args:
        path: ends in `.png`.
        case: the image; the first channel is shown, uptake in inverted grey.
        segmentation: its mask.
        clicks: that the mask was made with.
        channels: names in order.
        labels: names and values.
        in_suv: whether the first channel is in SUV, which is shown from 0 to 7.
    """
    from interactivepet.reporting.pictures import SUV_WINDOW, draw_answer
    from interactivepet.reporting.views import is_emission

    window = SUV_WINDOW if in_suv else None
    scale = f", SUV {window[0]:g} to {window[1]:g}" if window else ""
    content = draw_answer(
        case.image,
        case.geometry,
        mask=segmentation.mask,
        labels=labels,
        clicks=clicks,
        title=f"{case.id}{scale}",
        is_emission=is_emission(channels),
        window=window,
    )
    with atomic_path(path) as partial:
        partial.write_bytes(content)
