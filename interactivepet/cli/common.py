"""What the commands share: arguments, settings, logging, and how an error reaches the user."""

from __future__ import annotations

import argparse
import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from interactivepet.console import open_console
from interactivepet.errors import InteractivePetError, ModelError, SettingsError
from interactivepet.version import __version__

if TYPE_CHECKING:
    from interactivepet.core.time_frame import TimeFrame
    from interactivepet.dataset.click_tables import PointFrame
    from interactivepet.pipeline.predict.trained import PredictionSource
    from interactivepet.pipeline.train.promptable_source import PromptableSource
    from interactivepet.pipeline.train.tracking import TrackerConfig
    from interactivepet.pipeline.workspace import Workspace
    from interactivepet.settings import MachineSettings, Settings

__all__ = [
    "add_device",
    "add_dicom_reading",
    "add_frame",
    "add_processes",
    "add_task",
    "add_task_or_model",
    "brightness",
    "choose_promptable",
    "length_mm",
    "locate_model",
    "make_parser",
    "make_tracker",
    "not_negative",
    "open_source",
    "open_workspace",
    "positive",
    "report_errors",
    "spacing_mm",
    "time_frame",
]


EXTRA_MODULES: dict[str | None, str] = {
    "pydicom": 'pip install "interactivepet[dicom]"',
    "highdicom": 'pip install "interactivepet[dicom]"',
    "distributed": 'pip install "interactivepet[scale]"',
}
"""Packages that only some commands need -> how to get them."""


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """Make a parser named `interactivepet_<command>`."""
    parser = argparse.ArgumentParser(prog=f"interactivepet_{command}", description=description)
    parser.add_argument("--version", action="version", version=f"interactivepet {__version__}")
    return parser


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add `-t`."""
    parser.add_argument(
        "-t",
        "--task",
        help="name of the task's folder; may be left out when interactivepet_task is set or only one is there",
    )


def add_task_or_model(parser: argparse.ArgumentParser) -> None:
    """Add `-t` and `--model`, which exclude each other."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-t",
        "--task",
        help="name of the task's folder; may be left out when interactivepet_task is set or only one is there",
    )
    group.add_argument(
        "--model",
        metavar="FILE|FOLDER|NAME|models:/NAME/VERSION",
        help="a model of interactivepet_export_model, the name of an installed one, or one that is registered in "
        "MLflow (models:/NAME/VERSION or models:/NAME@ALIAS), in place of a task",
    )


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add `-np`."""
    parser.add_argument(
        "-np",
        "--n-proc",
        type=positive,
        help="worker processes (default: interactivepet_n_proc, else the cores, at most 8)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: interactivepet_device, else auto)")


def add_dicom_reading(parser: argparse.ArgumentParser) -> None:
    """Add `--series`, `--time-frame` and `--long-uptake`."""
    parser.add_argument(
        "--series",
        metavar="PATTERN",
        help="PET series to take, by SeriesDescription such as '*TOF*' or by SeriesInstanceUID; '*' takes all",
    )
    parser.add_argument(
        "--time-frame",
        type=time_frame,
        metavar="N|mean|last",
        help="frame of a dynamic or gated image: its number from 1, the mean over time, or the last",
    )
    parser.add_argument(
        "--long-uptake",
        action="store_true",
        help="accept an injection more than six half-lives before the scan (up to a day), or an hour after its start",
    )


def add_frame(parser: argparse.ArgumentParser, *, default: PointFrame, of: str) -> None:
    """Add `--frame`; `of` says in words which numbers it speaks of."""
    parser.add_argument(
        "--frame",
        choices=("lps", "ras", "voxel"),
        default=default,
        help=f"what the numbers are in {of}: mm, or indices of the image (default: {default})",
    )


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return value


def not_negative(text: str) -> int:
    """Parse a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 0")
    return value


