"""Systems that a simulated user can correct: networks, nnInteractive, both, a classical method, another program."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.classical import CLASSICAL_METHODS, ClassicalMethod
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.errors import MissingArtefactError, ModelError, SegmenterError
from interactivepet.inference.classical.segmenter import ClassicalSegmenter
from interactivepet.inference.segmenter import Segmenter
from interactivepet.model.folder import ModelFolder
from interactivepet.networks.precision import choose_device
from interactivepet.nninteractive.ordered import OrderedSegmenter
from interactivepet.pipeline.decisions import read_plans
from interactivepet.pipeline.judge.program import run_program
from interactivepet.pipeline.predict.intensities import check_intensities
from interactivepet.pipeline.predict.models import Models, PredictionOptions, find_promptable, open_models
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.session.session import Session

__all__ = ["PLACEHOLDERS", "MaskSegmenter", "SystemKind", "check_command", "open_system"]

LabelMap = npt.NDArray[np.uint8]

SystemKind = Literal["ours", "nninteractive", "ensemble", "classical", "command"]

PLACEHOLDERS = ("image", "clicks", "mask")
"""What a command line must have in braces: the image's files, the click file to read, the mask to write."""

_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")

BINARY_THRESHOLD = 0.5
"""Of a system without a rule of its own."""


class MaskSegmenter(Protocol):
    """Anything that answers clicks with a mask, and may look at the mask that it gave before."""

    @property
    def description(self) -> str:
        """Names and licences."""
        ...

    def segment(self, case: Case, clicks: Sequence[Click], previous: LabelMap | None) -> LabelMap:
        """Segment a case.

        Args:
            case: the scan without its label.
            clicks: all that were placed so far, in RAS+ mm, oldest first.
            previous: (I, J, K) the mask that the newest of them correct, which this system gave; None at the start.

        Returns:
            (I, J, K) uint8 of label values on the case's own grid.
        """
        ...


@contextmanager
def open_system(
    source: PredictionSource,
    images: Sequence[Path],
    *,
    kind: SystemKind,
    command: str,
    options: PredictionOptions,
    fast: bool = False,
    method: ClassicalMethod | None = None,
) -> Iterator[MaskSegmenter]:
    """Open what answers for one case.

    Args:
        source: a task, or a model.
        images: files of the case.
        kind: `ours` is an interactive session with the choice from cross-validation without nnInteractive, or with the
            default configuration's folds where nothing was chosen; `ensemble` is the choice as it stands;
            `classical` needs neither plan nor folds.
        command: of another program, with `PLACEHOLDERS`.
        options: the folds that answer, device, threads and nnInteractive.
        fast: of our own networks, fewer folds and no mirrored inputs.
        method: of the kind `classical`.

    Raises:
        MissingArtefactError: no fold is trained, or nothing was chosen yet.
        ModelError: the model holds no choice, which `ensemble` needs.
        SegmenterError: there is no nnInteractive to ask, or the command lacks a placeholder.
    """
    if kind == "command":
        check_command(command)
        yield _Command(command, tuple(images))
        return
    channels, labels = _read_names(source)
    if method is not None:
        yield _Rule(ClassicalSegmenter(method, labels, channels[0]))
        return
    if kind == "nninteractive":
        with _open_promptable(source, labels, options=options) as segmenter:
            yield _Promptable(segmenter)
        return
    if kind == "ensemble":
        _check_choice(source)
    import torch

    torch.set_num_threads(options.n_threads)
    options = options if kind == "ensemble" else replace(options, promptable=None, own_promptable=False)
    with open_models(source, options, with_corrections=True) as models:
        yield _OurSession(models, fast=fast, any_intensity=options.any_intensity)


