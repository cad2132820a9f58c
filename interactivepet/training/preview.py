"""The first batch as the network sees it, for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from interactivepet.core.sample import Sample
from interactivepet.training.epochs import Run, make_batches

__all__ = ["MOST_SAMPLES", "DrawSamples", "draw_first_batch"]

MOST_SAMPLES = 4

DrawSamples = Callable[[Sequence[Sample]], bytes]
"""Draws samples of one batch and gives the bytes of a PNG file."""


def draw_first_batch(run: Run, draw_samples: DrawSamples) -> bytes:
    """Draw the batch that the training of a fold's network will begin with, and give the picture.

    Nothing of the run changes: a batch depends on its number and the seed alone. When it is one of those with
    corrective clicks, the network itself is called, so that nothing is compiled for this.
    """
    batch = {name: torch.as_tensor(values) for name, values in make_batches(run)[0].items()}
    device = run.engine.device
    data, target = (batch[name].to(device) for name in ("data", "target"))
    engine = replace(run.engine, forward=run.engine.network)
    transform = run.task.make_batch_transform(engine, seed=(run.options.seed, run.data.index, 0))
    if transform is not None:
        data, target = transform({**batch, "data": data, "target": target})
    return draw_samples(_split(data[:MOST_SAMPLES], target[:MOST_SAMPLES], n_labels=len(run.plan.labels)))


def _split(data: Tensor, target: Tensor, *, n_labels: int) -> list[Sample]:
    """Split the network's input (N, C + 3 L, I, J, K): image, a positive and a negative map per label, masks."""
    values, labels = data.float().cpu().numpy(), target.cpu().numpy().astype(np.uint8)
    n_image = values.shape[1] - 3 * n_labels
    guidance, masks = values[:, n_image : n_image + 2 * n_labels], values[:, n_image + 2 * n_labels :]
    numbers = np.arange(1, 1 + n_labels).reshape(-1, 1, 1, 1)
    return [
        Sample(
            image=values[n, 0],
            positive=guidance[n, 0::2].max(axis=0),
            negative=guidance[n, 1::2].max(axis=0),
            previous=((masks[n] > 0) * numbers).max(axis=0).astype(np.uint8),
            label=labels[n],
        )
        for n in range(len(values))
    ]
