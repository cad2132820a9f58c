"""The fields of a Decathlon `dataset.json`, which differ a little between the tools that write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.dataset.layout import channel_path, split_channel, split_ending
from interactivepet.errors import ManifestError

__all__ = [
    "check_names",
    "flatten_regions",
    "number_labels",
    "parse_channels",
    "parse_entry",
    "parse_labels",
    "to_decathlon",
]

_LARGEST_LABEL = 255


def number_labels(names: Iterable[str]) -> dict[str, int]:
    """Give the labels the values 1 ... L in their order."""
    return {name: value for value, name in enumerate(names, start=1)}


def parse_channels(data: Mapping[str, Any], *, source: str) -> tuple[str, ...]:
    """Give the channels' names in order from `modality` or `channel_names`.

    Args:
        data: the content of `dataset.json`.
        source: what to call it in a message.

    Raises:
        ManifestError: neither field is there, or channels are missing or unnamed.
    """
    raw = data.get("channel_names", data.get("modality"))
    if isinstance(raw, Mapping) and all(str(key).isdigit() for key in raw):
        numbered = {int(key): name for key, name in raw.items()}
    elif isinstance(raw, Sequence) and not isinstance(raw, str):
        numbered = dict(enumerate(raw))
    else:
        numbered = {}
    names = [numbered[number] for number in sorted(numbered)]
    if not names or sorted(numbered) != list(range(len(names))):
        raise ManifestError(f'{source}: modality is {raw!r}, expected such as {{"0": "PET", "1": "CT"}}; mend it')
    return check_names("channel", names, source=source)


def parse_labels(data: Mapping[str, Any], *, source: str) -> dict[str, int]:
    """Give name -> value of the labels without the background, from either direction of the field.

    Args:
        data: the content of `dataset.json`, with `{"0": "background", "1": "tumour"}` (MSD) or
            `{"background": 0, "tumour": 1}` (nnU-Net 2) as `labels`.
        source: what to call it in a message.

    Raises:
        ManifestError: the field is missing or its values are not 1 ... L.
    """
    raw = data.get("labels")
    remedy = 'expected such as {"0": "background", "1": "tumour"} with one value a label; mend it'
    if not isinstance(raw, Mapping) or not raw:
        raise ManifestError(f"{source}: labels is {raw!r}, {remedy}")
    if regions := [name for name, value in raw.items() if isinstance(value, list)]:
        raise ManifestError(
            f"{source}: nnU-Net's regions ({', '.join(map(str, regions))}), labels that overlap, are not supported; "
            "interactivepet_import folder imports the values of the masks as labels"
        )
    if all(str(key).isdigit() for key in raw):
        pairs = [(int(key), name) for key, name in raw.items()]
    elif all(str(value).isdigit() for value in raw.values()):
        pairs = [(int(value), name) for name, value in raw.items()]
    else:
        raise ManifestError(f"{source}: labels is {raw!r}, {remedy}")
    pairs = sorted((value, name) for value, name in pairs if value > 0)
    if strange := [name for _, name in pairs if str(name).lower() == "ignore"]:
        raise ManifestError(
            f"{source}: nnU-Net's label {strange[0]!r} marks what was not annotated, which is not supported here; "
            "label these regions, or leave the cases out"
        )
    if [value for value, _ in pairs] != list(range(1, len(pairs) + 1)):
        values = [value for value, _ in pairs]
        raise ManifestError(f"{source}: labels have the values {values}, expected 1, 2, ...; renumber them")
    return number_labels(check_names("label", [name for _, name in pairs], source=source))


def flatten_regions(data: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Give nnU-Net's regions, lists of values, as one label per value of the masks.

    A value that a label names alone keeps this name; any other becomes `label_VALUE`.

    Args:
        data: the content of `dataset.json`.

    Returns:
        The content with such labels, and a remark that says so; the content as it is and no remark without regions.
    """
    raw = data.get("labels")
    if not isinstance(raw, Mapping) or not any(isinstance(value, list) for value in raw.values()):
        return dict(data), ""
    names: dict[int, str] = {}
    for name, value in raw.items():
        values = value if isinstance(value, list) else [value]
        for number in (int(number) for number in values if str(number).isdigit()):
            names[number] = str(name) if len(values) == 1 else names.get(number, f"label_{number}")
    labels = {name: value for value, name in sorted(names.items())}
    listed = ", ".join(f"{value} {name}" for name, value in labels.items() if value)
    remark = f"the labels are regions of nnU-Net, which are not supported; the values were taken as labels: {listed}"
    return {**data, "labels": labels}, remark


