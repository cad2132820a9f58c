"""What the ensemble makes of a case and its clicks at one moment, and how new clicks lead to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.ensemble import FusionRule
from interactivepet.core.geometry import BoundingBox
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.folds import FoldEnsemble, add_first_steps
from interactivepet.ensemble.layers import Layer
from interactivepet.ensemble.views import View, correct_view, make_view
from interactivepet.inference.region import find_scanner_box, make_background, restore_box
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess

__all__ = ["CaseModel", "State"]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Probabilities after some clicks.

    Attributes:
        n_clicks: how many were seen.
        fused: the configurations that are averaged.
        views: of each of them, and of the first step of a cascade.
        canvas: their mean (1 + L, I, J, K) on the scanner's grid.
    """

    n_clicks: int
    fused: tuple[Configuration, ...]
    views: Mapping[Configuration, View]
    canvas: Layer


class CaseModel:
    """The folds of every configuration, ready for one case; what clicks do not change is computed once."""

    def __init__(self, folds: Mapping[Configuration, FoldEnsemble], case: Case) -> None:
        """Take a case; nothing is computed yet.

        Args:
            folds: by configuration, the first step of a cascade before the second.
            case: on the scanner's grid.
        """
        self._folds = folds
        self._case = case
        self._ready: dict[Configuration, PreprocessedCase] = {}

    def advance(self, state: State | None, clicks: Sequence[Click], *, fusion: FusionRule) -> State:
        """Give the state after all of `clicks`.

        Args:
            state: after the first `state.n_clicks` of them; None predicts the whole case with all of them.
            clicks: in RAS+ mm, oldest first.
            fusion: which configurations to average.
        """
        n_new = len(clicks) - (0 if state is None else state.n_clicks)
        views: dict[Configuration, View] = {}
        for name in add_first_steps(fusion.configurations):
            view = None if state is None else state.views.get(name)
            ready = self._prepare(name, clicks, view=view)
            is_new = view is None or view.ready is not ready
            uses_coarse = name == "3d_cascade" and (is_new or n_new == len(clicks))
            coarse = self._restore(views["3d_lowres"]) if uses_coarse else None
            if view is None or is_new:
                views[name] = make_view(self._folds[name], ready, clicks=clicks, coarse=coarse)
            elif n_new:
                views[name] = correct_view(self._folds[name], view, clicks=clicks, n_new=n_new, coarse=coarse)
            else:
                views[name] = view
        return State(len(clicks), fusion.configurations, views, self._paint(state, views, fusion=fusion))

    def _prepare(self, name: Configuration, clicks: Sequence[Click], *, view: View | None) -> PreprocessedCase:
        """Preprocess the case, again only when a plan crops to clicks and the clicks have left the crop."""
        plan = self._folds[name].plan
        known = [] if view is None else [view.ready]
        known += [self._ready[name]] if name in self._ready else []
        if known and plan.crop.region == "body":
            return known[0]
        box = find_crop(self._case, plan, clicks=clicks)
        for ready in known:
            if ready.trace.crop == box:
                return ready
        self._ready[name] = preprocess(self._case, plan, box=box)
        return self._ready[name]

    def _restore(self, view: View) -> Prediction:
        """Bring a whole view to the scanner's grid."""
        geometry = self._case.geometry
        values = restore_box(view.layer.read, view.ready.trace, box=BoundingBox((0, 0, 0), geometry.shape))
        labels = next(iter(self._folds.values())).plan.label_values
        return Prediction(self._case.id, values, geometry, labels)

    def _paint(self, state: State | None, views: Mapping[Configuration, View], *, fusion: FusionRule) -> Layer:
        """Average the views on the scanner's grid, only where they changed."""
        fused = [views[name] for name in fusion.configurations]
        boxes = [find_scanner_box(view.changed, view.ready.trace) for view in fused if view.changed is not None]
        is_partial = state is not None and state.fused == fusion.configurations and len(boxes) == len(fused)
        # outside of the crops the background is certain
        box = reduce(BoundingBox.union, boxes if is_partial else [view.ready.trace.crop for view in fused])
        parts = (restore_box(view.layer.read, view.ready.trace, box=box) for view in fused)
        values = reduce(np.add, parts) / np.float32(len(fused))
        canvas = state.canvas if state is not None and is_partial else self._make_background(len(values))
        return canvas.changed(values, box)

    def _make_background(self, n_classes: int) -> Layer:
        """Give certain background everywhere, in next to no memory."""
        voxel = make_background(n_classes, (1, 1, 1))
        return Layer.of(np.broadcast_to(voxel, (n_classes, *self._case.geometry.shape)))