def length_mm(text: str) -> float:
    """Parse a length of at least 0 mm."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a length of at least 0 mm")
    return value


def spacing_mm(text: str) -> float:
    """Parse a spacing, which is longer than 0 mm."""
    value = length_mm(text)
    if value == 0:
        raise argparse.ArgumentTypeError("a spacing of 0 mm, expected more")
    return value


def brightness(text: str) -> int:
    """Parse a luminance that bytes can exceed, 0 to 254."""
    value = not_negative(text)
    if value > 254:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 254")
    return value


def time_frame(text: str) -> TimeFrame:
    """Parse `--time-frame`: a frame's number from 1, `mean` or `last`."""
    from interactivepet.core.time_frame import parse_time_frame

    try:
        return parse_time_frame(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a frame's number from 1, mean or last") from error


def let_threads_sleep() -> None:
    """Let OpenMP's idle threads sleep instead of spin, unless the user has chosen; torch must not be loaded yet.

    A spinning thread takes the core that another process needs: beside other work, two threads of torch were measured
    4 to 40 times slower than sleeping ones, and took 5 to 8 times the processor time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def report_errors(run: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Turn the project's own errors into one message and exit status 1; anything else keeps its traceback."""

    @functools.wraps(run)
    def main(argv: Sequence[str] | None = None) -> int:
        let_threads_sleep()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # names of files need not be UTF-8
            sys.stdout.reconfigure(errors="backslashreplace")
        with open_console():
            return _answer(run, argv)

    return main


def _answer(run: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None) -> int:
    """Run a command and give its exit status."""
    try:
        return run(argv)
    except InteractivePetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        shown = error.object.encode(errors="backslashreplace").decode()
        print(f"error: {shown[:300]} is a name that is not UTF-8; rename the file or folder", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}; {_advise(error)}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        print(f"error: {error.name} is not installed; run {EXTRA_MODULES[error.name]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command, without --no-continue, goes on where this one ended", file=sys.stderr)
        return 130


def _advise(error: OSError) -> str:
    """Say what helps against an error of the system."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "make room on this disk, then run the same command again"
        case errno.EFBIG:
            return "the file is larger than this disk or shell (ulimit -f) allows; raise the limit or take another disk"
        case errno.EISDIR:
            return "a file is expected here; name one in this folder"
        case errno.ENOTDIR:
            return "a folder is expected here"
    return "check that the folder is there and can be written"


def open_workspace(task: str | None, settings: Settings) -> Workspace:
    """Find the task named by `-t`, by the settings, or the only one there is."""
    from interactivepet.pipeline.workspace import Workspace, find_task

    name = find_task(settings.raw, task or settings.task)
    return Workspace.of(name, raw=settings.raw, processed=settings.processed, results=settings.results)


@contextmanager
def open_source(task: str | None, model: str | None) -> Iterator[tuple[PredictionSource, MachineSettings]]:
    """Open the model of `--model`, which needs no folder of tasks, or else the task; gives the settings as well."""
    from interactivepet.settings import load_machine_settings, load_settings

    if model is None:
        settings = load_settings()
        yield open_workspace(task, settings), settings
        return
    from interactivepet.model.folder import open_model

    machine = load_machine_settings()
    with locate_model(model, machine) as path, open_model(path) as opened:
        yield opened, machine


@contextmanager
def locate_model(model: str, machine: MachineSettings) -> Iterator[Path]:
    """Find what `--model` names: a file, a folder, an installed model, or a registered one, fetched for the block.

    Raises:
        ModelError: there is none of these.
    """
    from interactivepet.model.installed import find_model
    from interactivepet.tracking.registry import fetch_model, is_registered

    if not is_registered(model):
        yield find_model(model, machine.models)
        return
    with TemporaryDirectory(prefix="interactivepet-model-") as folder:
        yield fetch_model(model, Path(folder), uri=_find_tracking_uri(model, machine))


def _find_tracking_uri(model: str, machine: MachineSettings) -> str:
    """Give the MLflow server of the settings, or else the embedded store of the tasks' results.

    Raises:
        ModelError: the settings name neither.
    """
    from interactivepet.settings import load_settings
    from interactivepet.tracking.mlflow import default_uri

    if machine.mlflow_tracking_uri is not None:
        return machine.mlflow_tracking_uri
    try:
        return default_uri(load_settings().results)
    except SettingsError as error:
        raise ModelError(
            f"{model}: no MLflow store is known; set MLFLOW_TRACKING_URI, or the three folders of tasks for the store "
            "in interactivepet_results"
        ) from error


def make_tracker(workspace: Workspace, settings: Settings) -> TrackerConfig:
    """Choose the MLflow store of the settings."""
    from interactivepet.pipeline.train.tracking import TrackerConfig

    return TrackerConfig.of(workspace.task, results=settings.results, uri=settings.mlflow_tracking_uri)


def choose_promptable(argument: str | None, settings: MachineSettings) -> PromptableSource | None:
    """Choose nnInteractive's model: `--nninteractive` wins over the settings; `off` leaves it out."""
    from interactivepet.pipeline.train.promptable_source import PromptableSource

    if argument == "off":
        return None
    source = argument or settings.nninteractive_url or (str(settings.nninteractive_model or "") or None)
    if source is None:
        return None
    key = settings.nninteractive_api_key
    return PromptableSource(source, key.get_secret_value() if key else None, settings.nninteractive_timeout)
