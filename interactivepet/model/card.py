"""`MODEL_CARD.md`: what a reader should know of a model before using it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Plans
from interactivepet.model.description import ClickCurve, ModelDescription
from interactivepet.model.scores import SYSTEMS, ModelScore, describe_promptable, list_scores

__all__ = ["make_card"]

_MODES = {"none": "no clicks", "extreme": "the clicks before the first mask"}
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
        f"{_describe_weights(description)}\n"
        f"## Licence of the weights\n\n{description.licence.strip()}\n"
    )


def _describe_origin(description: ModelDescription) -> str:
    return f"## How it was made\n\n{description.origin.strip()}\n\n" if description.origin else ""


def _describe_weights(description: ModelDescription) -> str:
    told = f"The weights are stored as {description.precision}.\n"
    if (own := description.promptable) is None:
        return told
    dice = f"; mean Dice after one click, by its folds on unseen cases: {own.dice:.3f}" if own.dice is not None else ""
    return (
        f"{told}\nA promptable model in nnInteractive's format, for channel {own.channel}, trained on {own.n_training} "
        f"cases{dice}.\n"
    )


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
    scores = list_scores(description)
    if not scores:
        return "Threshold and postprocessing were not chosen by cross-validation.\n"
    parts = [
        "Mean Dice on cases that the networks have not seen. The nested estimate is what to expect on other cases of "
        "the same kind; the next column is of the cases that the choice was made on, and optimistic.",
        _tabulate_scores(scores, lacks_promptable=description.lacks_promptable),
        describe_promptable(description),
        _describe_curves(description.curves),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tabulate_scores(scores: Sequence[ModelScore], *, lacks_promptable: bool) -> str:
    """Show a row for each kind of clicks, with what the folds reach alone where nnInteractive is missing."""
    heading = ["with", "nested estimate", "on the cases of the choice", "nested estimate by fold"]
    more = ["the same cases without nnInteractive"] if lacks_promptable else []
    rows = [
        [score.clicks, f"{score.nested:.3f}", f"{score.chosen:.3f}", _list_range(score.by_fold)]
        + ([_describe_alone(score)] if lacks_promptable else [])
        for score in scores
    ]
    lines = [[*heading, *more], ["---"] * len([*heading, *more]), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _describe_alone(score: ModelScore) -> str:
    if score.share == 0:
        return "the same"
    return "not known" if score.alone is None else f"{score.alone:.3f}"


def _describe_curves(curves: Sequence[ClickCurve]) -> str:
    if not curves:
        return ""
    rows = "".join(
        f"\n| {SYSTEMS[curve.system]} | {curve.user} | {n} | {clicks:.1f} | {dice:.3f} |"
        for curve in curves
        for n, (clicks, dice) in enumerate(zip(curve.n_clicks, curve.dice, strict=True))
    )
    return (
        f"A simulated user corrected {curves[0].n_cases} cases, each answered by the fold that had not seen it. "
        "Threshold and clean-up were chosen on the same cases.\n\n"
        f"| answered by | user | corrections | mean number of clicks | mean Dice |\n|---|---|---|---|---|{rows}"
    )


def _list_dice(dice: Mapping[ClickMode, float]) -> str:
    return ", ".join(f"{_MODES[mode]} {score:.3f}" for mode, score in dice.items())


def _list_range(values: tuple[float, ...]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{min(known):.3f} to {max(known):.3f}" if known else "-"
