"""A look at the first batch as the network sees it: what no curve tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from interactivepet.core.plan import Plan
from interactivepet.reporting.batch_pictures import Sample, draw_batch
from interactivepet.reporting.views import is_emission
from interactivepet.training.epochs import make_batches
from interactivepet.training.lessons import make_preparation

if TYPE_CHECKING:
    from torch import Tensor

    from interactivepet.training.epochs import Run

__all__ = ["draw_first_batch"]

MOST_SAMPLES = 4


def draw_first_batch(run: Run, plan: Plan) -> bytes:
    """Draw the batch that training will begin with, and give its picture as the bytes of a PNG file.

    Nothing of the run changes: a batch depends on its number and the seed alone. When it is one of those with
    corrective clicks, the network itself is called, so that nothing is compiled for this.
    """
    batch = {name: torch.as_tensor(values) for name, values in make_batches(run)[0].items()}
    device = run.engine.device
    data, target = (batch[name].to(device) for name in ("data", "target"))
    engine = replace(run.engine, forward=run.engine.network)
    prepare = make_preparation(engine, plan, seed=(run.options.seed, run.data.index, 0))
    if prepare is not None:
        data, target = prepare({**batch, "data": data, "target": target})
    return draw_batch(
        _split(data[:MOST_SAMPLES], target[:MOST_SAMPLES], plan),
        spacing_mm=plan.spacing_mm,
        title=f"{plan.task} {plan.configuration}, fold {run.data.index}: first batch",
        is_emission=is_emission(plan.channels),
    )


def _split(data: Tensor, target: Tensor, plan: Plan) -> list[Sample]:
    """Take the network's input (N, C + 3 L, I, J, K) apart: image, a positive and a negative map a label, masks."""
    values, labels = data.float().cpu().numpy(), target.cpu().numpy().astype(np.uint8)
    n_image, n_labels = len(plan.channels), len(plan.labels)
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
