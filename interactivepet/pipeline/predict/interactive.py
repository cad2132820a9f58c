"""One image, segmented click by click with a task's results; the mask is on disk after each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.interactions import to_ras
from interactivepet.errors import CaseError, InteractionError, InteractivePetError
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.decisions import read_plans
from interactivepet.pipeline.predict.masks import save_mask
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.requests import (
    MASK_ENDINGS,
    make_folder_request,
    read_inputs,
    refuse_pictures_of_volumes,
)
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.session.session import Session

__all__ = ["Answer", "Dialogue", "open_dialogue"]


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
        out: path of the mask.
        frame: of the numbers in lines.
    """

    session: Session
    out: Path
    frame: PointFrame

    def run_line(self, line: str) -> Answer:
        """Do what a line says, then segment and write the mask.

        Args:
            line: `+` or `-` and a point, `box` and two corners, `scribble` and points, each point three numbers,
                then perhaps the label's value; `-box` and `-scribble` are negative. Or `undo`, `redo`, `reset`.

        Raises:
            InteractionError: the line has no sense, and nothing has changed; or no click is left, and the plan crops
                to clicks.
            CaseError: the format cannot hold the mask.
        """
        start = time.perf_counter()
        word, *numbers = line.split()
        if word in ("undo", "redo", "reset"):
            self._turn(word, numbers)
            segmentation = self.session.segment()
        else:
            self._add(word, numbers)
            try:
                segmentation = self.session.segment()
            except InteractivePetError:
                # the line may be said again
                self.session.undo()
                raise
        save_mask(segmentation, self.out)
        counts = np.bincount(segmentation.mask.ravel(), minlength=max(segmentation.labels) + 1)
        volumes = {label: float(counts[label]) * segmentation.geometry.voxel_volume_ml for label in segmentation.labels}
        seconds = time.perf_counter() - start
        return Answer(volumes, seconds, len(self.session.clicks), self.session.unmet)

    def _turn(self, word: str, numbers: list[str]) -> None:
        if numbers:
            raise InteractionError(f"{word} takes no numbers, found {' '.join(numbers)}; leave them out")
        if word == "reset":
            self.session.reset()
        elif not (self.session.undo() if word == "undo" else self.session.redo()):
            raise InteractionError(f"nothing to {word}")

    def _add(self, word: str, numbers: list[str]) -> None:
        kind = word.removeprefix("+").removeprefix("-")
        n_points = {"": 1, "box": 2, "scribble": max(1, len(numbers) // 3)}.get(kind)
        if n_points is None or word in ("", "+-") or len(numbers) not in (3 * n_points, 3 * n_points + 1):
            raise InteractionError(
                f"cannot read {' '.join([word, *numbers])!r}; expected '+ x y z [label]', '- x y z [label]', 'box' "
                "with six numbers, 'scribble' with three a point, undo, redo, reset or quit"
            )
        points = [self._read_point(numbers[3 * n : 3 * n + 3]) for n in range(n_points)]
        label = _read_label(numbers[-1]) if len(numbers) % 3 else min(self.session.labels)
        is_positive = not word.startswith("-")
        if kind == "box":
            self.session.add_box(*points, label=label, is_positive=is_positive)
        elif kind == "scribble":
            self.session.add_scribble(points, label=label, is_positive=is_positive)
        else:
            self.session.add_click(points[0], label, is_positive=is_positive)

    def _read_point(self, numbers: list[str]) -> tuple[float, float, float]:
        x, y, z = (_read_number(text) for text in numbers)
        x, y, z = to_ras((x, y, z), self.session.case.geometry, frame=self.frame).tolist()
        return (x, y, z)


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

    Raises:
        ManifestError: there are several cases, or the mask would replace the image.
        CaseError: the image is not there or cannot be used, or the mask's ending is unknown.
        MissingArtefactError: no fold is trained.
    """
    if not out.name.lower().endswith(MASK_ENDINGS):
        raise CaseError(f"{out}: unknown ending; expected one of {', '.join(MASK_ENDINGS)}")
    request = make_folder_request(source, image, clicks_folder=None, out=out, reading=reading)
    refuse_pictures_of_volumes(request, _read_plans(source))
    case = request.load_single(channels=read_inputs(source).channels)
    with (
        open_trained_model(source, options, with_corrections=True) as model,
        model.open_session(case, fast=fast) as session,
    ):
        yield Dialogue(session, out, frame)


def _read_plans(source: PredictionSource) -> Plans:
    return source.description.plans if isinstance(source, ModelFolder) else read_plans(source)


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InteractionError(f"{text!r} is no number") from error


def _read_label(text: str) -> int:
    if not text.isdecimal():
        raise InteractionError(f"{text!r} is no label; expected its value, a whole number")
    return int(text)