def check_names(noun: str, names: Sequence[object], *, source: str) -> tuple[str, ...]:
    """Give the names of channels or labels when they are usable.

    Raises:
        ManifestError: none, too many, an empty one, a repeated one, or the background among them.
    """
    if not 0 < len(names) <= _LARGEST_LABEL:
        raise ManifestError(f"{source}: {len(names)} {noun}s, expected 1 to {_LARGEST_LABEL}; name them")
    usable = [name for name in names if isinstance(name, str) and name.strip()]
    if len(set(usable)) < len(names):
        raise ManifestError(f"{source}: {noun}s {list(names)}, expected different names, none empty; rename them")
    if "background" in (name.lower() for name in usable):
        raise ManifestError(f"{source}: {noun}s {list(names)}, the background is not one of them; leave it out")
    return tuple(usable)


def parse_entry(raw: object, *, source: str) -> CaseEntry:
    """Give one case of `training` or `test`, its files as they are named there.

    Args:
        raw: a path, or an object with `image` (one path, or a list of one a channel) and perhaps `label`,
            `patient` and `subtype`.
        source: what to call it in a message.

    Raises:
        ManifestError: there is no image, or a path cannot be used.
    """
    item = raw if isinstance(raw, Mapping) else {"image": raw}
    image, label = item.get("image"), item.get("label")
    images = [_parse_path(name, source=source) for name in (image if isinstance(image, list) else [image])]
    if not images:
        raise ManifestError(f"{source}: no image, expected a path or one a channel; mend it")
    mask = None if label is None else _parse_path(label, source=source)
    return CaseEntry(
        id=_case_id(images, mask),
        images=tuple(images),
        label=mask,
        **{group: str(item[group]) for group in ("patient", "subtype") if item.get(group) not in (None, "")},
    )


def _case_id(images: Sequence[str], label: str | None) -> str:
    stem = split_ending(PurePosixPath(images[0]).name)[0]
    channel = split_channel(stem)
    if channel is None:
        return stem
    is_named_by_channel = len(images) > 1 or (label and split_ending(PurePosixPath(label).name)[0] == channel[0])
    return channel[0] if is_named_by_channel else stem


def _parse_path(raw: object, *, source: str) -> str:
    if not isinstance(raw, str):
        raise ManifestError(f"{source}: file {raw!r}, expected a path inside the task's folder; mend it")
    path = PurePosixPath(raw.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ManifestError(f"{source}: file {raw!r}, expected such as ./imagesTr/CASE.nii.gz; mend it")
    if not split_ending(path.name)[0]:
        raise ManifestError(f"{source}: file {raw!r} has an unknown ending; convert the file to .nii.gz")
    return path.as_posix()


def to_decathlon(manifest: DatasetManifest) -> dict[str, Any]:
    """Write a manifest in the Decathlon's own form.

    A case with one file a channel is named without the channel, as tools for that layout expect. A test case
    is a plain path, as in the Decathlon, unless there is more to say of it.
    """
    return {
        "name": manifest.task,
        "description": f"{', '.join(manifest.channels)} with the labels {', '.join(manifest.labels)}",
        "tensorImageSize": "3D" if len(manifest.channels) == 1 else "4D",
        "modality": {str(number): name for number, name in enumerate(manifest.channels)},
        "labels": {"0": "background"} | {str(value): name for name, value in manifest.labels.items()},
        "file_ending": manifest.file_ending,
        "numTraining": len(manifest.training),
        "numTest": len(manifest.test),
        "training": [_to_item(entry) for entry in manifest.training],
        "test": [_to_test_item(entry) for entry in manifest.test],
    }


def _to_item(entry: CaseEntry) -> dict[str, Any]:
    item: dict[str, Any] = {"image": _to_image(entry)}
    if entry.label is not None:
        item["label"] = f"./{entry.label}"
    return item | entry.model_dump(include={"patient", "subtype"}, exclude_none=True)


def _to_test_item(entry: CaseEntry) -> dict[str, Any] | str:
    item = _to_item(entry)
    return item["image"] if len(item) == 1 and isinstance(item["image"], str) else item


def _to_image(entry: CaseEntry) -> str | list[str]:
    first = PurePosixPath(entry.images[0])
    stem, ending = split_ending(first.name)
    folder = str(first.parent)
    expected = tuple(
        channel_path(folder, entry.id, channel=channel, ending=ending) for channel in range(len(entry.images))
    )
    if entry.images == expected and split_channel(stem):
        return f"./{folder}/{entry.id}{ending}"
    if len(entry.images) == 1:
        return f"./{entry.images[0]}"
    return [f"./{name}" for name in entry.images]
