"""`interactivepet_generate_dataset_json`: describe a folder of images and labels."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.cli.common import add_task, make_parser, open_workspace, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("generate_dataset_json", "Write dataset.json from imagesTr, labelsTr and imagesTs of a task.")
    add_task(parser)
    parser.add_argument(
        "-m", "--modality", nargs="+", required=True, help="channel names in file order, such as PET CT"
    )
    parser.add_argument("-l", "--labels", nargs="+", required=True, help="label names for the values 1, 2, ...")
    arguments = parser.parse_args(argv)

    from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
    from interactivepet.settings import load_settings

    workspace = open_workspace(arguments.task, load_settings())
    manifest = run_generate_dataset_json(workspace, channels=arguments.modality, labels=arguments.labels)
    print(
        f"{workspace.raw / 'dataset.json'}: {len(manifest.training)} training and {len(manifest.test)} test cases, "
        f"channels {', '.join(manifest.channels)}, labels {', '.join(manifest.labels)}"
    )
    return 0
