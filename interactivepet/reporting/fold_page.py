"""One trained fold as one self-contained web page: how it was trained, what it learnt and where it fails."""

from __future__ import annotations

from collections.abc import Mapping

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.plan import Plan, UNetPlan
from interactivepet.evaluation.fold_summary import FoldSummary, summarise_fold
from interactivepet.reporting.html import render_page

__all__ = ["describe_duration", "describe_plan", "render_fold"]

MODE_NAMES = {"none": "without clicks", "extreme": "with clicks"}


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
    summary = summarise_fold(card)
    means = summary.mean_dice
    return render_page(
        "fold",
        title=f"{card.task}, {plan.configuration}, fold {card.fold}",
        card=card,
        means={name: means[mode] for mode, name in MODE_NAMES.items() if mode in means},
        facts=_list_facts(card, plan, summary=summary),
        cases=summary.cases,
        n_clicks=n_clicks,
        curves=curves,
        pictures=pictures,
    )


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


def _list_facts(card: CheckpointCard, plan: Plan, *, summary: FoldSummary) -> dict[str, str]:
    """Give what a reader asks first, one line each."""
    planned = plan.memory
    limited = "" if card.patients is None else f" (of {card.patients} patients only)"
    start = card.pretrained
    first = {} if start is None else {"First weights": f"{start.share:.0%} are those of {start.name}"}
    return {
        "Plan": describe_plan(plan),
        "Cases": f"{len(card.training)} for training{limited}, {len(card.validation)} for validation",
        **first,
        "Device": card.device,
        "Time": f"{describe_duration(summary.seconds)} for {len(card.epochs)} epochs",
        "Iterations a second": f"{summary.iterations_per_second:.3g} (median of the epochs)",
        "Waiting for batches": f"{summary.wait_share:.1%} of the training time the device had nothing to compute",
        "Memory": f"{summary.memory_gb:.2f} GB at the peak; a step was planned to take {planned.float32_gb:.2f} GB, "
        f"{planned.mixed_gb:.2f} GB in mixed precision",
        "Predictions": "mean over mirrored inputs" if card.tta else "one pass, without mirrored inputs",
    }
