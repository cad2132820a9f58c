"""Clicks for one image, read from standard input line by line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from interactivepet.errors import InteractivePetError

if TYPE_CHECKING:
    from interactivepet.pipeline.predict.interactive import Answer, Dialogue
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.pipeline.predict.trained import PredictionSource

__all__ = ["add_dialogue", "check_dialogue", "run_dialogue"]


def add_dialogue(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of interactive use."""
    parser.add_argument(
        "--interactive", action="store_true", help="segment the image -i by lines of standard input, mask -o after each"
    )
    parser.add_argument("--fast", action="store_true", help="with --interactive: fewer folds, no mirrored inputs")


def check_dialogue(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments that interactive use has no place for."""
    if arguments.images is None or arguments.out is None or arguments.interactions is not None:
        parser.error("--interactive needs -i IMAGE and -o MASK, and reads clicks from standard input only")
    if arguments.save_probabilities:
        parser.error("--save-probabilities does not go with --interactive; predict with -in CLICKS instead")


def run_dialogue(
    arguments: argparse.Namespace, source: PredictionSource, *, options: PredictionOptions, lines: Iterable[str]
) -> int:
    """Answer every line with one line: volumes, time and clicks, or what was wrong with it."""
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.predict.interactive import open_dialogue

    with open_dialogue(
        source,
        arguments.images,
        out=arguments.out,
        options=options,
        frame=arguments.frame or "ras",
        fast=arguments.fast,
        reading=DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake),
    ) as dialogue:
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


def _answer(dialogue: Dialogue, line: str) -> str:
    try:
        return _describe(dialogue.run_line(line))
    except (InteractivePetError, OSError) as error:
        return f"error: {error}"


def _describe(answer: Answer) -> str:
    only = len(answer.volumes_ml) == 1
    volumes = ", ".join(f"{ml:.2f} ml" if only else f"{label}: {ml:.2f} ml" for label, ml in answer.volumes_ml.items())
    unmet = "; ".join(
        f"{'+' if click.is_positive else '-'} {' '.join(f'{mm:g}' for mm in click.position_mm)} {click.label}"
        for click in answer.unmet
    )
    return f"{volumes}, {answer.seconds:.2f} s, {answer.n_clicks} clicks, unmet: {unmet or 'none'}"
