"""What turns a click on a region into its mask: a trained model, or a method without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from interactivepet.core.artefact import hash_text
from interactivepet.core.case import Case
from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.interaction import Click
from interactivepet.model.description import ImageInputs
from interactivepet.pipeline.predict.models import PredictionOptions

if TYPE_CHECKING:
    from interactivepet.pipeline.predict.model import Model

__all__ = [
    "CLASSICAL_INPUTS",
    "ChoiceDescription",
    "ClassicalRegions",
    "ModelRegions",
    "RegionSegmenter",
    "SegmentClicks",
    "SegmenterChoice",
    "describe_choice",
    "open_segmenter",
]

Position = tuple[float, float, float]
SegmentClicks = Callable[[Sequence[Position]], npt.NDArray[np.bool_]]
"""Places in one object, in RAS+ mm -> mask (I, J, K) of the object."""


class RegionSegmenter(Protocol):
    """Segments one place of an image after the other."""

    @property
    def description(self) -> str:
        """Name and licence, for people who use the masks."""
        ...

    @property
    def takes_margins(self) -> bool:
        """Whether a region is shown by the points where it ends, before its hottest place."""
        ...

    @contextmanager
    def open(self, case: Case) -> Iterator[SegmentClicks]:
        """Take an image for as long as the block lasts.

        Raises:
            CaseError: the segmenter cannot answer for this image.
        """
        ...


class ModelRegions:
    """A trained model: each region is the answer to the first click of a session of its own."""

    def __init__(self, model: Model) -> None:
        """Use a loaded model; of several labels the one with the lowest value is segmented."""
        self._model = model
        self._label = min(model.labels.values())

    @property
    def description(self) -> str:
        """Names and licences of the networks."""
        return self._model.description

    takes_margins = False

    @contextmanager
    def open(self, case: Case) -> Iterator[SegmentClicks]:
        """Preprocess an image once for all of its regions; raises CaseError as `Model.open_session` does."""
        with self._model.open_session(case) as session:

            def segment(positions_mm: Sequence[Position]) -> npt.NDArray[np.bool_]:
                session.reset()
                session.add_clicks([Click(position_mm=place, label=self._label) for place in positions_mm])
                return np.asarray(session.segment().mask == self._label)

            yield segment


class ClassicalRegions:
    """A method without training."""

    def __init__(self, method: ClassicalMethod, channel: str = "PET") -> None:
        """Use a method on the channel of that name."""
        from interactivepet.inference.classical.segmenter import ClassicalSegmenter

        self._segmenter = ClassicalSegmenter(method, (1,), channel)

    @property
    def description(self) -> str:
        """The method."""
        return self._segmenter.description

    takes_margins = True
    """One click shows such a method 3 cm around it, which cuts larger lesions off."""

    @contextmanager
    def open(self, case: Case) -> Iterator[SegmentClicks]:
        """Segment on an image; a method that needs SUV or a liver refuses others with CaseError at the first click."""

        def segment(positions_mm: Sequence[Position]) -> npt.NDArray[np.bool_]:
            clicks = [Click(position_mm=place, label=1) for place in positions_mm]
            return np.asarray(self._segmenter.find_mask(case, clicks) == 1)

        yield segment


@dataclass(frozen=True, slots=True)
class SegmenterChoice:
    """What segments; small enough to be sent to a worker, which loads it once.

    Attributes:
        model: file or folder of a model.
        method: in place of a model.
        options: device, threads and folds of a model.
    """

    model: Path | None = None
    method: ClassicalMethod | None = None
    options: PredictionOptions = field(default_factory=PredictionOptions)


@dataclass(frozen=True, slots=True)
class ChoiceDescription:
    """What is known of a choice without loading weights.

    Attributes:
        name: for people.
        content: hash that changes when other masks may come of it.
        inputs: what images must be.
    """

    name: str
    content: str
    inputs: ImageInputs


CLASSICAL_INPUTS = ImageInputs(channels=("PET",), is_by_channel=False, is_picture=True, suv="bw")
"""What images must be for a method without training."""


def describe_choice(choice: SegmenterChoice) -> ChoiceDescription:
    """Read what a model is, or say what a method is.

    Raises:
        ModelError: the model is damaged or not there.
    """
    if choice.model is None:
        return ChoiceDescription(str(choice.method), hash_text(str(choice.method)), CLASSICAL_INPUTS)
    from interactivepet.model.folder import open_model

    options = choice.options
    with open_model(choice.model) as opened:
        parts = (opened.manifest.model_dump_json(), str(options.folds), str(options.tta))
        return ChoiceDescription(opened.manifest.name, hash_text(*parts), opened.description.inputs)


@lru_cache(maxsize=1)
def open_segmenter(choice: SegmenterChoice) -> RegionSegmenter:
    """Load what segments; the same choice is loaded once in a process.

    Raises:
        ModelError: the model is damaged or not there.
    """
    if choice.method is not None:
        return ClassicalRegions(choice.method)
    from interactivepet.model.folder import open_model
    from interactivepet.pipeline.predict.model import open_trained_model

    if choice.model is None:
        raise ValueError("neither a model nor a method")
    with open_model(choice.model) as opened:
        return ModelRegions(open_trained_model(opened, choice.options))
