"""An image, a user's clicks and the mask that follows them: what a program with a viewer talks to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Self

from interactivepet.core.case import Case
from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction, Segmentation
from interactivepet.errors import SegmenterError
from interactivepet.session.history import CaseModel, PredictionState
from interactivepet.session.prompts import Position, check_clicks, make_box_clicks, make_scribble_clicks
from interactivepet.session.segmenter import EnsembleSegmenter, SessionModel, make_segmentation

__all__ = ["MOST_STATES", "Session"]

MOST_STATES = 32
"""Results to which undo and redo return as they were; older ones are predicted again."""


@dataclass(frozen=True, slots=True)
class _Action:
    """What the user added at once.

    Attributes:
        number: no other action of the session has it.
        clicks: that it became.
        is_correction: whether it follows a mask that was made with clicks.
    """

    number: int
    clicks: tuple[Click, ...]
    is_correction: bool


class Session:
    """Segments one image after the other, click by click; `EnsembleSegmenter` takes all clicks at once.

    Clicks, boxes and scribbles only take note; `segment` predicts. What was added since the last mask is predicted
    together: place the margin points of an object, then ask for the mask. Not to be shared between threads.

    Attributes:
        segmenter: what it is made of; has names and licences of the models.
    """

    def __init__(
        self,
        model: SessionModel,
        *,
        fast: bool = False,
        check: Callable[[Case], None] | None = None,
    ) -> None:
        """Open a session without an image.

        Args:
            model: trained folds and the choice from cross-validation.
            fast: use `FAST_FOLDS` folds and no mirrored inputs.
            check: raises for an image that the model cannot answer for.
        """
        self._model = model
        self._check = check
        self.segmenter = EnsembleSegmenter(model, fast=fast)
        self._case_model: CaseModel | None = None
        self._numbers = count()
        self._actions: list[_Action] = []
        self._undone: list[_Action] = []
        self._answered: set[tuple[int, ...]] = set()
        self._states: OrderedDict[tuple[int, ...], PredictionState] = OrderedDict()
        self._unmet: tuple[Click, ...] = ()

    @property
    def labels(self) -> tuple[int, ...]:
        """Values that clicks can have."""
        return self.segmenter.labels

    @property
    def clicks(self) -> tuple[Click, ...]:
        """All clicks that count, oldest first; those of boxes and scribbles among them."""
        return tuple(click for action in self._actions for click in action.clicks)

    @property
    def unmet(self) -> tuple[Click, ...]:
        """The clicks that the last mask does not meet, as newer ones contradict them."""
        return self._unmet

    @property
    def probabilities(self) -> Prediction:
        """Probabilities (1 + L, I, J, K) after the clicks so far, on the image's own grid.

        They are the folds', blended with nnInteractive's as the choice from cross-validation wants it.

        Raises:
            SegmenterError: there is no image, or nnInteractive failed.
            InteractionError: there is no click, and the plan crops to clicks.
        """
        fusion, _ = self._choose()
        return self.segmenter.fuse(self.case, self.clicks, fusion=fusion, predict_folds=lambda: self.fold_probabilities)

    @property
    def fold_probabilities(self) -> Prediction:
        """What the folds alone make of the clicks so far; raises as `probabilities` does."""
        return self._open_case().read(self._advance())

    def set_image(self, case: Case) -> None:
        """Take an image and preprocess it, and forget the one before with its clicks.

        Args:
            case: image (C, I, J, K) in the units of its files.

        Raises:
            CaseError: it has other channels than the model was trained on, or the session's check refuses it.
        """
        case_model = CaseModel(self.segmenter.folds, case)
        if self._check is not None:
            self._check(case)
        case_model.prepare()
        self._case_model = case_model
        self._states.clear()
        self.reset()

    def add_click(self, position_mm: Position, label: int = 1, *, is_positive: bool = True) -> None:
        """Say that the voxel at a place (RAS+ mm) belongs, or does not belong, to a label.

        Raises:
            SegmenterError: there is no image.
            InteractionError: the place is outside of the image, or the label unknown.
        """
        self._add([(Click(position_mm=position_mm, label=label, is_positive=is_positive),)])

    def add_clicks(self, clicks: Sequence[Click]) -> None:
        """Add clicks one by one, each of which can be undone; raises as `add_click` does, and then adds none."""
        self._add([(click,) for click in clicks])

    def add_together(self, *groups: Sequence[Click]) -> None:
        """Add groups of clicks, each of which is undone as one, like a box; raises as `add_clicks` does."""
        self._add([tuple(clicks) for clicks in groups])

    def add_box(
        self, start_mm: Position, stop_mm: Position, *, label: int = 1, is_positive: bool = True
    ) -> tuple[Click, ...]:
        """Show an object by two opposite corners (RAS+ mm) of the box around it; gives the clicks that it becomes.

        The networks know no boxes: `prompts.make_box_clicks` turns one into points like an object's margin points.
        Raises as `add_click` does.
        """
        geometry = self.case.geometry
        clicks = make_box_clicks(start_mm, stop_mm, geometry=geometry, label=label, is_positive=is_positive)
        self.add_together(clicks)
        return clicks

    def add_scribble(
        self, points_mm: Sequence[Position], *, label: int = 1, is_positive: bool = True
    ) -> tuple[Click, ...]:
        """Show a label by the points (RAS+ mm) of a stroke; gives the clicks that it is thinned to.

        Raises as `add_click` does, and InteractionError without points.
        """
        clicks = make_scribble_clicks(points_mm, label=label, is_positive=is_positive)
        self.add_together(clicks)
        return clicks

    def undo(self) -> bool:
        """Take back the last click, box or scribble; False when there is none."""
        if self._actions:
            self._undone.append(self._actions.pop())
            return True
        return False

    def redo(self) -> bool:
        """Put back what was undone last; False when nothing was, or something was added since."""
        if self._undone:
            self._actions.append(self._undone.pop())
            return True
        return False

    def reset(self) -> None:
        """Take back everything for good; the image and its prediction without clicks stay."""
        self._actions.clear()
        self._undone.clear()
        self._answered.clear()
        self._unmet = ()
        for key in [key for key in self._states if key]:
            del self._states[key]

    def segment(self) -> Segmentation:
        """Give the mask of the image after the clicks so far.

        Without clicks all of the image is predicted. When the first mask is asked for with a positive click, an image
        larger than the network's patch is predicted near the clicks only, and its masks hold clicked objects only.

        Returns:
            The mask on the image's own grid, in which every click holds but the `unmet` ones.

        Raises:
            SegmenterError: there is no image, or nnInteractive failed.
            InteractionError: there is no click, and the plan crops to clicks.
        """
        prediction = self.probabilities
        fusion, postprocessing = self._choose()
        state = self._states.get(self._key)
        if state is not None and state.is_near:
            # what else a window holds depends on where it happens to end
            postprocessing = postprocessing.model_copy(update={"keep_clicked": True})
        self._answered.add(self._key)
        found = make_segmentation(self.case, prediction, self.clicks, fusion=fusion, postprocessing=postprocessing)
        self._unmet = found.unmet
        return found

    def close(self) -> None:
        """Forget the image and all that was computed of it; the model stays."""
        self.reset()
        self._states.clear()
        self._case_model = None

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def _key(self) -> tuple[int, ...]:
        """What names the present clicks."""
        return tuple(action.number for action in self._actions)

    def _choose(self) -> tuple[FusionRule, PostprocessingRule]:
        return self._model.choice(self.clicks, is_corrected=any(action.is_correction for action in self._actions))

    @property
    def case(self) -> Case:
        """The image.

        Raises:
            SegmenterError: there is none.
        """
        return self._open_case().case

    def _open_case(self) -> CaseModel:
        if self._case_model is None:
            raise SegmenterError("the session has no image; call set_image first")
        return self._case_model

    def _add(self, added: Sequence[tuple[Click, ...]]) -> None:
        """Take note of what the user added, each part of it an action, or refuse all of it."""
        case, key = self.case, self._key
        every = [click for clicks in added for click in clicks]
        check_clicks(every, case_id=case.id, geometry=case.geometry, labels=self.labels)
        follows_mask = any(key[:n] in self._answered for n in range(1, len(key) + 1))
        self._actions.extend(_Action(next(self._numbers), clicks, follows_mask) for clicks in added)
        if added:
            self._undone.clear()

    def _advance(self) -> PredictionState:
        """Give the state of the present clicks, from the nearest one before it."""
        case_model, key = self._open_case(), self._key
        found = self._states.get(key)
        if found is None:
            starts = (self._states.get(key[:n]) for n in range(len(key) - 1, -1, -1))
            start = next((state for state in starts if state is not None), None)
            fusion, _ = self._choose()
            found = case_model.advance(start, self.clicks, fusion=fusion)
        self._remember(key, found)
        return found

    def _remember(self, key: tuple[int, ...], state: PredictionState) -> None:
        """Keep a state; the one without clicks, on which all others rest, is never given up."""
        self._states[key] = state
        self._states.move_to_end(key)
        while len(self._states) > MOST_STATES:
            del self._states[next(old for old in self._states if old)]
