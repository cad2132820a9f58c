"""One case of volumes and masks in files of any grid -> a case on one grid, ready for a task."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry, Spacing
from interactivepet.core.imported import ImportedCase
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.checks import is_pet
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.frames import PICTURE_ENDINGS, pick_frames
from interactivepet.dataset.files.read import read_header, read_image
from interactivepet.dataset.folders.mask_files import MaskFile, read_masks
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.regrid import find_overlap, resample_label_onto, resample_onto
from interactivepet.errors import CaseError

__all__ = ["GRID_NOTE", "GridChoice", "VolumeJob"]

GridChoice = Literal["pet", "finest"]
"""The grid of the PET, or of the first channel when none is named so; or the one with the smallest voxels."""

GRID_NOTE = "grid.json"
"""Written beside an image whose channels or mask were resampled: from where, and how much was padded."""
AIR_PADDING_HU = -1024.0
"""What lies outside of a CT, unless its own smallest value is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class _Channel:
    """One channel (1, I, J, K) on its own grid."""

    name: str
    image: npt.NDArray[np.float32]
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class VolumeJob:
    """A case as files; small enough to be sent to a worker.

    Attributes:
        id: the case's identifier in the task.
        images: one file a channel in channel order, or a single file with every channel.
        channels: names in channel order.
        labels: names of the values 1 ... L.
        masks: none when the answer is not known.
        picks: which channels of a single file to take; None takes them all.
        n_volumes: volumes that each file must hold; None expects one per channel of a single file.
        clicks: file with the case's clicks, in any form that is known.
        patient: cases of one patient stay in one fold.
        subtype: folds are stratified by it.
        grid: which grid the case gets.
        allow_mask_as_volume: whether an image may be a mask, for debugging.
        time_frame: which frame of a dynamic image to take; None refuses one.
        spacing_mm: along (i, j, k) of the case, in place of what the headers say.
        point_frame: what the numbers are in a click file that does not say it; indices are those of the first image.
        flaw: why the case cannot be loaded, where that is known before; else empty.
    """

    id: str
    images: tuple[Path, ...]
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    masks: tuple[MaskFile, ...] = ()
    picks: tuple[int, ...] | None = None
    n_volumes: int | None = None
    clicks: Path | None = None
    patient: str | None = None
    subtype: str | None = None
    grid: GridChoice = "pet"
    allow_mask_as_volume: bool = False
    time_frame: TimeFrame | None = None
    spacing_mm: Spacing | None = None
    point_frame: PointFrame = "lps"
    flaw: str = ""

    def load(self) -> ImportedCase:
        """Read every file and bring channels and mask to one grid.

        Raises:
            CaseError: a file cannot be used, the grids do not meet, or the image gives the answer away.
            InteractionError: the clicks cannot be read.
        """
        if self.flaw:
            raise CaseError(self.flaw)
        if self.spacing_mm is not None and self.clicks is not None:
            raise CaseError(
                f"{self.clicks}: clicks that were placed with the spacing of the header, which --spacing-mm replaces; "
                "import without them, then place them again"
            )
        remarks: list[str] = []
        channels = self._read_channels(remarks)
        reference = _choose_reference(channels, self.grid)
        notes = _Notes(reference.name, reference.geometry)
        image = np.concatenate([_bring(channel, notes) for channel in channels])
        label = self._read_label(channels, notes, remarks=remarks)
        clicks = None
        if self.clicks is not None:
            values = {name: value for value, name in enumerate(self.labels, start=1)}
            clicks = read_clicks(
                self.clicks, geometry=channels[0].geometry, point_frame=self.point_frame, labels=values
            )
        case = Case(self.id, image, _respace(reference.geometry, self.spacing_mm), label)
        return ImportedCase(case, notes.as_files(), clicks, tuple(dict.fromkeys(remarks)))

    def _read_channels(self, remarks: list[str]) -> list[_Channel]:
        n_volumes = self.n_volumes or (1 if len(self.images) > 1 else len(self.channels))
        images: list[npt.NDArray[np.float32]] = []
        grids: list[Geometry] = []
        for path in self.images:
            if remark := read_header(path).remark:
                remarks.append(f"image: {remark}")
            image, geometry = read_image([path])
            if len(image) != n_volumes:
                self._refuse_volumes(path, len(image), n_volumes=n_volumes)
            images.append(image)
            grids.append(geometry)
        if self.time_frame is not None and n_volumes == 1:
            images, remark = pick_frames(images, self.time_frame, names=self.images)
            remarks.extend([remark] if remark else [])
        pairs = [(volume[None], grid) for image, grid in zip(images, grids, strict=True) for volume in image]
        if len(self.images) == 1 and self.picks is not None:
            pairs = [pairs[number] for number in self.picks]
        return [_Channel(name, *pair) for name, pair in zip(self.channels, pairs, strict=True)]

    def _refuse_volumes(self, path: Path, n_found: int, *, n_volumes: int) -> None:
        """Refuse a file with another number of volumes, unless they are frames of which one was asked for."""
        if n_volumes > 1:
            raise CaseError(
                f"{path}: {n_found} volumes, expected one per channel, {n_volumes} ({', '.join(self.channels)}); "
                "name every channel with -m, in the order of the file"
            )
        if path.suffix.lower() in PICTURE_ENDINGS:
            raise CaseError(
                f"{path}: a picture of {n_found} colours, expected shades of grey; save it so, or import projections "
                "with interactivepet_import mip"
            )
        if self.time_frame is None:
            raise CaseError(
                f"{path}: {n_found} volumes in one file, expected 1; if they are the frames of a dynamic or gated "
                "image, choose with --time-frame N, mean or last; if they are channels of a single file, name every "
                "one with -m, in their order"
            )

    def _read_label(
        self, channels: list[_Channel], notes: _Notes, *, remarks: list[str]
    ) -> npt.NDArray[np.uint8] | None:
        if not self.masks:
            return None
        read = read_masks(self.masks, labels=self.labels, grids=[channel.geometry for channel in channels])
        remarks.extend(read.remarks)
        own = channels[read.grid]
        if not self.allow_mask_as_volume:
            _refuse_mask_as_volume(read.label, own, name=self.masks[0].path.name)
        if own.geometry.matches(notes.target):
            return read.label
        label = resample_label_onto(read.label, own.geometry, target=notes.target)
        notes.add_label(own.name, read.label, own.geometry, label=label)
        return label


