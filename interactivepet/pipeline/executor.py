"""Run a function over many cases: here, in worker processes, or on a Dask cluster."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from interactivepet.console import is_configured, start_console
from interactivepet.errors import InteractivePetError, WorkerError

__all__ = ["InlineExecutor", "WorkerPool", "map_cases", "open_executor"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to 1 in workers: processes times threads would otherwise exceed the cores."""


class InlineExecutor(Executor):
    """Runs each call at once in this process; with one worker, processes would only cost."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` now and give its result, or its exception, as a finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class WorkerPool(Executor):
    """Worker processes that are replaced when one of them is killed, so that what comes next still runs."""

    def __init__(self, n_workers: int) -> None:
        """Start nothing yet: workers start with the first call."""
        self._n_workers = n_workers
        self._pool = self._open()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in a worker; in a new one when the last were killed."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._open()
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers after what they are at."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def terminate(self) -> None:
        """End the workers at once."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()

    def _open(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._n_workers,
            mp_context=get_context("spawn"),
            initializer=_end_with_parent,
            initargs=(is_configured(),),
        )


@contextmanager
def open_executor(n_proc: int, *, scheduler: str | None = None) -> Iterator[Executor]:
    """Open what runs the per-case stages.

    Args:
        n_proc: worker processes on this machine; 1 works in this process.
        scheduler: address of a Dask scheduler, which takes the place of local workers.

    Raises:
        WorkerError: no scheduler answers at the address.
    """
    if scheduler is not None:
        with _open_cluster(scheduler) as executor:
            yield executor
        return
    if n_proc == 1:
        yield InlineExecutor()
        return
    with _one_thread_each(), _open_pool(n_proc) as pool:
        yield pool


@contextmanager
def _open_cluster(scheduler: str) -> Iterator[Executor]:
    from distributed import Client

    try:
        client = Client(scheduler)
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with dask scheduler, or correct the address"
        ) from error
    with client:
        n_workers = len(client.nthreads())
        logger.info("%s has %d workers%s", scheduler, n_workers, "" if n_workers else " yet; waiting for the first")
        yield client.get_executor()


@contextmanager
def _open_pool(n_workers: int) -> Iterator[WorkerPool]:
    pool = WorkerPool(n_workers)
    try:
        yield pool
    except BaseException:
        # Ctrl-C and defects end the work at once: files are written whole or not at all.
        pool.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    previous = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_parent(has_console: bool) -> None:
    """Let a worker end at once when its parent is killed: an orphan would go on writing beside the next run.

    Args:
        has_console: the parent logs to standard error, so the worker does too.
    """
    if has_console:
        start_console()
    # Ctrl-C reaches every process of the terminal; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def map_cases(
    executor: Executor,
    function: Callable[[Item], Result],
    *,
    items: Sequence[Item],
    names: Sequence[str],
    description: str,
    estimate_gb: Callable[[Item], float] | None = None,
) -> list[Result]:
    """Apply a function to every item; a case that fails does not stop the others.

    When the workers of a `WorkerPool` are killed, most likely for lack of memory, the cases that they were at are
    done again alone, one at a time in a worker of their own, and the others as before.

    Args:
        executor: of `open_executor`.
        function: a module-level function of one item.
        items: what to work on.
        names: of the items, for messages.
        description: of the progress bar.
        estimate_gb: what an item needs, to tell when its worker is killed.

    Returns:
        One result an item, in their order.

    Raises:
        InteractivePetError: of the type of the first failure; the message lists every case that failed.
        RuntimeError: the same, when at least one failure is a defect and none of the project's own errors.
    """
    with tqdm(total=len(items), desc=description, unit="case", dynamic_ncols=True) as bar:
        work = _Work(function, items, names, description, estimate_gb, bar)
        waiting = list(range(len(items)))
        while waiting:
            killed, waiting = work.run(executor, waiting)
            if killed:
                logger.warning(
                    "%s: a worker was killed, most likely for lack of memory, at %s; each is tried again alone",
                    description,
                    ", ".join(work.describe(index) for index in killed),
                )
            for index in killed:
                work.run_alone(index)
    work.raise_failures()
    return [work.results[index] for index in range(len(items))]


class _Work(Generic[Item, Result]):
    """What was asked for, and what became of it so far."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        names: Sequence[str],
        description: str,
        estimate_gb: Callable[[Item], float] | None,
        bar: Any,
    ) -> None:
        self.results: dict[int, Result] = {}
        self._failures: dict[int, BaseException] = {}
        self._function = function
        self._items = items
        self._names = names
        self._description = description
        self._estimate_gb = estimate_gb
        self._bar = bar

    def run(self, executor: Executor, indices: Sequence[int]) -> tuple[list[int], list[int]]:
        """Run items side by side; give those that a killed worker was at, and those that never began."""
        lost: list[int] = []
        with tempfile.TemporaryDirectory(prefix="interactivepet-") as folder:
            futures: dict[Future[Result], int] = {}
            for index in indices:
                call: Callable[[Item], Result] = self._function
                if isinstance(executor, WorkerPool):
                    call = partial(_call_marked, self._function, Path(folder) / str(index))
                futures[executor.submit(call, self._items[index])] = index
            for future in as_completed(futures):
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(futures[future])
                else:
                    self._keep(futures[future], future)
            # A worker that is killed leaves its mark. Without any it died before its first case: all are suspect.
            begun = [index for index in sorted(lost) if (Path(folder) / str(index)).exists()] or sorted(lost)
        return begun, sorted(set(lost) - set(begun))

    def run_alone(self, index: int) -> None:
        """Run one item with the machine to itself."""
        with _open_pool(1) as pool:
            future = pool.submit(self._function, self._items[index])
            if isinstance(future.exception(), BrokenProcessPool):
                future = Future()
                future.set_exception(
                    WorkerError(
                        f"its worker was killed twice, the second time alone: {self.describe(index)}. Most likely the "
                        "memory does not suffice: close other programs, use a machine with more, or plan for less (a "
                        "smaller --budget to train with, a coarser spacing to preprocess with)"
                    )
                )
            self._keep(index, future)

    def describe(self, index: int) -> str:
        """Name a case, with what it needs where that can be told."""
        if self._estimate_gb is None:
            return self._names[index]
        try:
            return f"{self._names[index]} (needs about {self._estimate_gb(self._items[index]):.1f} GB)"
        except InteractivePetError:
            return self._names[index]

    def raise_failures(self) -> None:
        """Raise one error for all cases that failed."""
        if not self._failures:
            return
        lines = [f"{self._names[index]}: {_describe(error)}" for index, error in sorted(self._failures.items())]
        message = f"{self._description} failed for {len(lines)} of {len(self._items)} cases:\n" + "\n".join(lines)
        for _, error in sorted(self._failures.items()):
            if not isinstance(error, InteractivePetError):
                raise RuntimeError(message) from error
        raise type(self._failures[min(self._failures)])(message)

    def _keep(self, index: int, future: Future[Result]) -> None:
        error = future.exception()
        if error is None:
            self.results[index] = future.result()
        else:
            self._failures[index] = error
            if not isinstance(error, InteractivePetError):
                logger.error("%s: %s failed", self._names[index], self._description, exc_info=error)
        self._bar.update()


def _call_marked(function: Callable[[Item], Result], mark: Path, item: Item) -> Result:
    """Call a function with a file there as long as it runs."""
    mark.touch()
    try:
        return function(item)
    finally:
        mark.unlink(missing_ok=True)


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, InteractivePetError) else f"{type(error).__name__}: {error}"
