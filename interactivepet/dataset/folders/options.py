"""What a user may say about a folder of volumes; everything else its files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interactivepet.core.geometry import Spacing
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.folders.volume_job import GridChoice

__all__ = ["FolderLayout", "FolderOptions"]

FolderLayout = Literal["pairs", "channels", "nnunet", "msd", "interactivenet", "autopet"]
"""Volumes beside masks, the same with one file a channel, and four forms of challenges and packages."""


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How to import a folder.

    Attributes:
        channels: names in channel order; where files name their channels, these are taken, in this order.
        labels: names of the values 1 ... L; where files name their labels, these give the order.
        grid: which grid a case gets when its channels have several.
        layout: None finds out.
        allow_mask_as_volume: take a mask for a volume, for debugging.
        needs_masks: refuse a folder in which no volume has a mask.
        time_frame: which frame of a dynamic image to take; None refuses one.
        mask_suffix: what the name of a mask has behind the case; empty for `_mask`, `_seg` and `_label`.
        spacing_mm: along (i, j, k), for headers that are wrong; None takes the headers'.
        point_frame: what the numbers are in click files that do not say it.
        skip_bad: leave out cases whose files contradict each other; else these are an error.
    """

    channels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    grid: GridChoice = "pet"
    layout: FolderLayout | None = None
    allow_mask_as_volume: bool = False
    needs_masks: bool = True
    time_frame: TimeFrame | None = None
    mask_suffix: str = ""
    spacing_mm: Spacing | None = None
    point_frame: PointFrame = "lps"
    skip_bad: bool = False
