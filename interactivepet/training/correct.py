"""Corrective clicks in training: the network predicts, its worst errors are clicked on, and it sees the clicks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interactivepet.core.plan import Plan
from interactivepet.guidance.encode import CUT_OFF_SCALES

__all__ = ["MOST_ROUNDS", "add_corrections", "draw_rounds", "find_errors", "measure_depth", "predict_classes"]

MOST_ROUNDS = 3
"""Corrections in a row that a sample sees at most: refinement is learnt from sequences, not from first errors only."""

DROPPED_MASK_SHARE = 0.25
"""Share of the corrected samples that keep the previous mask they came with, which is empty outside of a cascade.

Clicks must tell the network something without it, too: users bring clicks and no mask.
"""

MOST_DEPTH = 6
"""Depth, in edges of the finest axis, beyond which an error counts as thick and is clicked on anywhere within."""

_TIE_SPAN = 0.99
"""Width of the noise that decides between voxels of one depth; below 1, so that it never outweighs a depth."""


def draw_rounds(rng: np.random.Generator, *, share: float) -> int:
    """Draw how often an iteration corrects its samples: 1 to `MOST_ROUNDS` times in a `share` of them, else never.

    A round costs a forward pass more than a plain iteration.
    """
    return int(rng.integers(1, MOST_ROUNDS + 1)) if rng.random() < share else 0


def add_corrections(
    network: Callable[[Tensor], Any],
    data: Tensor,
    *,
    target: Tensor,
    plan: Plan,
    spacing_mm: Tensor,
    precision: torch.dtype | None,
    generator: torch.Generator,
    rounds: int,
) -> Tensor:
    """Let the network predict, click on each sample's thickest error, and repeat.

    A round gives a sample one click: positive in what was missed of a label, negative in what was spilled. Then the
    prediction becomes the previous mask. A sample without error gets the mask alone. Nothing waits for the device.

    Args:
        network: maps `data` to logits (N, 1 + L, I, J, K), or to a list of them, finest first; in its own mode.
        data: (N, C + 3 L, I, J, K) float32: image, guidance and previous mask.
        target: (N, I, J, K) integer, 0 for the background and 1 ... L for the labels.
        plan: scale of the guidance, noise of the clicks.
        spacing_mm: (N, 3) of each sample's voxels, on the host: where all cases get one shape, it differs by a factor.
        precision: of autocast; None computes in float32.
        generator: on the device of `data`.
        rounds: clicks that each sample gets at most.

    Returns:
        The data with clicks and masks, a new tensor without gradient; after 0 rounds a view of `data`.
    """
    n_image, n_labels = len(plan.channels), len(plan.labels)
    image, guidance, first_masks = data.detach().split((n_image, 2 * n_labels, n_labels), dim=1)
    dropped = torch.rand(len(data), generator=generator, device=data.device) < DROPPED_MASK_SHARE
    corrected = data.detach()
    for _ in range(rounds):
        prediction = predict_classes(network, corrected, precision=precision)
        errors = find_errors(prediction, target, n_labels=n_labels)
        guidance = _add_clicks(guidance, errors, plan=plan, spacing_mm=spacing_mm, generator=generator)
        masks = _split_labels(prediction, n_labels).to(data.dtype)
        masks = torch.where(dropped[:, None, None, None, None], first_masks, masks)
        corrected = torch.cat((image, guidance, masks), dim=1)
    return corrected


def predict_classes(network: Callable[[Tensor], Any], data: Tensor, *, precision: torch.dtype | None) -> Tensor:
    """Predict classes (N, I, J, K) int64, without gradient; `precision` of autocast, None for float32."""
    # within an outer autocast, weights that are cached here could be without gradient in the step that follows
    context = torch.autocast(data.device.type, precision, enabled=precision is not None, cache_enabled=False)
    with torch.no_grad(), context:
        outputs = network(data)
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs[0]
    return logits.argmax(1)


def _split_labels(classes: Tensor, n_labels: int) -> Tensor:
    """Turn classes (N, I, J, K) into a mask of each label, (N, L, I, J, K) bool."""
    values = torch.arange(1, n_labels + 1, device=classes.device)
    return classes[:, None] == values[:, None, None, None]


def find_errors(prediction: Tensor, target: Tensor, *, n_labels: int) -> Tensor:
    """Find what was missed and what was spilled of each label.

    Args:
        prediction: (N, I, J, K) integer, classes.
        target: as `prediction`.
        n_labels: L.

    Returns:
        (N, 2 L, I, J, K) bool in the order of the guidance channels: missed, then spilled voxels of each label.
    """
    guess, truth = _split_labels(prediction, n_labels), _split_labels(target, n_labels)
    return torch.stack((truth & ~guess, guess & ~truth), dim=2).flatten(1, 2)


def measure_depth(masks: Tensor, *, spacing_mm: Tensor) -> Tensor:
    """Measure how deep voxels lie in a mask by eroding it with boxes that grow by one edge of the finest axis.

    A coarser axis is eroded when the box has grown by another of its voxels, an axis of one voxel never. Outside
    of the grid there is no mask: what its border cuts is clicked on in the part that is seen.

    Args:
        masks: (N, M, I, J, K) bool.
        spacing_mm: (N, 3) of each sample's voxels along (i, j, k), on the host.

    Returns:
        (N, M, I, J, K) uint8: 0 outside of the mask, 1 at its surface, at most 1 + `MOST_DEPTH`.
    """
    axes = [axis for axis in range(3) if masks.shape[2 + axis] > 1]
    depth = masks.to(torch.uint8)
    # edges of the finest axis, none longer than 1; spacings that differ in their last digits only are the same
    share = spacing_mm[:, axes].amin(1, keepdim=True) / spacing_mm[:, axes] if axes else spacing_mm[:, :0]
    grown = (torch.arange(MOST_DEPTH + 1)[:, None, None] * share + 1e-3).floor().diff(dim=0) > 0
    for erodes in grown:
        for axis, chosen in zip(axes, erodes.unbind(1), strict=True):
            masks = _erode(masks, 2 + axis, chosen)
        depth = depth + masks
    return depth


def _erode(masks: Tensor, axis: int, chosen: Tensor) -> Tensor:
    """Keep the voxels whose two neighbours along an axis are in the mask too; all of samples not `chosen`, (N,)."""
    if not chosen.any():
        return masks
    n = masks.shape[axis]
    eroded = torch.zeros_like(masks)
    if n > 2:
        inner = masks.narrow(axis, 0, n - 2) & masks.narrow(axis, 1, n - 2) & masks.narrow(axis, 2, n - 2)
        eroded.narrow(axis, 1, n - 2).copy_(inner)
    if chosen.all():
        return eroded
    return torch.where(chosen.to(masks.device, non_blocking=True)[:, None, None, None, None], eroded, masks)


def _add_clicks(
    guidance: Tensor, errors: Tensor, *, plan: Plan, spacing_mm: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw one click into the guidance of each sample that has an error; both are (N, 2 L, I, J, K)."""
    channel, voxel = _choose_voxel(errors, spacing_mm=spacing_mm, generator=generator)
    allowed = errors[torch.arange(len(errors), device=errors.device), channel]
    edges_mm = spacing_mm.to(errors.device, non_blocking=True)
    points = _displace(voxel, allowed, noise=plan.training.clicks.noise_mm / edges_mm, generator=generator)
    heat = _encode(points, errors.shape[2:], scale=plan.guidance.scale_mm / edges_mm)
    chosen = torch.arange(errors.shape[1], device=errors.device) == channel[:, None]
    clicked = chosen & errors.flatten(1).any(1, keepdim=True)
    return torch.where(clicked[..., None, None, None], torch.maximum(guidance, heat[:, None]), guidance)


