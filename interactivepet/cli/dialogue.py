"""Clicks for one image: of arguments, or read from standard input line by line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.errors import InteractivePetError

if TYPE_CHECKING:
    from interactivepet.core.interaction import Click
    from interactivepet.pipeline.predict.interactive import Answer, Dialogue
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.pipeline.predict.trained import PredictionSource
    from interactivepet.pipeline.workspace import Workspace

__all__ = ["add_dialogue", "check_dialogue", "run_classical_clicks", "run_clicks", "run_dialogue"]


def add_dialogue(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of interactive use."""
    parser.add_argument(
        "--click",
        metavar="LINE",
        action="append",
        default=[],
        help="segment the image -i with this click, such as '+ x y z'; may be repeated. A line of --interactive",
    )
    parser.add_argument(
        "--interactive", action="store_true", help="segment the image -i by lines of standard input, mask -o after each"
    )
    parser.add_argument(
        "--fast", action="store_true", help="with --interactive or --click: fewer folds, no mirrored inputs"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="of one image: also draw its mask and clicks on three planes and a maximum-intensity projection",
    )


def check_dialogue(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments that interactive use has no place for."""
    name = "--interactive" if arguments.interactive else "--click"
    if arguments.interactive and arguments.click:
        parser.error("--interactive reads clicks from standard input; leave --click out")
    if arguments.images is None or arguments.out is None or arguments.interactions is not None:
        parser.error(f"{name} needs -i IMAGE and -o MASK, and takes no click files; leave -in out")
    if arguments.save_probabilities:
        parser.error(f"--save-probabilities does not go with {name}; predict with -in CLICKS instead")


def run_dialogue(
    arguments: argparse.Namespace, source: PredictionSource, *, options: PredictionOptions, lines: Iterable[str]
) -> int:
    """Answer every line with one line: volumes, time and clicks, or what was wrong with it."""
    with _open(arguments, source, options) as dialogue:
        case = dialogue.session.case
        size = " x ".join(f"{n}" for n in case.geometry.shape)
        spacing = " x ".join(f"{mm:.3g}" for mm in case.geometry.spacing_mm)
        print(f"ready: {case.id}, {size} voxels of {spacing} mm", flush=True)
        for line in lines:
            if line.strip() == "quit":
                break
            if line.strip():
                print(_answer(dialogue, line), flush=True)
    return 0


def run_clicks(arguments: argparse.Namespace, source: PredictionSource, *, options: PredictionOptions) -> int:
    """Segment one image with the clicks of `--click`."""
    with _open(arguments, source, options) as dialogue:
        answer = dialogue.run_clicks(arguments.click)
    print(f"{arguments.out}: {_describe(answer)}")
    return 0


def run_classical_clicks(arguments: argparse.Namespace, workspace: Workspace) -> int:
    """Segment one image with the clicks of `--click` and a method without training."""
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.predict.classical import run_classical_lines
    from interactivepet.pipeline.predict.interactive import measure_volumes
    from interactivepet.pipeline.predict.pictures import with_picture
    from interactivepet.pipeline.predict.requests import make_folder_request

    reading = DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake)
    request = make_folder_request(workspace, arguments.images, clicks_folder=None, out=arguments.out, reading=reading)
    found = run_classical_lines(
        workspace,
        with_picture(request, arguments.picture),
        lines=arguments.click,
        method=arguments.segmenter,
        frame=arguments.frame or "ras",
    )
    print(f"{request.path(request.entries[0])}: {_describe_volumes(measure_volumes(found))}, by {arguments.segmenter}")
    return 0


def _open(
    arguments: argparse.Namespace, source: PredictionSource, options: PredictionOptions
) -> AbstractContextManager[Dialogue]:
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.predict.interactive import open_dialogue

    return open_dialogue(
        source,
        arguments.images,
        out=arguments.out,
        options=options,
        frame=arguments.frame or "ras",
        fast=arguments.fast,
        reading=DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake),
        picture=arguments.picture,
    )


def _answer(dialogue: Dialogue, line: str) -> str:
    try:
        return _describe(dialogue.run_line(line))
    except (InteractivePetError, OSError) as error:
        return f"error: {error}"


def _describe(answer: Answer) -> str:
    volumes, unmet = _describe_volumes(answer.volumes_ml), _describe_clicks(answer.unmet)
    return f"{volumes}, {answer.seconds:.2f} s, {answer.n_clicks} clicks, unmet: {unmet or 'none'}"


def _describe_volumes(volumes_ml: Mapping[int, float]) -> str:
    only = len(volumes_ml) == 1
    return ", ".join(f"{ml:.2f} ml" if only else f"{label}: {ml:.2f} ml" for label, ml in volumes_ml.items())


def _describe_clicks(clicks: Sequence[Click]) -> str:
    return "; ".join(
        f"{'+' if click.is_positive else '-'} {' '.join(f'{mm:g}' for mm in click.position_mm)} {click.label}"
        for click in clicks
    )
