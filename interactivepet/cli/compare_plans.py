"""`interactivepet_compare_plans`: two plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.cli.common import make_parser, report_errors
from interactivepet.cli.tables import print_table

if TYPE_CHECKING:
    from interactivepet.core.plan import Plans

__all__ = ["main"]

DIFFERS = "*"


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser("compare_plans", "Show two plans side by side, and mark the rows that differ.")
    parser.add_argument("first", type=Path, metavar="A", help="a plans.json, also nnU-Net's")
    parser.add_argument("second", type=Path, metavar="B", help="another")
    parser.add_argument("-c", "--configuration", help="show this one only (default: all)")
    parser.add_argument("--differences", action="store_true", help="leave out rows that are the same")
    arguments = parser.parse_args(argv)

    from interactivepet.errors import PlanError
    from interactivepet.planning.compare import compare_rows

    plans = [_describe(path) for path in (arguments.first, arguments.second)]
    names = [name for name in dict.fromkeys((*plans[0], *plans[1])) if arguments.configuration in (None, name)]
    if not names:
        known = ", ".join(dict.fromkeys((*plans[0], *plans[1])))
        raise PlanError(f"neither plan has the configuration {arguments.configuration}; there is {known}")
    for name in names:
        here, there = (own.get(name) for own in plans)
        if here is None or there is None:
            print(f"{name}: not in {arguments.first if here is None else arguments.second}")
            continue
        rows = [
            (DIFFERS if differs else "", row, left, right)
            for row, left, right, differs in compare_rows(here, there)
            if differs or not arguments.differences
        ]
        print_table(name, ["", "decision", str(arguments.first), str(arguments.second)], rows)
    return 0


def _describe(path: Path) -> dict[str, dict[str, str]]:
    from interactivepet.dataset.files.json_text import read_object
    from interactivepet.planning.compare import describe_nnunet_plans, describe_plans
    from interactivepet.planning.nnunet import is_nnunet_plans

    content = read_object(path, kind="plan", example="plans.json")
    if is_nnunet_plans(content):
        return describe_nnunet_plans(content, channels=_read_channels(path.with_name("dataset.json")))
    return describe_plans(_read_plans(path))


def _read_plans(path: Path) -> Plans:
    from interactivepet.core.plan import Plans
    from interactivepet.dataset.files.write import read_artefact

    return read_artefact(path, Plans, command="interactivepet_plan_and_process")


def _read_channels(path: Path) -> tuple[str, ...]:
    """Read the channels' names from the `dataset.json` beside nnU-Net's plans, if it is there."""
    from interactivepet.dataset.decathlon import parse_channels
    from interactivepet.dataset.files.json_text import read_object

    if not path.is_file():
        return ()
    return parse_channels(read_object(path, kind="description", example="dataset.json"), source=str(path))
