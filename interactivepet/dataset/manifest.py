"""`dataset.json`: a task's channels, labels and cases, made from its folder or read from any tool's file."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.dataset.decathlon import (
    check_names,
    number_labels,
    parse_channels,
    parse_entry,
    parse_labels,
    to_decathlon,
)
from interactivepet.dataset.files.json_text import read_json
from interactivepet.dataset.files.scan import find_layout, scan_test, scan_training
from interactivepet.dataset.files.write import write_text
from interactivepet.dataset.layout import (
    DATASET_JSON,
    LABELS_TEST,
    NIFTI_ENDINGS,
    channel_path,
    list_labels,
    split_ending,
)
from interactivepet.errors import ManifestError

__all__ = ["CASES_CSV", "build_manifest", "read_manifest", "write_manifest"]

logger = logging.getLogger(__name__)

CASES_CSV = "cases.csv"
"""Optional table of a task: `case`, and any of `patient` (stays in one fold) and `subtype` (stratifies)."""
_GROUPS = ("patient", "subtype")


def build_manifest(
    task_dir: Path, *, channels: Sequence[str], labels: Sequence[str], is_dynamic: bool = False
) -> DatasetManifest:
    """List a task's folder, in either layout.

    A training case is one that has an image or a mask. A file that is missing is listed under the name that
    it should have, so that verification reports it; so are cases whose number of channels is wrong.

    Args:
        task_dir: holds `imagesTr`, `labelsTr` and perhaps `imagesTs`, `labelsTs` and `cases.csv`.
        channels: names in channel order.
        labels: names of the values 1 ... L.
        is_dynamic: whether files may hold frames in place of channels.

    Raises:
        ManifestError: no images, the same image twice, another number of channels in every case, or
            names or a `cases.csv` that cannot be used.
    """
    task = task_dir.resolve().name
    channel_names = check_names("channel", channels, source=task)
    label_names = check_names("label", labels, source=task)
    layout = find_layout(task_dir, n_channels=len(channels), is_dynamic=is_dynamic)
    training, test = scan_training(task_dir, layout), scan_test(task_dir, layout)
    groups = _read_groups(task_dir, [entry.id for entry in (*training, *test)])
    return DatasetManifest(
        task=task,
        channels=channel_names,
        labels=number_labels(label_names),
        file_ending=layout.ending,
        training=tuple(entry.model_copy(update=groups.get(entry.id, {})) for entry in training),
        test=tuple(entry.model_copy(update=groups.get(entry.id, {})) for entry in test),
    )


def write_manifest(task_dir: Path, manifest: DatasetManifest) -> None:
    """Write `dataset.json` in the Decathlon's own form, so that other tools read it too."""
    text = json.dumps(to_decathlon(manifest), indent=2, ensure_ascii=False)
    write_text(task_dir / DATASET_JSON, text + "\n")


