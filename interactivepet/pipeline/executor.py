"""Run a function over many cases: here, in worker processes, or on a Dask cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from tqdm import tqdm

from interactivepet.errors import InteractivePetError, WorkerError

__all__ = ["InlineExecutor", "map_cases", "open_executor"]

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


@contextmanager
def open_executor(n_proc: int, *, scheduler: str | None = None) -> Iterator[Executor]:
    """Open what runs the per-case stages.

    Args:
        n_proc: worker processes on this machine; 1 works in this process.
        scheduler: address of a Dask scheduler, which takes the place of local workers.
    """
    if scheduler is not None:
        from distributed import Client

        with Client(scheduler) as client:
            yield client.get_executor()
        return
    if n_proc == 1:
        yield InlineExecutor()
        return
    previous = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        pool = ProcessPoolExecutor(n_proc, mp_context=get_context("spawn"), initializer=_end_with_parent)
        try:
            yield pool
        except BaseException:
            # Ctrl-C and defects end the work at once: files are written whole or not at all.
            for process in list(pool._processes.values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    finally:
        for name, value in previous.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """Let a worker end at once when its parent is killed: an orphan would go on writing beside the next run."""
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
) -> list[Result]:
    """Apply a function to every item; a case that fails does not stop the others.

    Args:
        executor: of `open_executor`.
        function: a module-level function of one item.
        items: what to work on.
        names: of the items, for messages.
        description: of the progress bar.

    Returns:
        One result an item, in their order.

    Raises:
        InteractivePetError: of the type of the first failure; the message lists every case that failed.
    """
    results: dict[int, Result] = {}
    failures: dict[int, Exception] = {}
    with tqdm(total=len(items), desc=description, unit="case", dynamic_ncols=True) as bar:
        futures: dict[Future[Result], int] = {}
        for index, item in enumerate(items):
            future = executor.submit(function, item)
            future.add_done_callback(lambda _: bar.update())
            futures[future] = index
        for future in as_completed(futures):
            index, error = futures[future], future.exception()
            if error is None:
                results[index] = future.result()
            elif isinstance(error, BrokenProcessPool):
                raise WorkerError(
                    f"{description}: a worker process was killed, most likely for lack of memory, at or before "
                    f"{names[index]}; run the command again with fewer workers, such as -np 1"
                ) from error
            elif isinstance(error, InteractivePetError):
                failures[index] = error
            else:
                raise RuntimeError(f"{names[index]}: {description} failed") from error
    if failures:
        lines = [f"{names[index]}: {failures[index]}" for index in sorted(failures)]
        first = failures[min(failures)]
        raise type(first)(f"{description} failed for {len(lines)} of {len(items)} cases:\n" + "\n".join(lines))
    return [results[index] for index in range(len(items))]