def _choose_voxel(errors: Tensor, *, spacing_mm: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose the deepest voxel of all errors of a sample, by chance among equals.

    Returns:
        Its channel (N,) and its indices (N, 3), both int64; without meaning where a sample has no error.
    """
    depth = measure_depth(errors, spacing_mm=spacing_mm)
    ties = torch.rand(errors.shape, generator=generator, device=errors.device)
    place = ((depth + _TIE_SPAN * ties) * errors).flatten(1).argmax(1)
    _, _, n_i, n_j, n_k = errors.shape
    voxel = torch.stack((place // (n_k * n_j) % n_i, place // n_k % n_j, place % n_k), dim=1)
    return place // (n_i * n_j * n_k), voxel


def _displace(voxel: Tensor, allowed: Tensor, *, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Displace voxels (N, 3) by `noise` (N, 3) voxels where they stay in `allowed`, (N, I, J, K) bool; else not."""
    last = (torch.tensor(allowed.shape[1:]) - 1).to(voxel.device, non_blocking=True)
    step = torch.randn(voxel.shape, generator=generator, device=voxel.device)
    # an image of one slice has no depth to err in
    moved = voxel + step * noise * (last > 0)
    nearest = moved.round().long()
    inside = torch.minimum(nearest.clamp(min=0), last)
    i, j, k = inside.unbind(1)
    stays = (inside == nearest).all(1) & allowed[torch.arange(len(voxel), device=voxel.device), i, j, k]
    return torch.where(stays[:, None], moved, voxel.to(moved.dtype))


def _encode(points: Tensor, shape: torch.Size, *, scale: Tensor) -> Tensor:
    """Draw a Gaussian around points (N, 3), `scale` (N, 3) voxels wide, as `guidance.encode.encode_points` does.

    Returns:
        (N, I, J, K).
    """
    profiles = []
    for axis in range(3):
        width = scale[:, axis, None]
        index = torch.arange(shape[axis], device=points.device)
        distance = (index - points[:, axis, None]).abs()
        profile = torch.exp(-0.5 * (distance / width).square())
        profiles.append(torch.where(distance <= CUT_OFF_SCALES * width, profile, 0.0))
    i, j, k = profiles
    return i[:, :, None, None] * j[:, None, :, None] * k[:, None, None, :]
