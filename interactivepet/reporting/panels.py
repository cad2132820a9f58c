"""One panel of a picture: a slice or a projection with outlines, clicks, directions and a scale bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.reporting.views import CORONAL, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "NEGATIVE_COLOUR",
    "POSITIVE_COLOUR",
    "Scene",
    "draw_legend",
    "draw_projection",
    "draw_slice",
    "find_aspect",
    "make_figure",
]

POSITIVE_COLOUR = "#0a6cff"
NEGATIVE_COLOUR = "#ff8c00"
DOTS_PER_INCH = 120
ROW_INCHES = 3.4
SINGLE_ROW_INCHES = 6.0
"""Height of the only panel of a 2D image."""
SCALE_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)
WIDEST_INCHES = 14.0
WINDOW_PERCENTILES = (1.0, 99.7)
"""Intensities at the two ends of the grey scale: a hot lesion keeps its shades, one hot voxel takes none."""
MARKER = 9.0
"""Size of a click in points."""
SMALL_MARKER = 6.0
"""The same on a projection, which shows a whole body in little space."""
CLICK_REACH_MM = 10.0
"""A click is drawn on slices up to this far from it, and fainter on those that do not hold it."""
NARROWEST_ASPECT = 0.5
"""Least width of a panel in units of its height, so that its title fits."""

Array = npt.NDArray[Any]
Flatten = Callable[[Array], Array]
"""From (I, J, K) to the two axes of a plane, (horizontal, vertical)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the panels of one row share; every array is in RAS+ order of its axes."""

    image: npt.NDArray[np.float32]
    """(I, J, K) intensities."""
    grid: Geometry
    centre: Shape
    """Voxel that the slices go through."""
    field: BoundingBox
    """The part that the slices show."""
    is_emission: bool
    """Whether hot is black and zero white, as is the custom for PET and SPECT; plain grey otherwise."""
    outlines: tuple[tuple[npt.NDArray[np.uint8], str], ...] = ()
    """Label maps (I, J, K) and the colours of their outlines."""
    overlays: tuple[tuple[npt.NDArray[np.float32], str], ...] = ()
    """Maps (I, J, K) in [0, 1], drawn with their value as opacity, and their colours."""
    clicks: tuple[Click, ...] = ()
    window: tuple[float, float] | None = None
    """Intensities at the two ends of the grey scale; None takes `WINDOW_PERCENTILES` of what is shown."""
    is_turned: bool = False
    """Whether augmentation turned or mirrored it, so that positions and the patient's directions mean nothing."""


def find_aspect(scene: Scene, plane: Plane, *, is_whole: bool = False) -> float:
    """Give width over height of the shown part, or of the whole plane, in mm."""
    shape = scene.grid.shape if is_whole else scene.field.shape
    width, height = (shape[a] * scene.grid.spacing_mm[a] for a in (plane.horizontal, plane.vertical))
    return width / height


def make_figure(aspects: Sequence[Sequence[float]], *, title: str) -> tuple[Figure, list[list[Axes]]]:
    """Lay panels out in rows of one height.

    Args:
        aspects: width over height of every panel, row by row; every row has as many.
        title: head line.

    Returns:
        The figure, and its axes row by row.
    """
    from matplotlib.figure import Figure

    columns = [max(NARROWEST_ASPECT, *column) for column in zip(*aspects, strict=True)]
    is_single = len(columns) * len(aspects) == 1
    row_inches = min(SINGLE_ROW_INCHES if is_single else ROW_INCHES, WIDEST_INCHES / sum(columns))
    size = (max(4.5, row_inches * sum(columns)), (row_inches + 0.3) * len(aspects) + 0.7)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    axes = figure.subplots(len(aspects), len(columns), squeeze=False, width_ratios=columns)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    return figure, [list(row) for row in axes]


