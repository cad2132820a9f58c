"""Pictures for reports, snapshots and curves, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.reporting.panels import (
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    Scene,
    draw_legend,
    draw_projection,
    draw_slice,
    find_aspect,
    make_figure,
)
from interactivepet.reporting.views import (
    CORONAL,
    choose_planes,
    find_centre,
    find_field,
    find_object,
    reorient,
    reorient_geometry,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUV_WINDOW", "draw_answer", "draw_case", "draw_snapshot"]

REFERENCE_COLOUR = "#12a150"
MASK_COLOUR = "#e5243b"
LABEL_COLOURS = (MASK_COLOUR, "#12a150", "#a020f0", "#00a0a8", "#c77700", "#e83e8c")
"""Of the labels of an answer, in the order of their values; further labels begin again."""

SUV_WINDOW = (0.0, 7.0)
"""Grey scale of images in SUV, from white to black, in use for FDG of the whole body."""

Image = npt.NDArray[np.float32]
LabelMap = npt.NDArray[np.uint8]
Outlines = tuple[tuple[LabelMap, str], ...]


def draw_case(
    image: Image,
    geometry: Geometry,
    *,
    mask: LabelMap | None = None,
    reference: LabelMap | None = None,
    clicks: Sequence[Click] = (),
    title: str = "",
    is_emission: bool = True,
) -> bytes:
    """Draw the slices through a case's largest object, in radiological display and true proportions.

    A large volume is shown in part, round the object, beside a coronal maximum projection of the whole.

    Args:
        image: (C, I, J, K) float32 in any unit; the first channel is shown.
        geometry: the grid of image, mask and reference; K = 1 gives a single panel.
        mask: (I, J, K) uint8, 0 is background; outlined in red.
        reference: the same; outlined in green.
        clicks: drawn as + (positive) and x (negative) on slices nearby.
        title: head line.
        is_emission: PET and SPECT are shown in inverted grey, as is the custom; anything else in grey.

    Returns:
        The PNG file's bytes.
    """
    outlines = _drop_missing(((reference, REFERENCE_COLOUR), (mask, MASK_COLOUR)))
    scene = _make_scene(image, geometry, outlines=outlines, clicks=clicks, is_emission=is_emission)
    planes = choose_planes(scene.grid.shape)
    is_part = scene.field.shape != scene.grid.shape
    aspects = [find_aspect(scene, plane) for plane in planes]
    if is_part:
        aspects.append(find_aspect(scene, CORONAL, is_whole=True))
    figure, [axes] = make_figure([aspects], title=title)
    for ax, plane in zip(axes, planes, strict=False):
        draw_slice(ax, scene, plane)
    if is_part:
        draw_projection(axes[-1], scene)
    names = {REFERENCE_COLOUR: "reference", MASK_COLOUR: "mask"}
    draw_legend(figure, lines={colour: names[colour] for _, colour in outlines}, clicks=clicks)
    return _to_png(figure)


def draw_answer(
    image: Image,
    geometry: Geometry,
    *,
    mask: LabelMap,
    labels: Mapping[str, int],
    clicks: Sequence[Click] = (),
    title: str = "",
    is_emission: bool = True,
    window: tuple[float, float] | None = None,
) -> bytes:
    """Draw what a model made of an image: the slices through the largest object, and a coronal maximum of all of it.

    Args:
        image: (C, I, J, K) float32 in any unit; the first channel is shown.
        geometry: the grid of image and mask; K = 1 gives a single panel.
        mask: (I, J, K) uint8, 0 is background; every label is outlined in a colour of its own.
        labels: names and values; the legend gives the volume of each.
        clicks: drawn as + (positive) and x (negative) on slices nearby and on the maximum.
        title: head line.
        is_emission: see `draw_case`.
        window: intensities at the two ends of the grey scale; None takes those of the image.

    Returns:
        The PNG file's bytes.
    """
    ordered = sorted(labels.items(), key=lambda item: item[1])
    colours = {value: LABEL_COLOURS[n % len(LABEL_COLOURS)] for n, (_, value) in enumerate(ordered)}
    outlines = tuple((np.asarray(mask == value, np.uint8), colour) for value, colour in colours.items())
    scene = _make_scene(image, geometry, outlines=outlines, clicks=clicks, is_emission=is_emission)
    scene = replace(scene, window=window)
    planes = choose_planes(scene.grid.shape)
    aspects = [find_aspect(scene, plane) for plane in planes]
    if len(planes) > 1:
        aspects.append(find_aspect(scene, CORONAL, is_whole=True))
    figure, [axes] = make_figure([aspects], title=title)
    for ax, plane in zip(axes, planes, strict=False):
        draw_slice(ax, scene, plane)
    if len(planes) > 1:
        draw_projection(axes[-1], scene, with_clicks=True)
    volumes = {value: float((mask == value).sum()) * geometry.voxel_volume_ml for value in colours}
    lines = {colours[value]: f"{name}, {volumes[value]:.3g} ml" for name, value in ordered}
    draw_legend(figure, lines=lines, clicks=clicks)
    return _to_png(figure)


def draw_snapshot(
    raw: Case,
    processed: PreprocessedCase,
    *,
    guidance: Image,
    clicks: Sequence[Click],
    title: str = "",
    is_emission: bool = True,
) -> bytes:
    """Draw what preprocessing made of a case: the raw image, the guidance maps and the network's input.

    Args:
        raw: the case as it was read; its clicks are drawn on it.
        processed: the same case after cropping, resampling and normalisation.
        guidance: (G, I, J, K) float32 in [0, 1] on the grid of `processed`, for each label a map of the
            positive and one of the negative clicks; drawn in colour, each sign as the maximum over labels.
        clicks: the case's clicks.
        title: head line.
        is_emission: see `draw_case`.

    Returns:
        The PNG file's bytes.
    """
    rows = _make_snapshot_scenes(raw, processed, guidance=guidance, clicks=clicks, is_emission=is_emission)
    planes = choose_planes(rows["raw"].grid.shape)
    aspects = [[find_aspect(scene, plane) for plane in planes] for scene in rows.values()]
    figure, axes = make_figure(aspects, title=title)
    for row, (name, scene) in zip(axes, rows.items(), strict=True):
        for ax, plane in zip(row, planes, strict=True):
            draw_slice(ax, scene, plane)
        row[0].set_ylabel(name, fontsize=11, fontweight="bold")
    draw_legend(figure, lines={} if raw.label is None else {REFERENCE_COLOUR: "label"}, clicks=clicks)
    return _to_png(figure)


def _drop_missing(outlines: Sequence[tuple[LabelMap | None, str]]) -> Outlines:
    """Leave out the label maps that are not there."""
    return tuple((mask, colour) for mask, colour in outlines if mask is not None)


def _make_scene(
    image: Image, geometry: Geometry, *, outlines: Outlines, clicks: Sequence[Click], is_emission: bool
) -> Scene:
    """Turn everything to RAS+ and choose what to show; `image` is (C, I, J, K)."""
    grid = reorient_geometry(geometry)
    turned = tuple((reorient(mask, geometry), colour) for mask, colour in outlines)
    target = find_object(mask for mask, _ in turned)
    centre = find_centre(target, clicks, grid)
    return Scene(
        image=reorient(image[0], geometry),
        grid=grid,
        centre=centre,
        field=find_field(target, centre, grid),
        is_emission=is_emission,
        outlines=turned,
        clicks=tuple(clicks),
    )


def _make_snapshot_scenes(
    raw: Case, processed: PreprocessedCase, *, guidance: Image, clicks: Sequence[Click], is_emission: bool
) -> dict[str, Scene]:
    """Give the rows of a snapshot by their names."""
    first, last = (
        _make_scene(
            image,
            grid,
            outlines=_drop_missing([(label, REFERENCE_COLOUR)]),
            clicks=clicks,
            is_emission=is_emission,
        )
        for image, grid, label in (
            (raw.image, raw.geometry, raw.label),
            (processed.image, processed.trace.resampled, processed.label),
        )
    )
    signs = ((guidance[0::2], POSITIVE_COLOUR), (guidance[1::2], NEGATIVE_COLOUR))
    grid = processed.trace.resampled
    overlays = tuple((reorient(maps.max(axis=0), grid), colour) for maps, colour in signs if len(maps))
    return {
        "raw": first,
        "guidance": replace(last, overlays=overlays, outlines=(), clicks=()),
        "processed": replace(last, clicks=()),
    }


def _to_png(figure: Figure) -> bytes:
    """Give the figure as a PNG file's bytes, the same for the same content."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
