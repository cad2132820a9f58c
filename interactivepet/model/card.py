"""`MODEL_CARD.md`: what a reader should know of a model before using it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Plans
from interactivepet.model.description import ModelDescription

__all__ = ["make_card"]

_MODES = {"none": "no clicks", "extreme": "the clicks before the first mask", "corrected": "corrections of a mask"}
_UNITS = {"suv": "SUV", "ct": "HU", "zscore": "any unit", "minmax": "any unit"}
_SUV = {"bw": "body weight", "lbm": "lean body mass", "bsa": "body surface area", "ibw": "ideal body weight"}


def make_card(description: ModelDescription, *, name: str) -> str:
    """Write the card of a model in Markdown."""
    plans = description.plans
    labels = "".join(f"| {label} | {value} |\n" for label, value in plans.labels.items())
    folds = "".join(
        f"| {configuration} | {record.fold} | {record.n_training} | {_list_dice(record.dice)} |\n"
        for configuration, records in description.folds.items()
        for record in records
    )
    return (
        f"# {name}\n\nA segmentation model of interactivepet, trained on {plans.task}. Research software, not a "
        "medical device.\n\n"
        f"## What it segments\n\n| label | value in the mask |\n|---|---|\n{labels}\n"
        f"## What images must be\n\n{_describe_images(description)}\n"
        f"## What to expect\n\n{_describe_scores(description)}\n"
        f"{_describe_origin(description)}"
        f"## Networks\n\n| configuration | fold | training cases | out-of-fold Dice |\n|---|---|---|---|\n{folds}\n"
        f"## Licence of the weights\n\n{description.licence.strip()}\n"
    )


def _describe_origin(description: ModelDescription) -> str:
    return f"## How it was made\n\n{description.origin.strip()}\n\n" if description.origin else ""


def _describe_images(description: ModelDescription) -> str:
    plans, inputs = description.plans, description.inputs
    plan = plans.plan(plans.default)
    seen = description.intensities or (None,) * len(plans.channels)
    rows = "".join(
        f"| {channel} | {_UNITS[rule.scheme]} | {known or 'not measured'} |\n"
        for channel, rule, known in zip(plans.channels, plan.normalisation, seen, strict=True)
    )
    suv = f"DICOM series become SUV by {_SUV[inputs.suv]}.\n" if inputs.suv else "DICOM series are not converted.\n"
    files = "one file per channel, `CASE_0000` and so on" if inputs.is_by_channel else "one file per case"
    return (
        f"| channel | unit | brighter voxels of the training cases |\n|---|---|---|\n{rows}\n"
        f"Files: {files}. {suv}\n{_describe_size(plans)}"
    )


def _describe_size(plans: Plans) -> str:
    plan = plans.plan(plans.default)
    spacing = " x ".join(f"{mm:.3g}" for mm in plan.spacing_mm)
    size = " x ".join(f"{n * mm:.0f}" for n, mm in zip(plan.median_shape, plan.spacing_mm, strict=True))
    clicks = "The networks need clicks.\n" if plan.crop.region == "clicks" else ""
    return (
        f"Images are resampled to voxels of {spacing} mm; the training cases measured {size} mm in the median. {clicks}"
    ).strip() + "\n"


def _describe_scores(description: ModelDescription) -> str:
    if description.rule is None:
        return "Threshold and postprocessing were not chosen by cross-validation.\n"
    rows = "".join(
        f"| {_MODES[mode]} | {choice.nested_dice:.3f} | {choice.dice:.3f} | {_list_range(choice.nested_fold_dice)} |\n"
        for mode, choice in description.rule.choices.items()
    )
    return (
        "Mean Dice on cases that the networks have not seen. The nested estimate is what to expect on other cases of "
        "the same kind; the next column is of the cases that the choice was made on, and optimistic.\n\n"
        f"| with | nested estimate | on the cases of the choice | nested estimate by fold |\n|---|---|---|---|\n{rows}"
    )


def _list_dice(dice: Mapping[ClickMode, float]) -> str:
    return ", ".join(f"{_MODES[mode]} {score:.3f}" for mode, score in dice.items())


def _list_range(values: tuple[float, ...]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{min(known):.3f} to {max(known):.3f}" if known else "-"
