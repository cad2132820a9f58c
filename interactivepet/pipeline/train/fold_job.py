"""The life cycle of one fold, whatever kind of network it trains: find, train, judge, and write the card last."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from interactivepet.core.checkpoint import TrainingCard
from interactivepet.core.plan import Fold
from interactivepet.core.promptable import FoldName
from interactivepet.dataset.files.write import write_artefact
from interactivepet.errors import ArtefactError, MissingArtefactError, TrainingError
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.checkpoint import has_state, remove_foreign_state, remove_previous, remove_state
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.fold import TrainedFold, assist_fold, hash_inputs, train_fold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.preview import DrawSamples
from interactivepet.training.stop import leave_on_sigterm, wants_more
from interactivepet.training.tasks import TrainingTask

__all__ = ["WEIGHTS_LICENCE", "FoldJob", "complete_fold", "complete_folds"]

logger = logging.getLogger(__name__)

WEIGHTS_LICENCE = "trained on the user's own data: the owner of the data decides on the licence of these weights"

_ONE_AT_A_TIME = threading.Lock()
"""A process has one generator of random weights and one choice of algorithms, and a Dask worker may have threads."""

Card = TypeVar("Card", bound=TrainingCard)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldJob(ABC, Generic[Card]):
    """One fold to train; small enough to be sent to a worker.

    Attributes:
        workspace: paths of the task.
        task: how the fold's kind of network is trained.
        name: number of the fold, or `all`.
        fold: the cases of the fold.
        folder: folder of everything that the fold leaves behind.
        options: options of the run.
        tracker: where the run is tracked.
        parent_run: the tracker's run that this one is shown under.
        ranks: the processes that train the fold together.
        draw_samples: draws the picture of the first batch; None for no picture.
    """

    workspace: Workspace
    task: TrainingTask
    name: FoldName
    fold: Fold
    folder: Path
    options: TrainingOptions
    tracker: TrackerConfig
    parent_run: str | None
    ranks: Ranks = ALONE
    draw_samples: DrawSamples | None = None

    keeps_state: ClassVar[bool]
    """Whether the last state of a complete fold is kept, so that more epochs can follow."""

    @property
    def card_path(self) -> Path:
        """Path of the card."""
        return self.folder / "card.json"

    @property
    def page_path(self) -> Path:
        """Path of the fold's page, if it has one."""
        return self.folder / "summary.html"

    @abstractmethod
    def load(self) -> FoldData:
        """Join the fold with its stored cases."""

    @abstractmethod
    def read_card(self) -> Card:
        """Read the card of a complete fold.

        Raises:
            MissingArtefactError: the fold is not complete.
            ArtefactError: the card is of another plan, another split or another version.
        """

    @abstractmethod
    def judge(self, data: FoldData, trained: TrainedFold, *, tracker: Tracker) -> Card:
        """Predict the validation cases, show the result, and make the card."""

    def withdraw(self) -> None:
        """Remove what says that the fold is complete: the card and the page."""
        self.card_path.unlink(missing_ok=True)
        self.page_path.unlink(missing_ok=True)

    def describe(self, data: FoldData, trained: TrainedFold) -> dict[str, Any]:
        """Give what every card says."""
        return {
            "made_from": self.task.plan.content_hash(),
            "task": self.task.plan.task,
            "training": self.fold.training,
            "validation": self.fold.validation,
            "cases_hash": data.cases_hash,
            "weights_sha256": trained.weights_sha256,
            "device": trained.device,
            "run_id": trained.run_id,
            "epochs": trained.epochs,
        }


def complete_folds(jobs: Sequence[FoldJob[Card]], *, n_workers: int, scheduler: str | None = None) -> list[Card]:
    """Train folds side by side: here, each with a progress bar of its own, or each on another machine."""
    if scheduler is None:
        # below the bar of all folds, and side by side each on its own line
        lines = [1 + (n if n_workers > 1 else 0) for n in range(len(jobs))]
        jobs = [replace(j, options=replace(j.options, progress_position=n)) for j, n in zip(jobs, lines, strict=True)]
    with open_executor(n_workers, scheduler=scheduler) as executor:
        names = [f"fold {job.name}" for job in jobs]
        cards = map_cases(executor, complete_fold, items=jobs, names=names, description="folds")
    return [card for card in cards if card is not None]


def complete_fold(job: FoldJob[Card]) -> Card | None:
    """Train a fold that is not complete, and give its card; None in the processes that assist the first one.

    The card is written last: its presence says that weights and predictions are there.
    """
    if job.options.n_workers and multiprocessing.current_process().daemon:
        raise TrainingError("--workers needs Dask workers that may start processes: start them with --no-nanny")
    with _ONE_AT_A_TIME:
        if not job.ranks.is_first:
            if job.ranks.broadcast(None):
                assist_fold(job.task, job.load(), options=job.options, ranks=job.ranks)
            return None
        with lock_folder(job.folder):
            data = job.load()
            card = _find_complete(job, data)
            job.ranks.broadcast(card is None)
            if card is None:
                tracker = job.tracker.open()
                trained = train_fold(
                    job.task,
                    data,
                    tracker=tracker,
                    options=job.options,
                    parent_run=job.parent_run,
                    ranks=job.ranks,
                    withdraw=job.withdraw,
                    draw_samples=job.draw_samples,
                )
                card = _finish(job, data, trained, tracker=tracker)
            (remove_previous if job.keeps_state else remove_state)(data.checkpoint)
            return card


def _find_complete(job: FoldJob[Card], data: FoldData) -> Card | None:
    """Give the card of a fold that is complete, with this plan and these cases, and is not to be trained further."""
    if not job.options.resume:
        return None
    try:
        card = job.read_card()
    except MissingArtefactError:
        return None
    except ArtefactError as error:
        logger.warning("fold %s is trained anew: %s", job.name, error)
    else:
        if card.cases_hash == data.cases_hash:
            return None if _continues(job, data, card) else card
        logger.warning("fold %s: images, labels, clicks or folds changed since it was trained; training anew", job.name)
    # a state that this plan and these cases left, when a new training was interrupted, stays
    remove_foreign_state(data.checkpoint, made_from=hash_inputs(job.task.plan, data))
    return None


def _continues(job: FoldJob[Card], data: FoldData, card: Card) -> bool:
    """Whether a complete fold is trained further.

    Raises:
        TrainingError: more epochs were asked for, but the last state is gone.
    """
    n_epochs = len(card.epochs)
    if not job.keeps_state or not wants_more(card.epochs, job.options):
        logger.info("fold %s is complete with %d epochs; --no-continue trains it anew", job.name, n_epochs)
        return False
    if not has_state(data.checkpoint):
        raise TrainingError(
            f"fold {job.name} is complete with {n_epochs} epochs and {data.checkpoint} is gone, so it cannot "
            f"go on to {job.options.epochs}; train it anew with --no-continue, or start from its weights with "
            f"--no-continue --pretrained {data.weights}"
        )
    logger.info("fold %s goes on from %d to %d epochs", job.name, n_epochs, job.options.epochs)
    return True


def _finish(job: FoldJob[Card], data: FoldData, trained: TrainedFold, *, tracker: Tracker) -> Card:
    """Judge the weights, write the card, and end the tracker's run."""
    try:
        with leave_on_sigterm():
            card = job.judge(data, trained, tracker=tracker)
    except BaseException:
        tracker.end_run(failed=True)
        raise
    write_artefact(job.card_path, card)
    tracker.end_run()
    return card