def draw_slice(ax: Axes, scene: Scene, plane: Plane) -> None:
    """Draw the slice through the scene's centre, with the clicks nearby."""
    normal, n = plane.normal, scene.centre[plane.normal]
    flatten: Flatten = partial(np.take, indices=n, axis=normal)
    window = scene.window or _find_window(scene.image[scene.field.slices], from_zero=scene.is_emission)
    _draw_plane(ax, scene, plane, field=scene.field, flatten=flatten, window=window)
    for click in scene.clicks:
        offset_mm = abs(scene.grid.to_voxel(click.position_mm)[normal] - n) * scene.grid.spacing_mm[normal]
        if offset_mm <= CLICK_REACH_MM:
            is_on_slice = offset_mm <= scene.grid.spacing_mm[normal] / 2
            _draw_click(ax, scene, plane, click=click, opacity=1.0 if is_on_slice else 0.4)
    if scene.grid.shape[normal] > 1 and not scene.is_turned:
        position_mm = scene.grid.to_mm(scene.centre)[normal]
        ax.set_title(f"{plane.name}  {'xyz'[normal]} = {position_mm:.1f} mm", fontsize=10)
        _draw_directions(ax, plane)


def draw_projection(ax: Axes, scene: Scene, *, with_clicks: bool = False) -> None:
    """Draw the coronal maximum of the whole volume, with a frame round the part that the slices show, if it is one.

    Args:
        ax: where.
        scene: what.
        with_clicks: mark all clicks, in place of the scale bar, which could hide them.
    """
    from matplotlib.patches import Rectangle

    whole = BoundingBox((0, 0, 0), scene.grid.shape)
    flatten: Flatten = partial(np.max, axis=CORONAL.normal)
    window = scene.window or _find_window(flatten(scene.image), from_zero=scene.is_emission)
    _draw_plane(ax, scene, CORONAL, field=whole, flatten=flatten, window=window, with_scale=not with_clicks)
    if scene.field != whole:
        (left, right), (bottom, top) = _find_edges_mm(scene.field, scene.grid, CORONAL)
        frame = Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor="#777", linestyle=":")
        ax.add_patch(frame)
    for click in scene.clicks if with_clicks else ():
        _draw_click(ax, scene, CORONAL, click=click, opacity=1.0, size=SMALL_MARKER)
    ax.set_title("Coronal maximum", fontsize=10)
    _draw_directions(ax, CORONAL)


def draw_legend(figure: Figure, *, lines: Mapping[str, str], clicks: Sequence[Click]) -> None:
    """Explain colours below the panels: outlines by `lines` (colour -> name), and the clicks that exist."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2, label=name) for colour, name in lines.items()]
    for sign, name in ((True, "positive click"), (False, "negative click")):
        n = sum(click.is_positive == sign for click in clicks)
        if n:
            style = {**_marker_style(is_positive=sign), "linestyle": "none"}
            handles.append(Line2D([], [], label=f"{name} ({n})", **style))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _draw_plane(
    ax: Axes,
    scene: Scene,
    plane: Plane,
    *,
    field: BoundingBox,
    flatten: Flatten,
    window: tuple[float, float],
    with_scale: bool = True,
) -> None:
    """Draw image, overlays and outlines of one plane, in mm from the outer corner of the grid."""
    from matplotlib.colors import to_rgb

    index = (field.slices[plane.horizontal], field.slices[plane.vertical])
    (left, right), (bottom, top) = _find_edges_mm(field, scene.grid, plane)
    where: dict[str, Any] = {
        "origin": "lower",
        "extent": (left, right, bottom, top),
        "interpolation": "nearest",
    }
    low, high = window
    grey = "gray_r" if scene.is_emission else "gray"
    ax.imshow(flatten(scene.image)[index].T, cmap=grey, vmin=low, vmax=high, **where)
    for values, colour in scene.overlays:
        opacity = np.clip(flatten(values)[index].T, 0, 1)
        tint = np.broadcast_to(to_rgb(colour), (*opacity.shape, 3))
        ax.imshow(np.dstack([tint, opacity]), **where)
    for labels, colour in scene.outlines:
        _draw_outline(ax, scene.grid, plane, labels=flatten(labels), colour=colour)
    ax.set_xlim(right, left)
    ax.set_ylim(bottom, top)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    if with_scale:
        _draw_scale(ax, right - left, shortest_mm=_find_shortest_mm(field, scene.grid))


def _draw_outline(ax: Axes, grid: Geometry, plane: Plane, *, labels: Array, colour: str) -> None:
    """Outline every label of a flattened map (horizontal, vertical), half-way between the voxel centres."""
    padded = np.pad(labels, 1)
    x, y = (
        (np.arange(n) - 0.5) * grid.spacing_mm[axis]
        for n, axis in zip(padded.shape, (plane.horizontal, plane.vertical), strict=True)
    )
    for value in np.unique(labels[labels > 0]):
        inside = (padded == value).T.astype(np.float32)
        ax.contour(x, y, inside, levels=[0.5], colors=[colour], linewidths=1.5)


def _draw_click(ax: Axes, scene: Scene, plane: Plane, *, click: Click, opacity: float, size: float = MARKER) -> None:
    """Mark a click where it falls on the plane."""
    position = (scene.grid.to_voxel(click.position_mm) + 0.5) * scene.grid.spacing_mm
    style = {**_marker_style(is_positive=click.is_positive), "markersize": size}
    ax.plot(position[plane.horizontal], position[plane.vertical], alpha=opacity, clip_on=True, **style)


def _draw_directions(ax: Axes, plane: Plane) -> None:
    """Write the patient's directions at the edges of a panel."""
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    anchors = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, (x, y), (across, along) in zip(plane.letters, places, anchors, strict=True):
        ax.text(x, y, letter, transform=ax.transAxes, ha=across, va=along, fontsize=9, **_text_style())


