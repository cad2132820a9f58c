"""`interactivepet_predict`: masks for new images, on each image's own grid."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_dicom_reading,
    add_task_or_model,
    choose_promptable,
    make_parser,
    open_source,
    report_errors,
)
from interactivepet.cli.dialogue import (
    add_dialogue,
    check_dialogue,
    run_classical_clicks,
    run_clicks,
    run_dialogue,
)
from interactivepet.cli.postprocessing import add_promptable
from interactivepet.core.classical import CLASSICAL_METHODS

if TYPE_CHECKING:
    from interactivepet.core.prediction_log import PredictionLog
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.pipeline.predict.requests import PredictionRequest
    from interactivepet.pipeline.predict.trained import PredictionSource
    from interactivepet.settings import MachineSettings

__all__ = ["add_any_intensity", "add_prediction", "main", "make_prediction_options"]


def add_prediction(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `interactivepet_test` shares."""
    parser.add_argument(
        "--folds", type=int, nargs="+", default=[], help="folds to average (default: all complete ones)"
    )
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average over mirrored inputs (default: yes)",
    )
    parser.add_argument("--save-probabilities", action="store_true", help="also write each label's probability")
    add_any_intensity(parser)
    add_promptable(parser)
    add_device(parser)


def add_any_intensity(parser: argparse.ArgumentParser) -> None:
    """Add `--any-intensity`."""
    parser.add_argument(
        "--any-intensity",
        action="store_true",
        help="predict images that seem to be in another unit than the training cases",
    )


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("predict", "Predict images with the trained folds; without paths, those in imagesTs.")
    add_task_or_model(parser)
    parser.add_argument(
        "-i",
        "--images",
        type=Path,
        help="folder of images, named as in imagesTr, or of DICOM; or the file of one image",
    )
    parser.add_argument(
        "-in",
        "--interactions",
        type=Path,
        help="folder of click files: CASE.mrk.json, .json, .fcsv, .csv or .nii.gz; for one image also its click file",
    )
    parser.add_argument(
        "--frame",
        choices=("lps", "ras", "voxel"),
        help="what the numbers are: mm, or indices of the image (default: lps in files of -in that do not say it, ras "
        "in lines of --interactive and --click)",
    )
    parser.add_argument("-o", "--out", type=Path, help="folder of the masks; for one image also its mask")
    parser.add_argument(
        "--format", default=".nii.gz", choices=(".nii.gz", ".nii", ".nrrd", ".mha", ".png"), help="of the masks"
    )
    parser.add_argument(
        "--segmenter",
        choices=CLASSICAL_METHODS,
        metavar="NAME",
        help=f"a method without training in place of the folds; needs clicks: {', '.join(CLASSICAL_METHODS)}",
    )
    add_dicom_reading(parser)
    add_prediction(parser)
    add_dialogue(parser)
    arguments = parser.parse_args(argv)
    if arguments.segmenter is not None:
        _check_segmenter(parser, arguments)
    if arguments.interactive or arguments.click:
        check_dialogue(parser, arguments)
        return _answer_clicks(arguments)
    _check_paths(parser, arguments)
    return _predict_images(arguments)


