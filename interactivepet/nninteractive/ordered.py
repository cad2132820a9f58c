"""A segmenter that sees every case in the plan's order of axes."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.core.axes import IDENTITY, invert, transpose
from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.inference.segmenter import Segmenter

__all__ = ["OrderedSegmenter"]


class OrderedSegmenter:
    """Permutes the axes of cases for another segmenter, and those of its predictions back.

    Folds need none: preprocessing does it for them. nnInteractive takes voxels as they come.
    """

    def __init__(self, segmenter: Segmenter, plan: Plan) -> None:
        """Wrap a segmenter.

        Args:
            segmenter: sees permuted cases; the same object as long as the case is the same.
            plan: has the order.
        """
        self._segmenter = segmenter
        self._plan = plan
        self._case: Case | None = None
        self._permuted: Case | None = None

    @property
    def name(self) -> str:
        """Of the segmenter."""
        return self._segmenter.name

    @property
    def licence(self) -> str:
        """Of the segmenter's weights."""
        return self._segmenter.licence

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Segment one case; the prediction lies on the case's own grid."""
        axes = self._plan.find_axes(case.geometry)
        if axes == IDENTITY:
            return self._segmenter.segment(case, clicks)
        if self._permuted is None or case is not self._case:
            self._case, self._permuted = case, case.permuted(axes)
        found = self._segmenter.segment(self._permuted, clicks)
        return Prediction(case.id, transpose(found.probabilities, invert(axes)), case.geometry, found.labels)