def _draw_scale(ax: Axes, width_mm: float, *, shortest_mm: float) -> None:
    """Draw a bar of a round length at the lower right, the same in every panel of a part of the grid."""
    from matplotlib.patheffects import withStroke

    lengths = [length for length in SCALE_BARS_MM if length <= 0.4 * shortest_mm]
    if not lengths:
        return
    length = lengths[-1]
    where: dict[str, Any] = {"transform": ax.transAxes}
    halo = [withStroke(linewidth=5, foreground="white")]
    ax.plot(
        [0.96 - length / width_mm, 0.96],
        [0.05, 0.05],
        color="#333",
        linewidth=2.5,
        path_effects=halo,
        **where,
    )
    x = 0.96 - length / width_mm / 2
    ax.text(x, 0.07, f"{length} mm", ha="center", fontsize=8, **where, **_text_style())


def _find_edges_mm(field: BoundingBox, grid: Geometry, plane: Plane) -> tuple[tuple[float, float], ...]:
    """Give where a part of the grid starts and ends, horizontally and vertically, from the grid's corner."""
    axes = (plane.horizontal, plane.vertical)
    return tuple((field.start[a] * grid.spacing_mm[a], field.stop[a] * grid.spacing_mm[a]) for a in axes)


def _find_shortest_mm(field: BoundingBox, grid: Geometry) -> float:
    """Give the shortest edge of a part of the grid that is more than one voxel of the grid."""
    edges = [n * mm for n, mm, whole in zip(field.shape, grid.spacing_mm, grid.shape, strict=True) if whole > 1]
    return min(edges, default=0.0)


def _find_window(values: Array, *, from_zero: bool) -> tuple[float, float]:
    """Give the intensities at the two ends of the grey scale; `from_zero` starts it at 0 or below."""
    known = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(known, WINDOW_PERCENTILES)) if known.size else (0.0, 1.0)
    low = min(low, 0.0) if from_zero else low
    return (low, high) if high > low else (low, low + 1.0)


def _marker_style(*, is_positive: bool) -> dict[str, Any]:
    """Give the look of a click, readable on black and on white."""
    from matplotlib.patheffects import withStroke

    return {
        "marker": "+" if is_positive else "x",
        "color": POSITIVE_COLOUR if is_positive else NEGATIVE_COLOUR,
        "markersize": MARKER,
        "markeredgewidth": 2,
        "path_effects": [withStroke(linewidth=4, foreground="white")],
    }


def _text_style() -> dict[str, Any]:
    """Give a colour that is readable on black and on white."""
    from matplotlib.patheffects import withStroke

    return {"color": "#333", "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