@dataclass(slots=True)
class _Notes:
    """Collects what was resampled onto the grid of one channel."""

    name: str
    target: Geometry
    resampled: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_channel(self, channel: _Channel, *, outside: float) -> None:
        """Note a channel that was resampled."""
        share = 1 - find_overlap(channel.geometry, self.target)
        self.resampled[channel.name] = {
            **_describe(channel.geometry),
            "interpolation": "linear",
            "padding": outside,
            "padded_share": round(share, 4),
        }

    def add_label(
        self, name: str, mask: npt.NDArray[np.uint8], geometry: Geometry, *, label: npt.NDArray[np.uint8]
    ) -> None:
        """Note a mask that was resampled."""
        self.resampled["mask"] = {
            "grid_of": name,
            "volume_ml_before": round(int((mask > 0).sum()) * geometry.voxel_volume_ml, 4),
            "volume_ml_after": round(int((label > 0).sum()) * self.target.voxel_volume_ml, 4),
        }

    def as_files(self) -> dict[str, str]:
        """Give suffix -> text; nothing when nothing was resampled."""
        if not self.resampled:
            return {}
        content = {"grid_of": self.name, **_describe(self.target), "resampled": self.resampled}
        return {GRID_NOTE: json.dumps(content, indent=2, ensure_ascii=False) + "\n"}


def _describe(geometry: Geometry) -> dict[str, Any]:
    return {"shape": geometry.shape, "spacing_mm": [round(mm, 4) for mm in geometry.spacing_mm]}


def _choose_reference(channels: list[_Channel], grid: GridChoice) -> _Channel:
    if grid == "finest":
        return min(channels, key=lambda channel: channel.geometry.voxel_volume_ml)
    return next((channel for channel in channels if is_pet(channel.name)), channels[0])


def _respace(geometry: Geometry, spacing_mm: Spacing | None) -> Geometry:
    """Give the grid with another spacing: the first voxel and the directions of the axes stay."""
    if spacing_mm is None:
        return geometry
    affine = geometry.affine.copy()
    affine[:3, :3] *= np.asarray(spacing_mm) / geometry.spacing_mm
    return Geometry(geometry.shape, affine)


def _bring(channel: _Channel, notes: _Notes) -> npt.NDArray[np.float32]:
    """Bring a channel to the chosen grid."""
    if channel.geometry.matches(notes.target):
        return channel.image
    outside = _find_padding(channel)
    try:
        image = resample_onto(channel.image, channel.geometry, target=notes.target, outside=outside)
    except CaseError as error:
        raise CaseError(f"{channel.name} on the grid of {notes.name}: {error}") from error
    notes.add_channel(channel, outside=outside)
    return image


def _find_padding(channel: _Channel) -> float:
    """Find what lies where a channel does not reach: no uptake, air, or the smallest value there is."""
    lowest = float(np.nanmin(channel.image)) if np.isfinite(channel.image).any() else 0.0
    if is_pet(channel.name):
        return 0.0
    return max(lowest, AIR_PADDING_HU) if channel.name.strip().lower() == "ct" else lowest


def _refuse_mask_as_volume(mask: npt.NDArray[np.uint8], channel: _Channel, *, name: str) -> None:
    """Refuse an image that is not 0 exactly where its mask is: a copy of the mask, or cut out with it."""
    if mask.any() and np.array_equal(channel.image[0] != 0, mask > 0):
        raise CaseError(
            f"{channel.name} is 0 exactly where the mask {name} is: the image is the mask, or was cut out with it; "
            "give the volume itself, or debug with --allow-mask-as-volume"
        )
