"""Several probability maps of one case become one, and one becomes a mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction, Segmentation
from interactivepet.errors import FusionError

__all__ = ["average", "blend", "find_silent", "to_segmentation"]


def average(predictions: Iterable[Prediction]) -> Prediction:
    """Average the probabilities of several predictions of one case, such as those of the folds.

    Args:
        predictions: at least one; all of the same case, grid and labels. From a generator, one is held at a time.

    Returns:
        Mean probabilities (1 + L, I, J, K) float32.

    Raises:
        FusionError: nothing was given, or cases, grids or labels differ.
    """
    remaining = iter(predictions)
    first = next(remaining, None)
    if first is None:
        raise FusionError("no prediction to average; expected at least one fold's")
    total, n, skipped = first.probabilities, 1, first.skipped
    for prediction in remaining:
        _check_same(first, prediction)
        # the first sum is an array of our own
        total = np.add(total, prediction.probabilities, out=total if n > 1 else None)
        skipped += prediction.skipped
        n += 1
    if n == 1:
        return first
    total /= n
    return Prediction(first.case_id, total, first.geometry, first.labels, skipped / n)


def find_silent(labels: Sequence[int], clicks: Sequence[Click]) -> tuple[int, ...]:
    """Give the labels of which a promptable model says nothing, as no click shows where they are."""
    shown = {click.label for click in clicks if click.is_positive}
    return tuple(label for label in labels if label not in shown)


def blend(folds: Prediction, promptable: Prediction, clicks: Sequence[Click], *, weight: float) -> Prediction:
    """Mix the folds' probabilities with those of a promptable model.

    A promptable model does not look for labels without a positive click: it gives them 0 everywhere, which is no
    answer. What it calls background is shared out among background and these labels as the folds do.

    Args:
        folds: the averaged fold networks.
        promptable: the promptable model on the same case, grid and labels.
        clicks: that both were given.
        weight: share of `promptable` in [0, 1]; 0 gives `folds`, 1 gives `promptable`.

    Returns:
        Probabilities (1 + L, I, J, K) float32.

    Raises:
        FusionError: cases, grids or labels differ, or `weight` lies outside of [0, 1].
    """
    _check_same(folds, promptable)
    if not 0.0 <= weight <= 1.0:
        raise FusionError(f"{folds.case_id}: blending weight {weight}; expected a share between 0 and 1")
    shown = promptable.probabilities
    if silent := [1 + folds.labels.index(label) for label in find_silent(folds.labels, clicks)]:
        rest, kept = promptable.probabilities[0], folds.probabilities[silent]
        shown = shown.copy()
        shown[silent] = kept * rest
        shown[0] = rest * (1 - kept.sum(axis=0))
    share = np.float32(weight)
    mixed = folds.probabilities * (1 - share) + shown * share
    return replace(folds, probabilities=mixed)


def to_segmentation(prediction: Prediction, *, threshold: float) -> Segmentation:
    """Turn probabilities into a mask.

    Args:
        prediction: probabilities (1 + L, I, J, K).
        threshold: a voxel is foreground when 1 - P(background) reaches it; its label is then the likeliest
            one, the first of them on a tie.

    Returns:
        Mask (I, J, K) uint8 of label values.
    """
    background, foreground = prediction.probabilities[0], prediction.probabilities[1:]
    values = np.asarray(prediction.labels, dtype=np.uint8)
    # Compared on the background's side: 1 - float32(0.6) would fall just short of 0.4.
    is_foreground = background <= np.float32(1 - threshold)
    mask = np.zeros(background.shape, np.uint8)
    # lesions are a small part of a body: the likeliest label is looked for in them alone
    mask[is_foreground] = values[foreground[:, is_foreground].argmax(axis=0)]
    return Segmentation(prediction.case_id, mask, prediction.geometry, prediction.labels)


def _check_same(first: Prediction, second: Prediction) -> None:
    """Refuse two predictions that do not describe the same voxels and labels."""
    if first.case_id != second.case_id:
        raise FusionError(f"predictions of {first.case_id} and {second.case_id} must not be fused; expected one case")
    if not first.geometry.matches(second.geometry):
        raise FusionError(
            f"{first.case_id}: grids of {first.geometry.shape} and {second.geometry.shape} voxels differ by "
            f"{first.geometry.offset_mm(second.geometry):.3g} mm; predict both from the same image"
        )
    if first.labels != second.labels:
        raise FusionError(f"{first.case_id}: labels {first.labels} and {second.labels} differ; use models of one task")
