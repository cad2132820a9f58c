"""A demonstration model for nnInteractive, trained in about a minute from a task's own labels.

It makes the promptable side of the pipeline work without any download. It is no model for real images.

`training.promptable` trains a model for a user's own data. It is no substitute here: in the minutes that a
demonstration has, its whole patches and simulated users give far fewer steps. On 12 digital patients with six margin
points per object, after 95 s of processor time, it reached a mean Dice of 0.60, this trainer 0.85.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from interactivepet.core.artefact import Artefact
from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, to_triple
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptEncoding
from interactivepet.errors import SegmenterError
from interactivepet.nninteractive.model_folder import (
    NEGATIVE_CHANNEL,
    POSITIVE_CHANNEL,
    PREVIOUS_CHANNEL,
    check_new,
    make_small_network,
    write_model_folder,
)
from interactivepet.training.promptable.cases import make_prompt_case
from interactivepet.training.promptable.prompts import make_ball

if TYPE_CHECKING:
    import torch

__all__ = ["DemoModelCard", "train_demo_model"]

FloatArray = npt.NDArray[np.float32]
Voxels = npt.NDArray[np.intp]
"""Indices (N, 3)."""
Scalar = TypeVar("Scalar", bound=np.generic)

BATCH_SIZE = 2
"""Crops of one optimiser step."""
CROP_SIZE = 32
"""Edge of the crops in voxels: half the patch, since time goes with the cube; 24 was measured too small."""
LAST_CROP_SIZE = 48
"""Edge of the last crops. They show more of what lies around an object, such as hot organs, as the session's patch
does: with small crops alone, one seed in three gave a model that took organs for lesions (mean Dice 0.40 of 12
patients)."""
LAST_SHARE = 0.3
"""Share of the iterations with the last crops."""
LEARNING_RATE = 3e-3
"""At the start; falls to 0 as a polynomial of power 0.9."""


class DemoModelCard(Artefact):
    """The content of `card.json`: what a demonstration model was made from."""

    purpose: str = "Demonstration only: a small network, trained for about a minute. Not for real images."
    dataset_name: str
    channel: str
    licence: str
    iterations: int
    cases: tuple[str, ...]
    """Identifiers of the cases that it was trained on."""


def train_demo_model(
    cases: Iterable[Case],
    folder: Path,
    *,
    iterations: int,
    rng: np.random.Generator,
    licence: str,
    dataset_name: str = "Dataset900_InteractivePetDemo",
    channel: str = "PET",
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train the small network on labelled cases and write it as a model folder.

    A sample is a crop around a click on one connected component; the target is that component. It sees
    positive clicks (margin points or random ones), sometimes negative ones on hot voxels outside, and half
    of the time its own previous mask: the way a session goes on. The crop's image is normalised as the
    session does it. Runs on the CPU with the threads that torch has.

    Args:
        cases: with labels; their first channel is used.
        folder: must not exist yet.
        iterations: optimiser steps of `BATCH_SIZE` crops; 800 take about a minute on one core.
        rng: draws the weights and every sample.
        licence: under which the weights may be used.
        dataset_name: goes into the folder, in nnU-Net's form `DatasetNNN_Name`.
        channel: name of the first channel.
        progress: called after every iteration with their number so far and the loss.

    Raises:
        SegmenterError: no case has an object, or the folder exists.
    """
    import torch

    check_new(folder)
    volumes = [volume for volume in map(_make_volume, cases) if volume.objects]
    if not volumes:
        raise SegmenterError(f"{folder}: no case has a labelled object to learn from; give labelled cases")
    network = make_small_network(seed=int(rng.integers(2**31)))
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, iterations, power=0.9)
    for iteration in range(1, iterations + 1):
        edge = CROP_SIZE if iteration <= (1 - LAST_SHARE) * iterations else LAST_CROP_SIZE
        inputs, targets = _draw_batch(volumes, rng, edge=edge)
        loss = _train_step(network, optimiser, inputs, targets, refine=bool(rng.random() < 0.5))
        schedule.step()
        if progress is not None:
            progress(iteration, loss)
    card = DemoModelCard(
        dataset_name=dataset_name,
        channel=channel,
        licence=licence,
        iterations=iterations,
        cases=tuple(volume.id for volume in volumes),
    )
    write_model_folder(
        folder, network.state_dict(), licence=licence, dataset_name=dataset_name, channel=channel, card=card
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Volume:
    """One case ready to draw crops from.

    Attributes:
        id: the case's identifier.
        image: (I, J, K) float32, normalised as the session does it.
        components: (I, J, K), 0 or the number of a connected component of a label.
        objects: per component, its voxels (N, 3).
    """

    id: str
    image: FloatArray
    components: npt.NDArray[np.integer]
    objects: tuple[Voxels, ...]


def _make_volume(case: Case) -> _Volume:
    """Normalise the first channel as a session does it, and split the label."""
    ready = make_prompt_case(case, rng=np.random.default_rng(0))
    objects = tuple(np.argwhere(ready.objects == number) for number in ready.voxels)
    return _Volume(case.id, ready.image[0], ready.objects, objects)


def _draw_batch(
    volumes: Sequence[_Volume], rng: np.random.Generator, *, edge: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw inputs (B, 8, X, Y, Z) float32 and targets (B, X, Y, Z) int64."""
    import torch

    samples = [_draw_sample(volumes[int(rng.integers(len(volumes)))], rng, edge=edge) for _ in range(BATCH_SIZE)]
    inputs = torch.stack([inputs for inputs, _ in samples])
    return inputs, torch.from_numpy(np.stack([target for _, target in samples]))


def _draw_sample(volume: _Volume, rng: np.random.Generator, *, edge: int) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """Draw one crop: input (8, X, Y, Z) float32 and target (X, Y, Z) int64."""
    import torch

    number = int(rng.integers(len(volume.objects)))
    positives = _draw_positives(volume.objects[number], rng)
    start = positives[-1] - edge // 2 + rng.integers(-4, 5, size=3)
    image = _crop(volume.image, start, edge=edge) * rng.uniform(0.7, 1.4) + rng.uniform(-0.2, 0.2)
    target = _crop(volume.components, start, edge=edge) == number + 1
    clicks = [(voxel, True) for voxel in positives - start]
    clicks += [(voxel, False) for voxel in _draw_negatives(image, target, rng)]
    channels = torch.cat([torch.from_numpy(image)[None].float(), _to_interactions(clicks, edge=edge)])
    flips = [axis for axis in range(3) if rng.random() < 0.5]
    order = rng.permutation(3)
    turned = channels.permute(0, *(int(axis) + 1 for axis in order)).flip([axis + 1 for axis in flips])
    return turned, np.flip(target.transpose(order), tuple(flips)).astype(np.int64)


def _draw_positives(voxels: Voxels, rng: np.random.Generator) -> Voxels:
    """Draw clicks (N, 3) in an object: half of the time six near its margin, else one to three random ones."""
    if rng.random() < 0.5:
        extremes = [pick(voxels[:, axis]) for axis in range(3) for pick in (np.argmin, np.argmax)]
        centre = voxels.mean(axis=0)
        inward = voxels[extremes] + 0.25 * (centre - voxels[extremes])
        return rng.permutation(np.rint(inward).astype(np.intp))
    return voxels[rng.integers(len(voxels), size=rng.integers(1, 4))]


def _draw_negatives(image: FloatArray, target: npt.NDArray[np.bool_], rng: np.random.Generator) -> Voxels:
    """Draw clicks (N, 3), most often none, among the hottest voxels outside of the target."""
    outside = np.where(target, -np.inf, image)
    hottest = np.argwhere(outside >= np.quantile(outside, 0.98))
    chosen: Voxels = hottest[rng.integers(len(hottest), size=rng.choice([0, 0, 1, 2]))]
    return chosen


def _crop(array: npt.NDArray[Scalar], start: Voxels, *, edge: int) -> npt.NDArray[Scalar]:
    """Cut `edge` voxels along each axis from `start`; beyond the array there are zeros, as in the session."""
    crop: npt.NDArray[Scalar] = BoundingBox.at(to_triple(start.tolist()), (edge,) * 3).cut(array[None])[0]
    return crop


def _to_interactions(clicks: Sequence[tuple[Voxels, bool]], *, edge: int) -> torch.Tensor:
    """Draw clicks, oldest first, as the session does: channels (7, X, Y, Z) float32."""
    import torch

    prompts = PromptEncoding()
    ball = make_ball(prompts.point_radius)
    margin = prompts.point_radius
    channels = np.zeros((N_PROMPT_CHANNELS, *(edge + 2 * margin,) * 3), np.float32)
    for age, (voxel, is_positive) in enumerate(reversed(clicks)):
        if ((voxel >= 0) & (voxel < edge)).all():
            channel = channels[POSITIVE_CHANNEL if is_positive else NEGATIVE_CHANNEL]
            place = tuple(slice(v, v + len(ball)) for v in voxel)
            channel[place] = np.maximum(channel[place], prompts.decay**age * ball)
    inside = slice(margin, -margin)
    return torch.from_numpy(channels[:, inside, inside, inside])


def _train_step(
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    refine: bool,
) -> float:
    """Take one step on Dice and cross-entropy; `refine` shows the network its own mask first."""
    import torch

    if refine:
        with torch.no_grad():
            previous = network(inputs).argmax(1, keepdim=True).float()
        inputs = torch.cat([inputs[:, : 1 + PREVIOUS_CHANNEL], previous, inputs[:, 2 + PREVIOUS_CHANNEL :]], dim=1)
    logits = network(inputs)
    probability = logits.softmax(1)[:, 1]
    overlap = (probability * targets).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (probability.sum((1, 2, 3)) + targets.sum((1, 2, 3)) + 1)
    loss = torch.nn.functional.cross_entropy(logits, targets) + 1 - dice.mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())
