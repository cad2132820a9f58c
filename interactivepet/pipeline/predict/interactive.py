"""One image, segmented click by click with a task's results; the mask is on disk after each."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.interactions import to_ras
from interactivepet.errors import CaseError, InteractionError, InteractivePetError
from interactivepet.model.folder import ModelFolder
from interactivepet.pipeline.decisions import read_plans
from interactivepet.pipeline.predict.intensities import check_intensities
from interactivepet.pipeline.predict.models import PredictionOptions, open_models, warn_of_size
from interactivepet.pipeline.predict.prediction import write_case_mask
from interactivepet.pipeline.predict.requests import (
    MASK_ENDINGS,
    PredictionRequest,
    make_folder_request,
    read_inputs,
    refuse_pictures_of_volumes,
)
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.session.session import Session

__all__ = ["Answer", "Dialogue", "open_dialogue", "open_session"]


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
        case: the image.
        entry: its files.
        request: where they come from.
        out: path of the mask.
        frame: of the numbers in lines.
    """

    session: Session
    case: Case
    entry: CaseEntry
    request: PredictionRequest
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
        largest = max(self.session.labels)
        write_case_mask(
            self.out,
            segmentation.mask,
            request=self.request,
            entry=self.entry,
            case=self.case,
            largest_label=largest,
        )
        counts = np.bincount(segmentation.mask.ravel(), minlength=largest + 1)
        volumes = {label: float(counts[label]) * self.case.geometry.voxel_volume_ml for label in self.session.labels}
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
        x, y, z = to_ras((x, y, z), self.case.geometry, frame=self.frame).tolist()
        return (x, y, z)


def open_session(source: PredictionSource, options: PredictionOptions, *, fast: bool = False) -> Session:
    """Load a task's folds and the choice from cross-validation for interactive use.

    Use it in a `with` statement, or call its `close`, where nnInteractive takes part.

    Args:
        source: a task with at least one trained fold, or a model.
        options: folds, mirrored inputs, device, threads and nnInteractive, which takes part if it has a share in the
            choice.
        fast: of the folds, fewer and without mirrored inputs.

    Raises:
        MissingArtefactError: no fold is trained.
        StaleArtefactError: plan, split, folds and choice do not belong together.
    """
    import torch

    torch.set_num_threads(options.n_threads)
    with ExitStack() as stack:
        models = stack.enter_context(open_models(source, options, with_corrections=True))
        check = partial(check_intensities, models=models, any_intensity=options.any_intensity)
        return Session(models, fast=fast, check=check, close=stack.pop_all().close)


def open_dialogue(
    source: PredictionSource,
    image: Path,
    *,
    out: Path,
    options: PredictionOptions,
    frame: PointFrame,
    fast: bool,
    reading: DicomReading | None = None,
) -> Dialogue:
    """Load a task's results and an image.

    Args:
        source: a task with at least one trained fold, or a model.
        image: a file; of several channels `CASE_0000.nii.gz`, the others beside it. Or a folder with one case, such
            as a DICOM series.
        out: path of the mask, with its ending.
        options: as of `open_session`.
        frame: of the numbers in lines.
        fast: as of `open_session`.
        reading: of a folder of DICOM: which series to take, and how.

    Raises:
        ManifestError: there are several cases, or the mask would replace the image.
        CaseError: the image is not there or cannot be used, or the mask's ending is unknown.
        MissingArtefactError: no fold is trained.
    """
    if not out.name.lower().endswith(MASK_ENDINGS):
        raise CaseError(f"{out}: unknown ending; expected one of {', '.join(MASK_ENDINGS)}")
    request = make_folder_request(source, image, clicks_folder=None, out=out, reading=reading)
    plans = _read_plans(source)
    refuse_pictures_of_volumes(request, plans)
    entry = request.entries[0]
    case = request.read(entry, channels=read_inputs(source).channels)
    session = open_session(source, options, fast=fast)
    warn_of_size(case, plans)
    session.set_image(case)
    return Dialogue(session, case, entry, request, out, frame)


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