def _read_names(source: PredictionSource) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Read channels and label values."""
    if isinstance(source, ModelFolder):
        plans = source.description.plans
        return plans.channels, tuple(sorted(plans.labels.values()))
    manifest = read_manifest(source.raw)
    return manifest.channels, manifest.label_values


@contextmanager
def _open_promptable(
    source: PredictionSource, labels: Sequence[int], *, options: PredictionOptions
) -> Iterator[Segmenter]:
    """Open nnInteractive alone, which sees cases as the networks do."""
    with find_promptable(source, options) as found:
        if found is None:
            raise SegmenterError("no nnInteractive to ask; name its model folder or server with --nninteractive")
        device = str(choose_device(options.device))
        with found.open(labels=labels, device=device, n_threads=options.n_threads) as segmenter:
            yield _order_axes(source, segmenter)


def _check_choice(source: PredictionSource) -> None:
    if isinstance(source, ModelFolder):
        if source.description.rule is None:
            raise ModelError(f"{source.source} holds no choice from cross-validation; take --segmenter ours")
    elif not source.ensemble.is_file():
        raise MissingArtefactError(
            f"{source.ensemble} is not there; run `interactivepet_postprocessing -t {source.task}` first"
        )


def _order_axes(source: PredictionSource, segmenter: Segmenter) -> Segmenter:
    """Let a segmenter see cases as the networks do; a task that was not planned has no order."""
    if isinstance(source, ModelFolder):
        plans = source.description.plans
    elif source.plans.is_file():
        plans = read_plans(source)
    else:
        return segmenter
    return OrderedSegmenter(segmenter, plans.plan(plans.default))


def check_command(command: str) -> None:
    """Refuse a command line that cannot be told what to segment or where to put it.

    Raises:
        SegmenterError: a placeholder is missing, a quotation is open, or there is no such program.
    """
    missing = [f"{{{name}}}" for name in PLACEHOLDERS if f"{{{name}}}" not in command]
    if missing:
        raise SegmenterError(
            f"{command!r} is none of ours, nninteractive, ensemble, {', '.join(CLASSICAL_METHODS[:-1])} and "
            f"{CLASSICAL_METHODS[-1]}, and as a command line it lacks {' and '.join(missing)}; expected one of these "
            "names, or such as 'segment.sh {image} {clicks} {mask}'"
        )
    try:
        program = shlex.split(command)[0]
    except ValueError as error:
        raise SegmenterError(f"{command!r} cannot be split into words ({error}); close the quotation") from error
    if shutil.which(program) is None:
        raise SegmenterError(f"{command!r}: there is no program {program}; give its path, and the right to run it")


@dataclass(frozen=True, slots=True, eq=False)
class _Promptable:
    """nnInteractive alone."""

    segmenter: Segmenter

    @property
    def description(self) -> str:
        return f"nnInteractive {self.segmenter.name} ({self.segmenter.licence})"

    def segment(self, case: Case, clicks: Sequence[Click], previous: LabelMap | None) -> LabelMap:
        del previous
        return to_segmentation(self.segmenter.segment(case, clicks), threshold=BINARY_THRESHOLD).mask


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A classical method."""

    segmenter: ClassicalSegmenter

    @property
    def description(self) -> str:
        return self.segmenter.description

    def segment(self, case: Case, clicks: Sequence[Click], previous: LabelMap | None) -> LabelMap:
        del previous
        return to_segmentation(self.segmenter.segment(case, clicks), threshold=BINARY_THRESHOLD).mask


class _OurSession:
    """An interactive session of the trained folds and of nnInteractive, where the choice gave it a share."""

    def __init__(self, models: Models, *, fast: bool, any_intensity: bool) -> None:
        self._models = models
        check = partial(check_intensities, models=models, any_intensity=any_intensity)
        self._session = Session(models, fast=fast, check=check)
        self._case: Case | None = None

    @property
    def description(self) -> str:
        return self._models.description

    def segment(self, case: Case, clicks: Sequence[Click], previous: LabelMap | None) -> LabelMap:
        # a session remembers what it answered
        del previous
        if case is not self._case:
            self._session.set_image(case)
            self._case = case
        self._session.add_clicks(clicks[len(self._session.clicks) :])
        return self._session.segment().mask


@dataclass(frozen=True, slots=True, eq=False)
class _Command:
    """Another program, started for every answer."""

    command: str
    images: tuple[Path, ...]

    @property
    def description(self) -> str:
        return f"command {self.command}"

    def segment(self, case: Case, clicks: Sequence[Click], previous: LabelMap | None) -> LabelMap:
        del previous
        with TemporaryDirectory(prefix="interactivepet-") as folder:
            click_file, mask_file = Path(folder) / "clicks.mrk.json", Path(folder) / "mask.nii.gz"
            write_clicks(click_file, clicks)
            files = {
                "image": [str(path) for path in self.images],
                "clicks": [str(click_file)],
                "mask": [str(mask_file)],
            }
            done = run_program(_fill(self.command, files))
            if done.returncode != 0 or not mask_file.is_file():
                told = (done.stderr or done.stdout).strip()[-500:] or "nothing"
                raise SegmenterError(
                    f"{case.id}: {self.command!r} ended with {done.returncode} and "
                    f"{'a' if mask_file.is_file() else 'no'} mask, expected 0 and a mask; it said: {told}"
                )
            mask, geometry = read_mask(mask_file)
        if not geometry.matches(case.geometry):
            found = describe_mismatch("its mask", geometry, other_name="image", other=case.geometry)
            raise SegmenterError(f"{case.id}: {self.command!r}: {found}; answer on the image's own grid")
        return mask


def _fill(command: str, files: dict[str, list[str]]) -> list[str]:
    """Give the words of a command line; `{image}` as a word of its own becomes a word for each channel's file."""
    words: list[str] = []
    for word in shlex.split(command):
        whole = _PLACEHOLDER.fullmatch(word)
        words += files[whole[1]] if whole else [_PLACEHOLDER.sub(lambda found: files[found[1]][0], word)]
    return words