def read_manifest(task_dir: Path, *, is_dynamic: bool = False) -> DatasetManifest:
    """Read `dataset.json` as written by `write_manifest`, the Decathlon, nnU-Net or MONAI.

    Fields that this project does not know are passed over. A path without channel stands for one file a
    channel when the task has such files. Without a list of cases (nnU-Net 2) the folder is listed.

    Raises:
        ManifestError: there is no such file, or it cannot be understood.
    """
    path = task_dir / DATASET_JSON
    source = str(path)
    data = _load(path)
    channels, labels = parse_channels(data, source=source), parse_labels(data, source=source)
    if "training" not in data:
        return build_manifest(task_dir, channels=channels, labels=list(labels), is_dynamic=is_dynamic)
    training, test = (_entries(data, field, source=source) for field in ("training", "test"))
    named = [entry.images[0] for entry in (*training, *test) if len(entry.images) == 1]
    if any(_has_channel_files(task_dir, name, n_channels=len(channels)) for name in named):
        training, test = ([_expand(task_dir, e, n_channels=len(channels)) for e in part] for part in (training, test))
    masks = list_labels(task_dir, LABELS_TEST)
    groups = _read_groups(task_dir, {entry.id for entry in (*training, *test)}, is_strict=False)
    return DatasetManifest(
        task=task_dir.resolve().name,
        channels=channels,
        labels=labels,
        file_ending=str(data.get("file_ending") or _ending(training, test)),
        training=tuple(entry.model_copy(update=groups.get(entry.id, {})) for entry in training),
        test=tuple(
            entry.model_copy(update={"label": entry.label or masks.get(entry.id)} | groups.get(entry.id, {}))
            for entry in test
        ),
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError as error:
        task = path.resolve().parent.name
        raise ManifestError(
            f"{path} is not there; run `interactivepet_generate_dataset_json -t {task} -m PET -l tumour`, "
            "naming every channel after -m and every label after -l"
        ) from error
    except ValueError as error:
        raise ManifestError(f"{path}: no valid JSON ({error}); mend it or generate it again") from error
    if not isinstance(data, Mapping):
        raise ManifestError(f"{path}: holds a {type(data).__name__}, expected an object; generate it again")
    return data


def _entries(data: Mapping[str, Any], field: str, *, source: str) -> list[CaseEntry]:
    raw = data.get(field, [])
    if not isinstance(raw, list):
        raise ManifestError(f"{source}: {field} is a {type(raw).__name__}, expected a list of cases; mend it")
    return [parse_entry(item, source=f"{source}: {field}[{number}]") for number, item in enumerate(raw)]


def _ending(*parts: Sequence[CaseEntry]) -> str:
    names = [entry.images[0] for part in parts for entry in part]
    return split_ending(names[0])[1] if names else NIFTI_ENDINGS[0]


def _channel_files(name: str, *, n_channels: int) -> tuple[str, ...]:
    stem, ending = split_ending(name)
    folder, _, case = stem.rpartition("/")
    return tuple(channel_path(folder, case, channel=channel, ending=ending) for channel in range(n_channels))


def _has_channel_files(task_dir: Path, name: str, *, n_channels: int) -> bool:
    if (task_dir / name).is_file():
        return False
    return any((task_dir / file).is_file() for file in _channel_files(name, n_channels=n_channels))


def _expand(task_dir: Path, entry: CaseEntry, *, n_channels: int) -> CaseEntry:
    if len(entry.images) > 1 or (task_dir / entry.images[0]).is_file():
        return entry
    return entry.model_copy(update={"images": _channel_files(entry.images[0], n_channels=n_channels)})


@cache
def _warn_once(message: str) -> None:
    """Warn, the first time: a manifest is read many times."""
    logger.warning(message)


def _read_groups(task_dir: Path, cases: Collection[str], *, is_strict: bool = True) -> dict[str, dict[str, str]]:
    """Read `cases.csv`: case -> the fields of `CaseEntry` that it fills.

    Beside a `dataset.json` of somebody else's, which lists the cases, it need not be strict: it may be another table,
    or tell of other cases as well.
    """
    path = task_dir / CASES_CSV
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            columns = table.fieldnames or ()
            rows = [{key: (row[key] or "").strip() for key in columns} for row in table]
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 ({error}); save it as CSV UTF-8") from error
    if "case" not in columns or not set(_GROUPS) & set(columns):
        found = (
            f"{path}: columns {', '.join(columns)}, expected case and any of {', '.join(_GROUPS)}, separated by commas"
        )
        if is_strict:
            raise ManifestError(f"{found}; rename them")
        _warn_once(f"{found}; the table is passed over")
        return {}
    rows = rows if is_strict else [row for row in rows if row["case"] in cases]
    names = [row["case"] for row in rows]
    if strange := [name for name in names if name not in cases]:
        raise ManifestError(f"{path}: no images of {', '.join(map(repr, strange))}; correct or remove these rows")
    if len(set(names)) < len(names):
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise ManifestError(f"{path}: several rows for {twice}, expected one a case; remove the others")
    return {row["case"]: {group: row[group] for group in _GROUPS if row.get(group)} for row in rows}
