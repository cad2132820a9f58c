"""What a simulated user reached with a system, click by click."""

from __future__ import annotations

from typing import ClassVar, Literal

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.interaction import Click

__all__ = [
    "CaseArea",
    "ClicksTo",
    "Curve",
    "CurvePoint",
    "SimulatedCase",
    "SimulatedStep",
    "Simulation",
    "StartName",
    "UserName",
]

UserName = Literal["perfect", "noisy", "hurried", "centreline", "random", "boundary", "fixed"]
"""Who corrects: three kinds of clicking users, three strokes of autoPET V's scribbles, or a folder of clicks."""
StartName = Literal["none", "extreme"]
"""What is there before the first correction: nothing, or the interior margin points of every object."""


class SimulatedStep(Record):
    """The mask after some corrections, scored. None stands for a metric that is not defined there."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"volume_ml"})

    n_clicks: int
    """Everything placed so far, the first points included; a scribble counts as one."""
    added: tuple[Click, ...]
    """What was placed before this step; empty at a step that repeats the last, as nothing was left to correct."""
    dice: float
    """Mean over the labels that mask or reference hold; 1 when neither holds any (autoPET V)."""
    false_positive_ml: float
    """Volume of the mask's components that touch no voxel of their label."""
    false_negative_ml: float
    """Volume of the lesions that the mask touches nowhere."""
    lesion_f1: float | None
    """DMM: F1 of the lesions at an intersection over union of 0.1; None without any lesion."""
    surface_dice_2mm: float | None
    surface_dice_5mm: float | None
    """None when mask and reference are both empty."""
    n_disobeyed: int
    """Points placed so far that the mask contradicts."""
    seconds: float | None
    """From the user's click to the mask, at the first step from the image; None at a step that repeats the last."""
    volume_ml: float | None = None
    """Of all labels of the mask; None in files of earlier versions."""


class CaseArea(Record):
    """The area under one metric's curve over the steps of one case: the trapezoidal rule, a step being 1 wide."""

    metric: str
    area: float
    """As the challenges give it: at most the number of corrections for a metric that ends at 1."""
    mean: float
    """The area over the number of corrections: a mean of the metric over the session."""


class SimulatedCase(Artefact):
    """`CASE.json`. `made_from` hashes models, user, seed and files."""

    case: str
    fold: int | None
    """The fold that never saw the case; None when all folds answered, or another system."""
    models: str
    """Names and licences of what answered."""
    is_lesion_free: bool
    steps: tuple[SimulatedStep, ...]
    """The first before any correction."""
    areas: tuple[CaseArea, ...]
    """Of the metrics that are defined at every step."""


class CurvePoint(Record):
    """One metric after some corrections, over the cases where it is defined."""

    n: int
    mean: float
    std: float
    lower: float
    """First quartile."""
    median: float
    upper: float
    """Third quartile."""


class Curve(Record):
    """One metric, correction by correction."""

    metric: str
    points: tuple[CurvePoint, ...]
    area: float
    """Mean of the cases' areas."""
    mean: float
    """The same over the number of corrections."""


class ClicksTo(Record):
    """How many clicks it took to reach a Dice."""

    dice: float
    n_reached: int
    n_failed: int
    """Cases that never reached it."""
    median: float | None
    """Over all cases, a failure counting as infinitely many; None when that is infinite."""


class Simulation(Artefact):
    """The content of `simulation.json`. `made_from` joins the hashes of all cases."""

    task: str
    name: str
    provenance: str
    """Who answered, who asked, and whether the masks are out-of-fold."""
    user: UserName
    start: StartName
    seed: int
    n_corrections: int
    n_cases: int
    n_lesion_free: int
    n_clicks: tuple[float, ...]
    """Mean number of clicks at each step."""
    curves: tuple[Curve, ...]
    clicks_to: tuple[ClicksTo, ...]
    largest_fall: float
    """The most that the mean Dice loses from one step to the next; 0 when it never does."""
    n_disobeyed: int
    """Points that the last mask of their case contradicts, over all cases."""
    seconds_median: float | None
    """Of the answer to a correction, models and image being loaded; None when nothing was corrected."""
    seconds_95: float | None
    """The 95th percentile of the same."""
