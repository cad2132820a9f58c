"""Train one fold so that it can be stopped and continued anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from interactivepet.core.checkpoint import EpochRecord, Pretraining
from interactivepet.core.promptable import TrainablePlan
from interactivepet.errors import TrainingError
from interactivepet.networks.build import build_network
from interactivepet.networks.precision import describe_device
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.checkpoint import (
    TrainingState,
    has_state,
    load_state,
    read_tensors,
    remove_state,
    save_state,
    save_weights,
)
from interactivepet.training.distributed import ALONE, Ranks, use_device
from interactivepet.training.engine import make_engine, share_engine
from interactivepet.training.epochs import Run, run_epochs
from interactivepet.training.failures import explain_failure
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.preview import DrawSamples, draw_first_batch
from interactivepet.training.reproducibility import choose_algorithms, seed_torch
from interactivepet.training.stop import Interruption, find_best, listen, wants_more
from interactivepet.training.tasks import TrainingTask

__all__ = ["TrainedFold", "assist_fold", "hash_inputs", "train_fold"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedFold:
    """What training leaves behind besides files.

    Attributes:
        epochs: one record an epoch.
        weights_sha256: of `weights.pt`.
        device: that trained it.
        run_id: of the tracker.
        pretrained: the model that training started from; None for random weights.
    """

    epochs: tuple[EpochRecord, ...]
    weights_sha256: str
    device: str
    run_id: str | None
    pretrained: Pretraining | None = None


def train_fold(
    task: TrainingTask,
    data: FoldData,
    *,
    tracker: Tracker,
    options: TrainingOptions,
    parent_run: str | None = None,
    ranks: Ranks = ALONE,
    withdraw: Callable[[], None] = lambda: None,
    draw_samples: DrawSamples | None = None,
) -> TrainedFold:
    """Train one fold, or continue it where it was interrupted.

    After every epoch the whole state is written atomically; a kill costs at most the epoch under way. The
    checkpoint stays until the caller has made use of the weights.

    Args:
        task: how the fold's kind of network is trained.
        data: the fold.
        tracker: told about every epoch, never asked; its run stays open for the caller's validation.
        options: of this run.
        parent_run: the tracker's run that this one is shown under.
        ranks: the processes that share each batch, of which this is the first; the others call `assist_fold`.
        withdraw: takes back what says that the fold is complete. It is called when the fold starts anew, after the
            weights to start from were found good, and before the weights are replaced.
        draw_samples: draws the picture of a new fold's first batch for the tracker; None leaves it out.

    Raises:
        StaleArtefactError: the checkpoint was made with another plan or other cases.
        TrainingError: the checkpoint is damaged, the loss is not finite, or memory does not suffice.
        KeyboardInterrupt: Ctrl-C ended the run after an iteration.
        SystemExit: SIGTERM did.
    """
    with _open_run(task, data, options=options, ranks=ranks) as run:
        device = describe_device(run.engine.device)
        run.run_id = tracker.start_run(
            f"fold_{data.index}",
            parent=parent_run,
            run_id=run.run_id,
            tags={
                "task": run.plan.task,
                "configuration": run.plan.configuration,
                "fold": str(data.index),
                "device": device,
            },
        )
        if not options.resume:
            withdraw()
        if not run.done:
            tracker.log_parameters(_list_parameters(run))
        try:
            _train(run, tracker, draw_samples=draw_samples)
            run.agree(1.0)
        except BaseException as error:
            tracker.end_run(failed=True)
            _report_failure(run, error)
            raise
        if options.keep == "best":
            run.engine.result.load_state_dict(read_tensors(data.best_weights))
        withdraw()
        sha256 = save_weights(data.weights, run.engine.result)
    return TrainedFold(tuple(run.done), sha256, device, run.run_id, run.pretrained)


def assist_fold(task: TrainingTask, data: FoldData, *, options: TrainingOptions, ranks: Ranks) -> None:
    """Train a fold along with the first process, which alone validates, writes and tracks.

    Args:
        task: as of `train_fold`.
        data: likewise.
        options: likewise, but for the device.
        ranks: the processes that share each batch.

    Raises:
        Exception: as `train_fold` does.
    """
    with _open_run(task, data, options=options, ranks=ranks) as run:
        try:
            for record in run_epochs(run):
                run.done.append(record)
            run.agree(1.0)
        except BaseException as error:
            _report_failure(run, error)
            raise


@contextmanager
def _open_run(task: TrainingTask, data: FoldData, *, options: TrainingOptions, ranks: Ranks) -> Iterator[Run]:
    """Prepare torch and a run that notes signals within the block."""
    if options.n_threads is not None:
        torch.set_num_threads(options.n_threads)
    with choose_algorithms(deterministic=options.deterministic), listen() as interruption:
        run = _make_run(task, data, options=options, interruption=interruption)
        ranks.wait()
        # not before the weights to start from were found good: a fold is given up only for another
        if not options.resume and ranks.is_first:
            remove_state(data.checkpoint)
            data.best_weights.unlink(missing_ok=True)
        (most,) = ranks.agree(len(run.done))
        if len(run.done) < most:
            raise TrainingError(
                f"fold {data.index}: process {ranks.rank} finds {len(run.done)} finished epochs in {data.checkpoint}, "
                f"another one {most:.0f}; all machines need the same folder of results"
            )
        run.engine = share_engine(run.engine, task.plan, ranks=ranks)
        yield run


def _make_run(task: TrainingTask, data: FoldData, *, options: TrainingOptions, interruption: Interruption) -> Run:
    """Make the network with random or given weights, or with those of the interrupted fold."""
    seed_torch(options.seed, data.index)
    network = build_network(task.plan.network, deep_supervision=True)
    is_new = not options.resume or not has_state(data.checkpoint)
    if not is_new and options.pretrained is not None:
        logger.warning(
            "fold %d goes on where it was, so --pretrained is ignored; --no-continue starts from it", data.index
        )
    first = task.set_first_weights(network, pretrained=options.pretrained) if is_new else None
    if first is not None:
        logger.info("fold %d starts from %s", data.index, first.words)
    device = use_device(options.device)
    engine = make_engine(network, task.plan, device=device, compile_network=options.compile_network)
    run = Run(engine, task, data, options, interruption, [], None, pretrained=first.pretrained if first else None)
    if not is_new:
        _restore(run)
    return run


def _restore(run: Run) -> None:
    state = load_state(run.data.checkpoint, made_from=hash_inputs(run.plan, run.data))
    engine = run.engine
    engine.network.load_state_dict(state.network)
    engine.optimizer.load_state_dict(dict(state.optimizer))
    if engine.average is not None:
        engine.average.load_state_dict(state.average)
    # empty when the epochs before ran on a device that needs no scaling
    if state.scaler:
        engine.scaler.load_state_dict(dict(state.scaler))
    run.done, run.run_id, run.pretrained = list(state.epochs), state.run_id, state.pretrained
    # the options that ended it need not be given again
    run.ended = state.ended and not wants_more(state.epochs, run.options)
    words = "had ended after %d epochs, and only -e trains it further" if run.ended else "continues after epoch %d"
    logger.info(f"fold %d {words}", run.data.index, len(run.done))


def _train(run: Run, tracker: Tracker, *, draw_samples: DrawSamples | None) -> None:
    """Train the epochs that are still to do and keep everything after each."""
    if not run.done and draw_samples is not None:
        tracker.log_picture("batches/epoch_000.png", draw_first_batch(run, draw_samples))
    for record in run_epochs(run):
        run.done.append(record)
        if find_best(run.done) == len(run.done) - 1:
            save_weights(run.data.best_weights, run.engine.result)
        save_state(run.data.checkpoint, _snapshot(run))
        busy = {} if run.utilisation is None else {"utilisation": run.utilisation}
        tracker.log_metrics({**_metrics(record, run.plan), **busy}, step=record.epoch)


def _report_failure(run: Run, error: BaseException) -> None:
    """Turn what ended the run into an error that says what to do, or into the signal that asked for it.

    Raises:
        TrainingError: memory ran out, or the loss is not finite.
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: another signal came.
    """
    where = f"{run.plan.task} fold {run.data.index}"
    if run.interruption.number is not None:
        logger.warning("%s: ended; its %d whole epochs are in %s", where, len(run.done), run.data.checkpoint)
        if isinstance(error, KeyboardInterrupt):
            # torchrun ends all once one is gone, and the first may still be closing its tracker
            run.engine.ranks.wait()
        run.interruption.leave()
    explanation = explain_failure(error, run.plan, device=run.engine.device)
    if explanation is not None:
        raise TrainingError(f"{where}: {explanation}") from error


def hash_inputs(plan: TrainablePlan, data: FoldData) -> str:
    """Hash what a fold is trained with: a state of anything else is not gone on from."""
    return f"{plan.content_hash()}-{data.cases_hash}"


def _snapshot(run: Run) -> TrainingState:
    engine = run.engine
    return TrainingState(
        made_from=hash_inputs(run.plan, run.data),
        epochs=tuple(run.done),
        ended=run.is_over,
        network=engine.network.state_dict(),
        average={} if engine.average is None else engine.average.state_dict(),
        optimizer=engine.optimizer.state_dict(),
        scaler=engine.scaler.state_dict(),
        run_id=run.run_id,
        pretrained=run.pretrained,
    )


def _list_parameters(run: Run) -> dict[str, object]:
    """List what the run follows and starts from."""
    plan = run.plan.model_dump(mode="json", exclude={"reasons"})
    start = {} if run.pretrained is None else {"pretrained": run.pretrained.model_dump(exclude={"licence"})}
    return {**plan, "patients": run.options.patients or "all", **start}


def _metrics(record: EpochRecord, plan: TrainablePlan) -> dict[str, float]:
    names = sorted(plan.labels, key=lambda name: plan.labels[name])
    dice = {f"pseudo_dice_{n}": d for n, d in zip(names, record.pseudo_dice, strict=True) if d is not None}
    return {**record.model_dump(exclude={"epoch", "pseudo_dice", "seconds"}), "epoch_seconds": record.seconds, **dice}
