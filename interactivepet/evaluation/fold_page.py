"""One trained fold as one self-contained web page: how it was trained, what it learnt and where it fails."""

from __future__ import annotations

import statistics
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from interactivepet.core.checkpoint import CheckpointCard, EpochRecord
from interactivepet.core.plan import Plan, UNetPlan
from interactivepet.evaluation.html import NOTICE, render_page

__all__ = ["describe_duration", "describe_plan", "render_fold"]

DEFINITIONS = """
<p class="note">Dice out of fold: of masks at threshold 0.5, without postprocessing, mean over the labels of a case; 1
where mask and reference are both empty. With clicks: with those that are stored for the case. The Dice of validation
patches follows progress and estimates nothing: patches are not cases.</p>
"""

MODE_NAMES = {"none": "without clicks", "extreme": "with clicks"}

ONE_LINE = 'style="white-space: nowrap; vertical-align: top"'

LEGEND = """
<p class="note">Green: reference. Red: mask out of fold, with the clicks shown.</p>
"""


def render_fold(
    card: CheckpointCard, plan: Plan, *, n_clicks: Mapping[str, int], curves: bytes, pictures: Mapping[str, bytes]
) -> str:
    """Render a fold as HTML that needs no other file and no script.

    Args:
        card: of the fold.
        plan: that it was trained by.
        n_clicks: validation case -> clicks that are stored for it.
        curves: PNG file's bytes of the learning curves.
        pictures: PNG file's bytes of the worst validation cases.

    Returns:
        The page's text.
    """
    title = f"{card.task}, {plan.configuration}, fold {card.fold}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _render_headline(card),
        f'<p class="notice"><b>{NOTICE}</b> Weights: {escape(card.licence)}.</p>',
        "<h2>Training</h2>",
        _render_facts(card, plan),
        _render_picture(curves, name="Learning curves"),
        "<h2>Validation cases, worst first</h2>",
        _render_cases(card.validation_dice, n_clicks),
        DEFINITIONS,
        f"<h2>Pictures of the worst</h2>{LEGEND}" if pictures else "",
        *(_render_picture(png, name=f"Slices of {case}") for case, png in pictures.items()),
        f"<footer>Made by interactivepet {escape(card.package_version)} from plan {escape(card.made_from)}, weights "
        f"{card.weights_sha256[:16]}. {NOTICE}</footer>",
    ]
    return render_page(title, body)


def describe_plan(plan: Plan) -> str:
    """Say in one line what a network of this plan looks at and how large it is."""
    network = plan.network
    if isinstance(network, UNetPlan):
        features = network.features_per_stage
        shape = f"{network.architecture} U-Net of {len(features)} stages, {features[0]} to {features[-1]} features"
    else:
        shape = f"{'UNETR' if network.architecture == 'unetr' else 'SwinUNETR'}, {network.feature_size} features"
    spacing = " x ".join(f"{mm:.3g}" for mm in plan.spacing_mm)
    patch = " x ".join(map(str, plan.patch_size))
    return (
        f"{shape}; patches of {patch} voxels of {spacing} mm, {plan.training.batch_size} a batch; "
        f"{plan.training.loss}, {plan.training.optimizer} at {plan.training.learning_rate:g}; "
        f"channels {', '.join(plan.channels)}; labels {', '.join(plan.labels)}; budget {plan.budget}"
    )


def describe_duration(seconds: float) -> str:
    """Write a time as `2 h 05 min`, `12 min 30 s` or `8 s`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _render_headline(card: CheckpointCard) -> str:
    means = [
        f"<b>{statistics.fmean(card.validation_dice[mode].values()):.3f}</b> {name}"
        for mode, name in MODE_NAMES.items()
        if mode in card.validation_dice
    ]
    found = ", ".join(means) or "not measured: the plan crops to clicks, and no case has any"
    return f'<p class="headline">Mean Dice out of fold {found}, over {len(card.validation)} cases</p>'


def _render_facts(card: CheckpointCard, plan: Plan) -> str:
    """Render what a reader asks first, one row each."""
    epochs = card.epochs
    speed = statistics.median(record.iterations_per_second for record in epochs)
    facts = {
        "Plan": describe_plan(plan),
        "Cases": f"{len(card.training)} for training, {len(card.validation)} for validation",
        "Device": card.device,
        "Time": f"{describe_duration(sum(record.seconds for record in epochs))} for {len(epochs)} epochs",
        "Iterations a second": f"{speed:.3g} (median of the epochs)",
        "Waiting for batches": f"{_mean_wait(epochs):.1%} of the training time the device had nothing to compute",
        "Memory": f"{max(record.memory_gb for record in epochs):.2f} GB at the peak; a step "
        f"was planned to take {plan.memory.float32_gb:.2f} GB, {plan.memory.mixed_gb:.2f} GB in mixed precision",
        "Predictions": "mean over mirrored inputs" if card.tta else "one pass, without mirrored inputs",
    }
    rows = "\n".join(
        f'<tr><th class="text" scope="row" {ONE_LINE}>{name}</th><td class="text">{escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f'<div class="scroll"><table>\n{rows}\n</table></div>'


def _mean_wait(epochs: Sequence[EpochRecord]) -> float:
    """Average the share of waiting over the time, so that a short epoch counts for little."""
    total = sum(record.seconds for record in epochs)
    return sum(record.wait_share * record.seconds for record in epochs) / total if total else 0.0


def _render_cases(dice: Mapping[str, Mapping[str, float]], n_clicks: Mapping[str, int]) -> str:
    """Render one row a case, ordered by the Dice with clicks."""
    none, clicked = dice.get("none", {}), dice.get("extreme", {})
    rows = [
        f'<tr><td class="text">{escape(case)}</td><td>{n_clicks.get(case, 0)}</td>{_dice_cell(none.get(case))}'
        f"{_dice_cell(clicked[case])}<td>{f'{clicked[case] - none[case]:+.3f}' if case in none else '-'}</td></tr>"
        for case in sorted(clicked, key=lambda case: (clicked[case], none.get(case, 0.0), case))
    ]
    heads = ("Clicks", "Dice without clicks", "Dice with clicks", "Gain")
    head = '<th class="text" scope="col">Case</th>' + "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _dice_cell(dice: float | None) -> str:
    if dice is None:
        return "<td>-</td>"
    return f'<td class="bar" style="--share:{100 * dice:.0f}%">{dice:.3f}</td>'


def _render_picture(png: bytes, *, name: str) -> str:
    """Render a picture with its bytes inside the page."""
    data = b64encode(png).decode()
    return f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}"></figure>'
