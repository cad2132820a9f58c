"""A training batch as one picture: image, label, clicks as the network sees them, and the mask to be corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing, to_triple
from interactivepet.core.sample import Sample
from interactivepet.reporting.panels import (
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    Scene,
    draw_legend,
    draw_slice,
    find_aspect,
    make_figure,
)
from interactivepet.reporting.views import Plane, choose_planes

__all__ = ["draw_batch"]

LABEL_COLOUR = "#12a150"
PREVIOUS_COLOUR = "#e5243b"


def draw_batch(samples: Sequence[Sample], *, spacing_mm: Spacing, title: str, is_emission: bool) -> bytes:
    """Draw one row a sample: image with label, the maps of its clicks over them, and the previous mask.

    Patches are turned and mirrored by augmentation, so no direction of the patient is written on them.

    Args:
        samples: at least one, all of one shape.
        spacing_mm: of the voxels along (i, j, k).
        title: head line.
        is_emission: whether hot is black, as is the custom for PET and SPECT.

    Returns:
        The PNG file's bytes, the same for the same samples.
    """
    plane = choose_planes(_shape_of(samples[0]))[0]
    rows = [_make_scenes(sample, plane, spacing_mm=spacing_mm, is_emission=is_emission) for sample in samples]
    aspects = [[find_aspect(scene, plane) for scene in row.values()] for row in rows]
    figure, axes = make_figure(aspects, title=title)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for ax, (name, scene) in zip(line, row.items(), strict=True):
            draw_slice(ax, scene, plane)
            ax.set_title(name if number == 0 else "", fontsize=10)
        line[0].set_ylabel(f"sample {number}", fontsize=10)
    lines = {
        LABEL_COLOUR: "label",
        PREVIOUS_COLOUR: "previous mask",
        POSITIVE_COLOUR: "positive clicks",
        NEGATIVE_COLOUR: "negative clicks",
    }
    draw_legend(figure, lines=lines, clicks=())
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _make_scenes(sample: Sample, plane: Plane, *, spacing_mm: Spacing, is_emission: bool) -> Mapping[str, Scene]:
    """Give a sample's panels by their names, all of the same slice."""
    shape = _shape_of(sample)
    i, j, k = (n // 2 for n in shape)
    centre = [i, j, k]
    centre[plane.normal] = _find_slice(sample, plane)
    plain = Scene(
        image=sample.image,
        grid=Geometry(shape, np.diag([*spacing_mm, 1.0])),
        centre=(centre[0], centre[1], centre[2]),
        field=BoundingBox((0, 0, 0), shape),
        is_emission=is_emission,
        is_turned=True,
    )
    label, previous = (sample.label, LABEL_COLOUR), (sample.previous, PREVIOUS_COLOUR)
    overlays = ((sample.positive, POSITIVE_COLOUR), (sample.negative, NEGATIVE_COLOUR))
    return {
        "image and label": replace(plain, outlines=(label,)),
        "clicks": replace(plain, outlines=(label,), overlays=overlays),
        "previous mask": replace(plain, outlines=(label, previous)),
    }


def _find_slice(sample: Sample, plane: Plane) -> int:
    """Give the slice with most label; without any, with the strongest clicks; without these, the middle one."""
    axes = (plane.horizontal, plane.vertical)
    for values in (sample.label > 0, np.maximum(sample.positive, sample.negative)):
        sums = values.sum(axis=axes)
        if sums.any():
            return int(sums.argmax())
    return _shape_of(sample)[plane.normal] // 2


def _shape_of(sample: Sample) -> Shape:
    return to_triple(sample.label.shape)