def _check_paths(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments that have no effect on a prediction of files."""
    if arguments.fast:
        parser.error("--fast goes with --interactive and --click; choose --folds and --no-tta instead")
    if (arguments.images is None) != (arguments.out is None):
        parser.error("-i and -o belong together")
    if arguments.images is None and arguments.picture is not None:
        parser.error("--picture needs -i and -o")
    if arguments.interactions is not None and arguments.images is None:
        parser.error("-in needs -i and -o; the task's own test cases take their clicks from interactionsTs")
    if arguments.images is None and arguments.model is not None:
        parser.error("--model needs -i and -o")
    if arguments.images is None and (arguments.series or arguments.time_frame or arguments.long_uptake):
        parser.error("--series, --time-frame and --long-uptake need -i and -o")
    if arguments.frame is not None and arguments.interactions is None:
        parser.error("--frame goes with -in, --interactive or --click")


def _check_segmenter(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments that have no effect on a method without training."""
    given = {
        "--model": arguments.model is not None,
        "--interactive": arguments.interactive,
        "--fast": arguments.fast,
        "--folds": arguments.folds,
        "--save-probabilities": arguments.save_probabilities,
        "--any-intensity": arguments.any_intensity,
        "--nninteractive": arguments.nninteractive not in (None, "off"),
    }
    if names := [name for name, is_given in given.items() if is_given]:
        parser.error(f"{' and '.join(names)} has no effect on --segmenter {arguments.segmenter}; leave one of them out")
    if arguments.images is not None and arguments.interactions is None and not arguments.click:
        remedy = "name the folder of click files with -in, or give --click"
        parser.error(f"--segmenter {arguments.segmenter} needs clicks; {remedy}")


def _answer_clicks(arguments: argparse.Namespace) -> int:
    from interactivepet.pipeline.workspace import Workspace

    with open_source(arguments.task, arguments.model) as (source, settings):
        if arguments.segmenter is not None and isinstance(source, Workspace):
            return run_classical_clicks(arguments, source)
        options = make_prediction_options(arguments, settings)
        if arguments.click:
            return run_clicks(arguments, source, options=options)
        return run_dialogue(arguments, source, options=options, lines=sys.stdin)


def _predict_images(arguments: argparse.Namespace) -> int:
    from interactivepet.pipeline.predict.classical import run_classical_prediction
    from interactivepet.pipeline.predict.prediction import run_prediction
    from interactivepet.pipeline.workspace import Workspace

    with open_source(arguments.task, arguments.model) as (source, settings):
        request = _make_request(arguments, source)
        if arguments.segmenter is not None and isinstance(source, Workspace):
            log = run_classical_prediction(source, request, method=arguments.segmenter)
        else:
            log = run_prediction(source, request, options=make_prediction_options(arguments, settings))
    return _show(request, log)


def _make_request(arguments: argparse.Namespace, source: PredictionSource) -> PredictionRequest:
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.predict.pictures import with_picture
    from interactivepet.pipeline.predict.requests import make_folder_request, make_test_request
    from interactivepet.pipeline.workspace import Workspace

    if arguments.images is None and isinstance(source, Workspace):
        return make_test_request(source, file_ending=arguments.format)
    request = make_folder_request(
        source,
        arguments.images,
        clicks_folder=arguments.interactions,
        out=arguments.out,
        file_ending=arguments.format,
        reading=DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake),
        point_frame=arguments.frame or "lps",
    )
    return with_picture(request, arguments.picture)


def _show(request: PredictionRequest, log: PredictionLog) -> int:
    n_clicked = sum(n > 0 for n in log.n_clicks.values())
    where = f"in {request.out}" if request.mask is None else f"as {request.mask}"
    print(f"{len(log.cases)} masks {where}, {n_clicked} of them with clicks, made by {log.models}")
    if skipped := [share for share in log.skipped.values() if share > 0]:
        print(f"air was skipped in {len(skipped)} of them: {100 * fmean(skipped):.0f} % of the networks' runs")
    for case, cause in log.failed.items():
        print(f"error: {case}: {cause.removeprefix(f'{case}: ')}", file=sys.stderr)
    if log.failed:
        n_images = len(request.entries) + len(request.unreadable)
        print(f"{len(log.failed)} of {n_images} images have no mask, see above", file=sys.stderr)
    return 1 if log.failed else 0


def make_prediction_options(arguments: argparse.Namespace, settings: MachineSettings) -> PredictionOptions:
    """Join the arguments of `add_prediction` with the settings."""
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.settings import count_processors

    return PredictionOptions(
        folds=tuple(arguments.folds),
        tta=arguments.tta,
        device=arguments.device or settings.device,
        n_threads=settings.n_threads or count_processors(),
        promptable=choose_promptable(arguments.nninteractive, settings),
        own_promptable=arguments.nninteractive is None,
        save_probabilities=arguments.save_probabilities,
        any_intensity=arguments.any_intensity,
    )
