"""Compare several readers' folders of masks, and write their consensus."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.core.readers import ReaderCase, ReadersReport
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.files.write import write_artefact, write_mask, write_text
from interactivepet.dataset.layout import find_masks
from interactivepet.errors import CaseError, InteractivePetError
from interactivepet.evaluation.consensus import find_consensus
from interactivepet.evaluation.readers import compare_readers, summarise_readers
from interactivepet.pipeline.executor import map_cases

__all__ = ["run_readers"]

logger = logging.getLogger(__name__)

LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Item:
    """One case and the masks that readers drew of it."""

    case: str
    masks: Mapping[str, Path]


def run_readers(
    folders: Sequence[Path], out: Path, *, labels: Mapping[str, int] | None, executor: Executor
) -> ReadersReport:
    """Write `readers.json`, `readers.csv` and `consensus/CASE.nii.gz` into `out`.

    A case that fails does not stop the others; the report names it.

    Args:
        folders: one per reader, masks named after the cases; each reader is named after the folder.
        out: folder of the results.
        labels: name -> value; None takes the values that the masks of a case hold.
        executor: of `open_executor`.

    Raises:
        CaseError: fewer than two folders, one that is not there, or no case that two readers have.
    """
    readers = _name_readers(folders)
    found = {reader: find_masks(folder) for reader, folder in zip(readers, folders, strict=True)}
    cases = dict.fromkeys(case for masks in found.values() for case in masks)
    items = [_Item(case, {reader: masks[case] for reader, masks in found.items() if case in masks}) for case in cases]
    alone = [item.case for item in items if len(item.masks) < 2]
    items = [item for item in items if len(item.masks) >= 2]
    if not items:
        raise CaseError(
            f"no case has masks of two readers in {', '.join(map(str, folders))}; name masks of a case alike"
        )
    if alone:
        logger.warning("not compared, as only one reader has a mask of them: %s", ", ".join(sorted(alone)))
    results = map_cases(
        executor,
        partial(_compare_case, out=out, labels=labels),
        items=items,
        names=[item.case for item in items],
        description="compare readers",
    )
    failed = {item.case: result for item, result in zip(items, results, strict=True) if isinstance(result, str)}
    rows = [row for result in results if not isinstance(result, str) for row in result]
    report = summarise_readers(readers, rows, failed=failed)
    write_artefact(out / "readers.json", report)
    write_text(out / "readers.csv", _make_csv(report))
    return report


def _name_readers(folders: Sequence[Path]) -> tuple[str, ...]:
    if len(folders) < 2:
        raise CaseError(f"{len(folders)} folder of masks, expected one for each of at least two readers")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise CaseError(f"a folder is named twice among {', '.join(names)}; name each reader's folder once")
    return tuple(names)


def _compare_case(item: _Item, *, out: Path, labels: Mapping[str, int] | None) -> tuple[ReaderCase, ...] | str:
    """Compare one case and write its consensus; give the reason where it fails."""
    try:
        masks, geometry = _read_masks(item)
        values = sorted({int(value) for mask in masks.values() for value in np.unique(mask)} - {0})
        named = labels if labels is not None else {f"label_{value}": value for value in values or [1]}
        if strange := sorted(set(values) - set(named.values())):
            raise CaseError(
                f"masks hold {', '.join(map(str, strange[:5]))}, expected 0 or "
                f"{', '.join(f'{value} ({name})' for name, value in named.items())}; renumber them"
            )
        consensus = find_consensus(masks, labels=named)
        write_mask(out / "consensus" / f"{item.case}.nii.gz", consensus.mask, geometry=geometry)
    except InteractivePetError as error:
        return str(error)
    voxel_ml = geometry.voxel_volume_ml
    return compare_readers(item.case, masks, consensus=consensus, voxel_volume_ml=voxel_ml, labels=named)


def _read_masks(item: _Item) -> tuple[dict[str, LabelMap], Geometry]:
    """Read the masks of all readers, which must lie on one grid."""
    masks: dict[str, LabelMap] = {}
    grid: Geometry | None = None
    for reader, path in item.masks.items():
        masks[reader], geometry = read_mask(path)
        grid = grid or geometry
        if not geometry.matches(grid):
            first = next(iter(item.masks))
            found = describe_mismatch(f"mask of {reader}:", geometry, other_name=f"mask of {first}", other=grid)
            raise CaseError(f"{found}; draw or resample both on one image")
    if grid is None:
        raise CaseError(f"{item.case}: no mask")
    return masks, grid


def _make_csv(report: ReadersReport) -> str:
    """Make a table with one row per case and label."""
    pairs = [(pair.first, pair.second) for found in list(report.pairs.values())[:1] for pair in found]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    volumes = [f"volume_ml {reader}" for reader in report.readers]
    dices = [f"dice {first} {second}" for first, second in pairs]
    writer.writerow(["case", "label", *volumes, "consensus_ml", "volume_cv_percent", *dices])
    for case in report.cases:
        scores = {(pair.first, pair.second): pair.dice for pair in case.pairs}
        values = [*(case.volumes_ml.get(reader) for reader in report.readers), case.consensus_ml]
        values += [case.volume_cv_percent, *(scores.get(pair) for pair in pairs)]
        writer.writerow([case.case, case.label, *("" if value is None else value for value in values)])
    return text.getvalue()
