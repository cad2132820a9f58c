"""`interactivepet_import`: other people's folders become a verified task."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import (
    add_dicom_reading,
    add_frame,
    add_processes,
    add_task,
    brightness,
    make_parser,
    open_workspace,
    report_errors,
    spacing_mm,
    time_frame,
)
from interactivepet.cli.verify import print_issues

if TYPE_CHECKING:
    from interactivepet.core.imported import ImportRecord, ImportSource

__all__ = ["main"]

SHOWN = 20
"""Files passed over, and cases without mask, that are named; of more only the number is told."""


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; without `--skip-bad`, nothing is imported when a case cannot be used or has problems."""
    parser = make_parser("import", "Make a verified task of other people's files, or add their clicks to a task.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{dicom,folder,mip,clicks}")
    _add_dicom(kinds.add_parser("dicom", help="PET series with RTSTRUCT or SEG, in a tree of mixed files"))
    _add_folder(kinds.add_parser("folder", help="volumes and masks as NIfTI, NRRD or MHA in the field's layouts"))
    _add_mip(kinds.add_parser("mip", help="maximum-intensity projections as PNG with masks of two values"))
    _add_clicks(kinds.add_parser("clicks", help="click files of other tools, for the cases of a task that is there"))
    arguments = parser.parse_args(argv)
    return _import_clicks(arguments) if arguments.kind == "clicks" else _import_cases(arguments)


def _import_cases(arguments: argparse.Namespace) -> int:
    from interactivepet.core.imported import ImportRecord
    from interactivepet.dataset.files.write import read_artefact
    from interactivepet.dataset.manifest import read_manifest
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.prepare.importing import run_import, run_verified_import
    from interactivepet.pipeline.prepare.importing_cases import IMPORT_JSON
    from interactivepet.pipeline.workspace import Workspace
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = Workspace.of(arguments.task, raw=settings.raw, processed=settings.processed, results=settings.results)
    source = _find_source(arguments)
    _print_source(source)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        if arguments.verify:
            result = run_verified_import(
                workspace,
                executor,
                source=source,
                show_issues=print_issues,
                overwrite=arguments.overwrite,
                test_only=arguments.test,
                skip_bad=arguments.skip_bad,
            )
            print_issues(result)
        else:
            run_import(
                settings.raw,
                arguments.task,
                source=source,
                executor=executor,
                overwrite=arguments.overwrite,
                test_only=arguments.test,
                skip_bad=arguments.skip_bad,
            )
    record = read_artefact(workspace.raw / IMPORT_JSON, ImportRecord, command="interactivepet_import")
    _print_record(record)
    manifest = read_manifest(workspace.raw)
    print(f"{workspace.raw}: {len(manifest.training)} training and {len(manifest.test)} test cases")
    return 1 if record.left_out else 0


def _import_clicks(arguments: argparse.Namespace) -> int:
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.prepare.importing_clicks import run_click_import
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        imported = run_click_import(
            workspace, executor, folder=arguments.source, frame=arguments.frame, overwrite=arguments.overwrite
        )
    _print_passed_over(imported.passed_over)
    print(f"{workspace.raw}: clicks of {len(imported.training)} training and {len(imported.test)} test cases")
    print(f"check that they lie on the right side of the masks: interactivepet_verify -t {workspace.task}")
    return 0


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="folder to import")
    parser.add_argument("-t", "--task", required=True, help="name of the new task, such as Task501_STSPET")
    parser.add_argument("--overwrite", action="store_true", help="replace a task of this name")
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out the cases that cannot be used or have problems, list them in import.json, and exit with 1",
    )
    parser.add_argument("--test", action="store_true", help="make every case a test case, with a mask or without")
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="import nothing when the task would have problems (default: yes)",
    )
    add_processes(parser)


