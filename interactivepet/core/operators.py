"""How much masks depend on who clicks: `operators.json` of a simulation that several simulated users repeat."""

from __future__ import annotations

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.simulation import StartName, UserName

__all__ = ["OperatorSpread", "OperatorStudy", "SpreadPoint"]


class SpreadPoint(Record):
    """The masks of all operators after some corrections. Spreads are means over the cases."""

    mean_dice: float
    """Over operators and cases."""
    dice_sd: float
    """Standard deviation (n - 1) of the Dice over the operators of a case."""
    volume_cv_percent: float | None
    """Standard deviation (n - 1) of the mask's volume over the operators of a case, in percent of their mean; None
    where no case has a volume."""


class OperatorSpread(Record):
    """One system with all operators."""

    system: str
    """Name of a simulation, or of a method without training."""
    n_cases: int
    points: tuple[SpreadPoint, ...]
    """The first before any correction."""


class OperatorStudy(Artefact):
    """The content of `operators.json`. `made_from` joins the hashes of all cases of all operators."""

    task: str
    user: UserName
    start: StartName
    seeds: tuple[int, ...]
    """One per operator."""
    spreads: tuple[OperatorSpread, ...]
    """The system that was asked for, then the methods without training that the images allow."""
