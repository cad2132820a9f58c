"""nnU-Net's `dataset_fingerprint.json` and `plans.json` in this project's words; its axes are (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interactivepet.core.fingerprint import CaseFingerprint, ChannelStatistics, Fingerprint
from interactivepet.errors import PlanError

__all__ = ["convert_nnunet_fingerprint", "count_nnunet_channels", "is_nnunet_plans", "list_nnunet_configurations"]

FINGERPRINT_KEYS = ("foreground_intensity_properties_per_channel", "shapes_after_crop", "spacings")

NAMES = {"3d_cascade_fullres": "3d_cascade"}
"""nnU-Net's name of a configuration -> ours, where they differ."""


def count_nnunet_channels(content: Mapping[str, Any]) -> int:
    """Count the channels of a `dataset_fingerprint.json`.

    Raises:
        PlanError: it is none.
    """
    missing = [key for key in FINGERPRINT_KEYS if key not in content]
    if missing:
        raise PlanError(f"the fingerprint has no {', '.join(missing)}; give a dataset_fingerprint.json of nnU-Net 2")
    return len(content[FINGERPRINT_KEYS[0]])


def convert_nnunet_fingerprint(
    content: Mapping[str, Any], task: str, *, channels: Sequence[str], labels: Mapping[str, int]
) -> Fingerprint:
    """Turn a `dataset_fingerprint.json` into a fingerprint, in which objects and the body were not measured.

    Args:
        content: of the file.
        task: name to give.
        channels: names of the first channels, in file order; those beyond, such as maps of clicks, are left out.
        labels: name -> value.

    Raises:
        PlanError: a key is missing or malformed, or there are fewer channels than names.
    """
    n_channels = count_nnunet_channels(content)
    if not 0 < len(channels) <= n_channels:
        raise PlanError(
            f"{len(channels)} channel names ({', '.join(channels)}) for a fingerprint of {n_channels} channels; "
            "name the first ones in file order"
        )
    statistics = content[FINGERPRINT_KEYS[0]]
    try:
        grids = zip(content["shapes_after_crop"], content["spacings"], strict=True)
        return Fingerprint(
            task=task,
            channels=tuple(channels),
            labels=dict(labels),
            cases=tuple(
                _convert_case(index, shape, spacing_mm=spacing) for index, (shape, spacing) in enumerate(grids)
            ),
            foreground=tuple(_convert_statistics(statistics[str(index)]) for index in range(len(channels))),
            body=(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"the fingerprint is malformed ({type(error).__name__}: {error}); give a dataset_fingerprint.json "
            "of nnU-Net 2"
        ) from error


def _convert_case(index: int, shape: Sequence[int], *, spacing_mm: Sequence[float]) -> CaseFingerprint:
    k, j, i = (int(n) for n in shape)
    z, y, x = (float(mm) for mm in spacing_mm)
    return CaseFingerprint(
        id=f"case_{index:05d}",
        shape=(i, j, k),
        spacing_mm=(x, y, z),
        crop_shape=(i, j, k),
        foreground=(),
        body=(),
        objects=None,
    )


def _convert_statistics(values: Mapping[str, float]) -> ChannelStatistics:
    return ChannelStatistics(
        mean=values["mean"],
        std=values["std"],
        minimum=values["min"],
        percentile_00_5=values["percentile_00_5"],
        median=values["median"],
        percentile_99_5=values["percentile_99_5"],
        maximum=values["max"],
    )


def is_nnunet_plans(content: Mapping[str, Any]) -> bool:
    """Whether the content of a `plans.json` is nnU-Net's."""
    return "plans_name" in content and isinstance(content.get("configurations"), Mapping)


def list_nnunet_configurations(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """List the configurations of nnU-Net's `plans.json` under our names, what they inherit filled in.

    Axes are those of its arrays, after its transposition.
    """
    given: Mapping[str, Mapping[str, Any]] = content["configurations"]

    def fill(name: str) -> dict[str, Any]:
        own = dict(given[name])
        parent = own.pop("inherits_from", None)
        return {**fill(parent), **own} if parent in given else own

    return {NAMES.get(name, name): fill(name) for name in given}