def _add_dicom(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)
    parser.add_argument(
        "--suv",
        choices=("bw", "lbm", "bsa", "ibw"),
        default="bw",
        help="SUV by body weight, lean body mass, body surface area or ideal body weight (default: bw)",
    )
    parser.add_argument(
        "--roi",
        nargs="+",
        default=[],
        help="names, or patterns such as 'GTV*', of the regions to take, one label each (default: all)",
    )
    parser.add_argument("--union", action="store_true", help="join the regions to one label")
    parser.add_argument(
        "--no-contour-is-healthy",
        action="store_true",
        help="a PET whose masks have no contour shows a patient without a lesion (default: it is refused)",
    )
    parser.add_argument("--ct", action="store_true", help="add the CT as a second channel on the PET grid")
    add_dicom_reading(parser)
    parser.add_argument("-l", "--labels", nargs="+", default=[], help="names of the labels (default: the regions')")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)
    parser.add_argument("-m", "--modality", nargs="+", default=[], help="channels in their order, such as PET CT")
    parser.add_argument("-l", "--labels", nargs="+", default=[], help="label names for the values 1, 2, ...")
    parser.add_argument(
        "--grid",
        choices=("pet", "finest"),
        default="pet",
        help="grid of a case whose channels have several: the PET's, else the first channel's; or the finest",
    )
    parser.add_argument(
        "--layout",
        choices=("pairs", "channels", "nnunet", "msd", "interactivenet", "autopet"),
        help="how the files are named (default: found out)",
    )
    parser.add_argument(
        "--mask-suffix",
        default="",
        metavar="TEXT",
        help="what the name of a mask has behind that of its volume (default: _mask, _seg and _label)",
    )
    parser.add_argument(
        "--time-frame",
        type=time_frame,
        metavar="N",
        help="frame of dynamic or gated images to take: its number from 1, mean or last (default: refuse such images)",
    )
    parser.add_argument(
        "--spacing-mm",
        nargs=3,
        type=spacing_mm,
        metavar=("I", "J", "K"),
        help="spacing along the axes of the files, where their headers are wrong (default: the headers')",
    )
    add_frame(parser, default="lps", of="click files of interactionsTr that do not say it")
    parser.add_argument(
        "--allow-mask-as-volume", action="store_true", help="take a mask for a volume, to debug the pipeline with"
    )


def _add_mip(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)
    parser.add_argument("-m", "--modality", default="PET", help="name of the channel (default: PET)")
    parser.add_argument("-l", "--labels", default="lesion", help="name of the label (default: lesion)")
    parser.add_argument(
        "--mask-above",
        type=brightness,
        metavar="N",
        help="for masks of more than two values: pixels with a luminance above N, 0 to 254, are lesion",
    )


def _add_clicks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        help="folder with CASE.mrk.json, .json, .fcsv, .csv or .nii.gz, or CASE_clicks.json etc.",
    )
    add_task(parser)
    add_frame(parser, default="lps", of="files that do not say it")
    parser.add_argument("--overwrite", action="store_true", help="replace clicks that cases have already")
    add_processes(parser)


def _find_source(arguments: argparse.Namespace) -> ImportSource:
    """Let the importer of the chosen kind look at the folder."""
    if arguments.kind == "dicom":
        from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source

        regions = DicomOptions(
            variant=arguments.suv,
            rois=tuple(arguments.roi),
            union=arguments.union,
            with_ct=arguments.ct,
            labels=tuple(arguments.labels),
            no_contour_is_healthy=arguments.no_contour_is_healthy,
            series=arguments.series,
            time_frame=arguments.time_frame,
            long_uptake=arguments.long_uptake,
            skip_bad=arguments.skip_bad,
        )
        return find_dicom_source(arguments.source, options=regions)
    if arguments.kind == "mip":
        from interactivepet.dataset.folders.mip import MipOptions, find_mip_source

        return find_mip_source(
            arguments.source,
            options=MipOptions(arguments.modality, arguments.labels, arguments.mask_above, arguments.skip_bad),
        )
    from interactivepet.dataset.folders.options import FolderOptions
    from interactivepet.dataset.folders.source import find_folder_source

    options = FolderOptions(
        channels=tuple(arguments.modality),
        labels=tuple(arguments.labels),
        grid=arguments.grid,
        layout=arguments.layout,
        allow_mask_as_volume=arguments.allow_mask_as_volume,
        needs_masks=not arguments.test,
        time_frame=arguments.time_frame,
        mask_suffix=arguments.mask_suffix,
        spacing_mm=tuple(arguments.spacing_mm) if arguments.spacing_mm else None,
        point_frame=arguments.frame,
        skip_bad=arguments.skip_bad,
    )
    return find_folder_source(arguments.source, options=options)


def _print_source(source: ImportSource) -> None:
    """Say what was found, and what will not be imported."""
    if source.layout:
        print(f"recognised: {source.layout}")
    print(f"channels: {', '.join(source.channels)}; labels: {', '.join(source.labels)}")
    _print_passed_over(source.passed_over)
    if source.test:
        named = ", ".join(job.id for job in source.test[:SHOWN]) + (", ..." if len(source.test) > SHOWN else "")
        print(f"without a mask, so test cases: {named}")


def _print_record(record: ImportRecord) -> None:
    """Show what is worth knowing of the cases, one line per remark, and which were left out."""
    from interactivepet.dataset.validate import WHOLE_TASK

    cases: dict[str, list[str]] = defaultdict(list)
    for case, remarks in record.remarks.items():
        for remark in remarks:
            cases[remark].append(case)
    for remark, named in cases.items():
        shown = ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
        print(f"note: {shown}: {remark}" if named != [WHOLE_TASK] else f"note: {remark}")
    for case, reason in record.left_out.items():
        print(f"left out: {case}: {reason}")


def _print_passed_over(files: Mapping[str, str]) -> None:
    for name, reason in islice(files.items(), SHOWN):
        print(f"passed over: {name}: {reason}")
    if len(files) > SHOWN:
        print(f"passed over: {len(files) - SHOWN} more")
