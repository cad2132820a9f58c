"""What turned a PET series into SUV: `suv.json`, beside the image it explains."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.time_frame import TimeFrame

__all__ = ["DicomSource", "SuvRecord", "SuvRule", "SuvVariant"]

SuvVariant = Literal["bw", "lbm", "bsa", "ibw"]
"""Uptake relative to body weight, lean body mass, ideal body weight (all g/ml) or body surface (cm2/ml)."""


class DicomSource(Record):
    """The series that voxels came from. It holds no patient's name."""

    folder: str
    """Absolute path of the folder that holds the series' first slice."""
    n_files: int
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    series_description: str = ""
    study_description: str = ""
    modality: str


class SuvRule(Record):
    """Everything that entered the conversion to SUV; None is what the rule did not need."""

    variant: SuvVariant
    units: str
    """Units (0054,1001) of the series: BQML, CNTS, CPS, GML or CM2ML."""
    rule: str
    """How the series' units became SUV, in words."""
    body: str = ""
    """How the body's mass or surface was found; empty when the series was SUV of this variant already."""
    decay_correction: str | None = None
    """START, ADMIN or NONE."""
    reference_time: datetime | None = None
    """Time that the voxels' activity refers to, scanner's local time; the earliest of them for NONE."""
    reference_reason: str = ""
    """Why this time."""
    reference_candidates: dict[str, tuple[datetime, ...]] = Field(default_factory=dict)
    """Every time that the header offers as reference, by where it comes from; the earliest and the latest where
    slices differ."""
    injection_time: datetime | None = None
    """Scanner's local time."""
    uptake_s: float | None = None
    """From injection to `reference_time`, in seconds."""
    dose_bq: float | None = None
    """Injected activity at the time of injection."""
    half_life_s: float | None = None
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    factor: float
    """SUV = factor * (stored value * rescale slope + rescale intercept); of the first slice where they differ."""
    slice_factors: tuple[float, ...] = ()
    """One factor per slice, in the order of k (of all frames one after the other for their mean), when they differ;
    else empty."""
    n_time_frames: int = 1
    """Frames of a dynamic or gated series."""
    time_frame: TimeFrame | None = None
    """The frame that stands for the series, as it was asked for; None when nothing was."""
    warnings: tuple[str, ...] = ()
    """What was unusual, and what was made of it."""


class SuvRecord(Artefact):
    """The content of `suv.json`."""

    pet: DicomSource
    suv: SuvRule
    ct: DicomSource | None = None
    """The series resampled onto the PET grid as second channel."""
    masks: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """RTSTRUCT or SEG file -> name or pattern that was asked for -> names of its regions that make the label."""
