"""`interactivepet_export`: masks as DICOM SEG, RTSTRUCT or SR over the images' own series, or in another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import add_processes, add_task, make_parser, open_workspace, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("export", "Write masks as DICOM that opens over the source series, or as other files.")
    add_task(parser)
    parser.add_argument(
        "-p", "--predictions", type=Path, help="folder of masks, CASE.nii.gz or another format (default: the task's)"
    )
    parser.add_argument("--series", type=Path, help="folder with the DICOM images; seg, rtstruct and sr refer to them")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the exported files")
    parser.add_argument(
        "-f",
        "--formats",
        nargs="+",
        default=["seg"],
        choices=("seg", "rtstruct", "sr", "nii.gz", "nrrd", "mha"),
        help="one or more of these (default: seg)",
    )
    add_processes(parser)
    arguments = parser.parse_args(argv)
    needs_series = bool({"seg", "rtstruct", "sr"} & set(arguments.formats))
    if needs_series and arguments.series is None:
        parser.error("seg, rtstruct and sr need --series, the folder with the DICOM images")

    from interactivepet.dataset.manifest import read_manifest
    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.predict.exporting import ExportRequest, run_export
    from interactivepet.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    request = ExportRequest(
        masks=arguments.predictions or workspace.predictions,
        series=arguments.series if needs_series else None,
        out=arguments.out,
        formats=tuple(dict.fromkeys(arguments.formats)),
        labels=read_manifest(workspace.raw).labels,
    )
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        written = run_export(request, executor=executor)
    print(f"{len(written)} masks in {arguments.out}, each as {', '.join(request.formats)}")
    return 0
