"""`interactivepet_import`: other people's folders become a verified task."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import add_processes, make_parser, report_errors
from interactivepet.cli.verify import print_issues

if TYPE_CHECKING:
    from interactivepet.core.imported import ImportSource

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 1 when the new task has problems."""
    parser = make_parser("import", "Make a task of DICOM, of a folder of volumes, or of projections, and verify it.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{dicom,folder,mip}")
    _add_dicom(kinds.add_parser("dicom", help="PET series with RTSTRUCT or SEG, in a tree of mixed files"))
    _add_folder(kinds.add_parser("folder", help="volumes and masks as NIfTI, NRRD or MHA in the field's layouts"))
    _add_mip(kinds.add_parser("mip", help="maximum-intensity projections as PNG with black-and-white masks"))
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.executor import open_executor
    from interactivepet.pipeline.importing import run_import
    from interactivepet.pipeline.prepare import run_verification
    from interactivepet.pipeline.workspace import Workspace
    from interactivepet.settings import load_settings

    settings = load_settings()
    source = _find_source(arguments)
    with open_executor(arguments.n_proc or settings.n_proc, scheduler=settings.scheduler) as executor:
        folder = run_import(
            settings.raw, arguments.task, source=source, executor=executor, overwrite=arguments.overwrite
        )
        workspace = Workspace.of(
            arguments.task, raw=settings.raw, processed=settings.processed, results=settings.results
        )
        result = run_verification(workspace, executor)
    for name, reason in source.passed_over.items():
        print(f"passed over: {name}: {reason}")
    print(f"{folder}: {len(source.training)} training and {len(source.test)} test cases")
    print_issues(result)
    return 1 if result.issues else 0


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="folder to import")
    parser.add_argument("-t", "--task", required=True, help="name of the new task, such as Task501_STSPET")
    parser.add_argument("--overwrite", action="store_true", help="replace a task of this name")
    add_processes(parser)


def _add_dicom(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)


def _add_mip(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)


def _find_source(arguments: argparse.Namespace) -> ImportSource:
    """Let the importer of the chosen kind look at the folder."""
    raise NotImplementedError(arguments.kind)
