"""What a segmenter is: the chosen ensemble and nnInteractive are used in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction

__all__ = ["Segmenter"]


class Segmenter(Protocol):
    """Anything that turns a scan and clicks into probabilities."""

    @property
    def name(self) -> str:
        """Short name for messages and reports, such as `folds 0-4` or a model folder's name."""
        ...

    @property
    def licence(self) -> str:
        """Licence of the weights, for the user to see."""
        ...

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Segment one case.

        Args:
            case: image (C, I, J, K) in the units of its files.
            clicks: positive and negative points in RAS+ mm, oldest first; may be empty.

        Returns:
            Probabilities (1 + L, I, J, K) float32 on the grid of `case`.
        """
        ...
