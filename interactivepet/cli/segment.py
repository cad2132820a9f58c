"""`interactivepet_segment`: lesions, measures and pages of any number of images, without a click."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_device,
    add_dicom_reading,
    add_processes,
    make_parser,
    positive,
    report_errors,
)
from interactivepet.cli.config_file import read_config
from interactivepet.cli.tables import print_table
from interactivepet.core.classical import CLASSICAL_METHODS
from interactivepet.core.region import REGION_METHODS
from interactivepet.core.uptake import name_total, name_volume

if TYPE_CHECKING:
    from interactivepet.core.segmented import SegmentedCase
    from interactivepet.pipeline.segment.batch import Segmented, SegmentTask
    from interactivepet.pipeline.segment.segmenters import SegmenterChoice
    from interactivepet.pipeline.segment.sources import FoundImages
    from interactivepet.settings import MachineSettings

__all__ = ["main"]

MODEL = "starter"
FORMATS = ("nii.gz", "nrrd", "mha", "seg", "rtstruct", "sr", "csv", "json")
SOME_FAILED, ALL_FAILED = 1, 2


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if arguments.config is not None:
        defaults = read_config(arguments.config, _make_options())
        if arguments.model or arguments.segmenter:
            # one of the two on the command line takes the place of either in the file
            defaults = {name: value for name, value in defaults.items() if name not in ("model", "segmenter")}
        parser.set_defaults(**defaults)
        arguments = parser.parse_args(argv)
    if arguments.model and arguments.segmenter:
        parser.error("--model and --segmenter exclude each other; keep one")

    from interactivepet.api import locate_model
    from interactivepet.settings import load_machine_settings

    settings = load_machine_settings()
    if arguments.segmenter:
        return _run(arguments, None, settings)
    with locate_model(arguments.model or MODEL, settings) as model:
        return _run(arguments, model, settings)


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser("segment", "Find and segment the lesions of PET images without a click; measure and report.")
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="DICOM series or one of their files, NIfTI, NRRD or MHA files, zip files, or folders of these",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--config", type=Path, metavar="FILE.yaml", help="options by their long names; the command line wins"
    )
    parser.add_argument("--check", action="store_true", help="try the segmenter, list the images, and end")
    _add_options(parser)
    return parser


def _make_options() -> argparse.ArgumentParser:
    """Make a parser of what a file of options may hold."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    _add_options(parser)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="FILE|FOLDER|NAME|models:/NAME/VERSION",
        help=f"model that segments (default: {MODEL}, which comes with the package)",
    )
    parser.add_argument("--segmenter", choices=CLASSICAL_METHODS, help="a method without training in place of a model")
    parser.add_argument(
        "--regions",
        choices=REGION_METHODS,
        default="percentile",
        help="where bright regions begin (default: %(default)s)",
    )
    parser.add_argument(
        "--percentile", type=float, default=90.0, help="of the body's voxels, for percentile (default: %(default)g)"
    )
    parser.add_argument("--suv", type=float, default=2.5, help="for suv (default: %(default)g)")
    parser.add_argument(
        "--reference-sphere",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="centre in RAS+ mm of a sphere of 3 cm in the liver, or the blood pool for bloodpool",
    )
    parser.add_argument(
        "--min-volume-ml", type=float, default=0.3, help="of bright regions that are looked at (default: %(default)g)"
    )
    parser.add_argument(
        "--max-regions", type=positive, default=10, help="that are segmented per image (default: %(default)d)"
    )
    parser.add_argument(
        "--max-components", type=positive, default=3, help="parts of one region's mask that stay (default: %(default)d)"
    )
    parser.add_argument(
        "-f",
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=("nii.gz", "csv", "json"),
        help="of masks and measures (default: nii.gz csv json)",
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE.jsonl", help="a line of JSON per step of a case")
    add_dicom_reading(parser)
    add_device(parser)
    add_processes(parser)


def _run(arguments: argparse.Namespace, model: Path | None, settings: MachineSettings) -> int:
    from interactivepet.dataset.dicom.images import DicomReading
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.lock import lock_folder
    from interactivepet.pipeline.segment.batch import run_segmentation
    from interactivepet.pipeline.segment.sources import open_sources

    n_proc = arguments.n_proc or 1
    task = _make_task(arguments, _choose(arguments, model, settings, n_proc=n_proc))
    reading = DicomReading(arguments.series, arguments.time_frame, arguments.long_uptake)
    with open_sources(arguments.sources, task.segmenter.inputs, reading=reading, out=arguments.out) as found:
        if arguments.check:
            return _check(task, found)
        with (
            lock_folder(arguments.out),
            open_executor(n_proc, scheduler=settings.scheduler) as executor,
        ):
            segmented = run_segmentation(found, task, executor=executor)
    _print(segmented, arguments.out)
    if not segmented.failures:
        return 0
    return SOME_FAILED if segmented.cases else ALL_FAILED


def _choose(
    arguments: argparse.Namespace, model: Path | None, settings: MachineSettings, *, n_proc: int
) -> SegmenterChoice:
    """Choose what segments; processes share the threads."""
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.pipeline.segment.segmenters import SegmenterChoice
    from interactivepet.settings import count_processors

    n_threads = settings.n_threads or max(1, count_processors() // n_proc)
    options = PredictionOptions(device=arguments.device or settings.device, n_threads=n_threads)
    return SegmenterChoice(model, arguments.segmenter, options)


def _make_task(arguments: argparse.Namespace, choice: SegmenterChoice) -> SegmentTask:
    from interactivepet.pipeline.segment.batch import SegmentTask
    from interactivepet.pipeline.segment.options import Outputs, make_options
    from interactivepet.pipeline.segment.segmenters import describe_choice

    options = make_options(
        regions=arguments.regions,
        percentile=arguments.percentile,
        suv=arguments.suv,
        reference_sphere=None if arguments.reference_sphere is None else tuple(arguments.reference_sphere),
        min_volume_ml=arguments.min_volume_ml,
        max_regions=arguments.max_regions,
        max_components=arguments.max_components,
    )
    outputs = Outputs(tuple(dict.fromkeys(arguments.formats)))
    return SegmentTask(arguments.out, choice, describe_choice(choice), options, outputs, arguments.log_file)


def _check(task: SegmentTask, found: FoundImages) -> int:
    """Load the segmenter and list what was found; nothing is segmented or written."""
    from interactivepet.pipeline.segment.segmenters import open_segmenter

    print(f"segmenter: {open_segmenter(task.choice).description}")
    for job in found.jobs:
        print(f"{job.case}: {'PET series' if job.series is not None else 'file'} {job.source}")
    for failure in found.failures:
        print(f"error: {failure.place}: {failure.reason}", file=sys.stderr)
    print(f"{len(found.jobs)} images can be segmented, {len(found.failures)} cannot")
    if not found.failures:
        return 0
    return SOME_FAILED if found.jobs else ALL_FAILED


def _print(segmented: Segmented, out: Path) -> None:
    """Show one row per case, and why there is no result of others."""
    columns = ["case", "unit", "lesions", "unsure", "physiological", "volume (ml)", "total"]
    print_table("what was found", columns, [_make_row(case) for case in segmented.cases])
    kept = f", {segmented.n_kept} of them earlier" if segmented.n_kept else ""
    print(f"{len(segmented.cases)} cases segmented{kept}: {out / 'index.html'}")
    for failure in segmented.failures:
        place = f"{failure.place} ({failure.folder})" if failure.folder else failure.place
        print(f"error: {place}: {failure.reason}", file=sys.stderr)
    if segmented.failures:
        n = len(segmented.failures)
        print(f"{n} not segmented; the same command segments what is missing", file=sys.stderr)


def _make_row(case: SegmentedCase) -> list[str]:
    summary = case.summary
    statuses = [region.status for region in summary.regions]
    counts = [str(statuses.count(status)) for status in ("lesion", "unsure", "physiological")]
    values = [summary.totals.get(name) for name in (name_volume(summary.unit), name_total(summary.unit))]
    return [summary.case, summary.unit, *counts, *("-" if value is None else f"{value:.6g}" for value in values)]
