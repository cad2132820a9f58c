"""One image, segmented click by click with a task's results; the mask is on disk after each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.core.prediction import Segmentation
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.errors import CaseError, InteractionError, InteractivePetError
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.decisions import read_plans
from interactivepet.pipeline.predict.click_lines import read_click_line
from interactivepet.pipeline.predict.masks import save_mask
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.pictures import is_suv, save_picture, with_picture
from interactivepet.pipeline.predict.requests import (
    MASK_ENDINGS,
    make_folder_request,
    read_inputs,
    refuse_pictures_of_volumes,
)
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.session.session import Session

__all__ = ["Answer", "Dialogue", "measure_volumes", "open_dialogue"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a line led to.

    Attributes:
        volumes_ml: volume of each label value in the mask.
        seconds: from the line to the mask on disk.
        n_clicks: that count now.
        unmet: the clicks that the mask does not meet.
    """

    volumes_ml: dict[int, float]
    seconds: float
    n_clicks: int
    unmet: tuple[Click, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """An image in a session, and where its mask goes.

    Attributes:
        session: holds the image.
        plans: of the model.
        out: path of the mask.
        frame: of the numbers in lines.
        picture: path of a picture of the mask; None writes none.
    """

    session: Session
    plans: Plans
    out: Path
    frame: PointFrame
    picture: Path | None = None

    def run_line(self, line: str) -> Answer:
        """Do what a line says, then segment and write the mask.

        Args:
            line: of `read_click_line`; or `undo`, `redo`, `reset`.

        Raises:
            InteractionError: the line is invalid, and nothing has changed; or no click is left, and the plan crops to
                clicks.
            CaseError: the format cannot hold the mask.
        """
        start = time.perf_counter()
        is_turn = line.split()[:1] in (["undo"], ["redo"], ["reset"])
        if is_turn:
            self._turn(*line.split())
        else:
            self._add([line], other_words=", undo, redo, reset or quit")
        with self._taken_back(0 if is_turn else 1):
            segmentation = self.session.segment()
        return self._write(segmentation, start=start)

    def run_clicks(self, lines: Sequence[str]) -> Answer:
        """Add the clicks of all lines of `read_click_line`, or none; then segment once and write the mask.

        Raises as `run_line` does.
        """
        start = time.perf_counter()
        self._add(lines)
        with self._taken_back(len(lines)):
            segmentation = self.session.segment()
        return self._write(segmentation, start=start)

    def _add(self, lines: Sequence[str], *, other_words: str = "") -> None:
        geometry, labels = self.session.case.geometry, self.session.labels
        read = partial(read_click_line, geometry=geometry, frame=self.frame, labels=labels, other_words=other_words)
        self.session.add_together(*[read(line) for line in lines])

    @contextmanager
    def _taken_back(self, n_lines: int) -> Iterator[None]:
        """Undo the last lines when an error ends the block: they may be said again."""
        try:
            yield
        except InteractivePetError:
            for _ in range(n_lines):
                self.session.undo()
            raise

    def _write(self, segmentation: Segmentation, *, start: float) -> Answer:
        """Write mask and picture; `start` is when the user asked."""
        session, plans = self.session, self.plans
        save_mask(segmentation, self.out)
        if self.picture is not None:
            save_picture(
                self.picture,
                session.case,
                segmentation,
                clicks=session.clicks,
                channels=plans.channels,
                labels=plans.labels,
                in_suv=is_suv(plans),
            )
        return Answer(measure_volumes(segmentation), time.perf_counter() - start, len(session.clicks), session.unmet)

    def _turn(self, word: str, *numbers: str) -> None:
        if numbers:
            raise InteractionError(f"{word} takes no numbers, found {' '.join(numbers)}; leave them out")
        if word == "reset":
            self.session.reset()
        elif not (self.session.undo() if word == "undo" else self.session.redo()):
            raise InteractionError(f"nothing to {word}")


def measure_volumes(segmentation: Segmentation) -> dict[int, float]:
    """Give the volume in ml of each label value of a mask."""
    counts = np.bincount(segmentation.mask.ravel(), minlength=max(segmentation.labels) + 1)
    return {label: float(counts[label]) * segmentation.geometry.voxel_volume_ml for label in segmentation.labels}


@contextmanager
def open_dialogue(
    source: PredictionSource,
    image: Path,
    *,
    out: Path,
    options: PredictionOptions,
    frame: PointFrame,
    fast: bool,
    reading: DicomReading | None = None,
    picture: Path | None = None,
) -> Iterator[Dialogue]:
    """Load a model and an image.

    Args:
        source: a task with at least one trained fold, or a model.
        image: a file; of several channels `CASE_0000.nii.gz`, the others beside it. Or a folder with one case, such
            as a DICOM series.
        out: path of the mask, with its ending.
        options: as of `open_trained_model`.
        frame: of the numbers in lines.
        fast: as of `Model.open_session`.
        reading: of a folder of DICOM: which series to take, and how.
        picture: path of a picture of each mask; None writes none.

    Raises:
        ManifestError: there are several cases, the mask would replace the image, or the picture cannot be written so.
        CaseError: the image is not there or cannot be used, or the mask's ending is unknown.
        MissingArtefactError: no fold is trained.
    """
    if not out.name.lower().endswith(MASK_ENDINGS):
        raise CaseError(f"{out}: unknown ending; expected one of {', '.join(MASK_ENDINGS)}")
    request = make_folder_request(source, image, clicks_folder=None, out=out, reading=reading)
    request = with_picture(request, picture)
    refuse_pictures_of_volumes(request, _read_plans(source))
    case = request.load_single(channels=read_inputs(source).channels)
    with (
        open_trained_model(source, options, with_corrections=True) as model,
        model.open_session(case, fast=fast) as session,
    ):
        yield Dialogue(session, model.plans, out, frame, picture)


def _read_plans(source: PredictionSource) -> Plans:
    return source.description.plans if isinstance(source, ModelFolder) else read_plans(source)
