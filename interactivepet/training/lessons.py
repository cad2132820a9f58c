"""What differs between networks that one engine trains: first weights, batches, and what happens to them on the device.

A fold's network sees patches with clicks; a promptable one sees prompts that depend on its own errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from interactivepet.core.plan import Plan
from interactivepet.core.promptable import PromptablePlan
from interactivepet.training.augment import Augmentation
from interactivepet.training.augment_device import DeviceAugmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.correct import add_corrections, draw_rounds
from interactivepet.training.pretrained import load_pretrained

if TYPE_CHECKING:
    from interactivepet.training.feed import Batch
    from interactivepet.training.loop import Engine, Prepare

__all__ = ["TrainablePlan", "augments_on_device", "draw_batch", "make_preparation", "start_network"]

TrainablePlan = Plan | PromptablePlan
"""What a network can be trained by."""


def draw_batch(
    cases: Sequence[StoredCase],
    plan: TrainablePlan,
    *,
    seed: Sequence[int],
    augmentation: Augmentation | None,
    rank: int = 0,
    n_ranks: int = 1,
) -> Any:
    """Draw one batch: `data`, `target` and what `make_preparation` needs; `augmentation` None draws one for validation.

    Processes that share batches draw, `n_ranks` of them together, the samples that one would draw of a batch so
    many times as large; a promptable network's have nothing in common.
    """
    if isinstance(plan, PromptablePlan):
        from interactivepet.training.promptable.batches import draw_prompt_batch

        return draw_prompt_batch(cases, plan, seed=(*seed, rank) if rank else seed, augmentation=augmentation)
    return next(PatchLoader(cases, plan, seed=seed, augmentation=augmentation, rank=rank, n_ranks=n_ranks))


def start_network(network: nn.Module, plan: TrainablePlan, *, pretrained: Path | None) -> str:
    """Give a new network its first weights: of another model, or random ones; say which, in words.

    Raises:
        TrainingError: the weights cannot be used.
        SegmenterError: likewise, of a promptable model's folder.
    """
    if isinstance(plan, PromptablePlan):
        from interactivepet.training.promptable.start import favour_background, load_model_weights

        favour_background(network)
        if pretrained is not None:
            load_model_weights(network, pretrained)
    elif pretrained is not None:
        n_taken, n_all = load_pretrained(network, pretrained)
        return f"{n_taken} of {n_all} tensors from {pretrained}"
    return "random weights" if pretrained is None else f"the weights of {pretrained}"


def make_preparation(
    engine: Engine, plan: TrainablePlan, *, seed: Sequence[int], is_validation: bool = False
) -> Prepare | None:
    """Give what changes each batch on the device before the network sees it; None when nothing does."""
    if not isinstance(plan, PromptablePlan):
        return None if is_validation else _make_lesson(engine, plan, seed=seed)
    from interactivepet.training.promptable.user import PromptUser

    return PromptUser(
        engine.result if is_validation else engine.forward,
        plan.prompts,
        precision=engine.precision,
        rng=np.random.default_rng(tuple(seed)),
        only_first_click=is_validation,
    )


def _make_lesson(engine: Engine, plan: Plan, *, seed: Sequence[int]) -> Prepare:
    """Augment on a graphics card, where worker processes did not, and click on the network's own errors."""
    rng = np.random.default_rng(tuple(seed))
    # each process has its own noise, but all correct their samples equally often: none is to wait for another
    seeds = rng.integers(2**63, size=engine.ranks.size)
    generator = torch.Generator(engine.device).manual_seed(int(seeds[engine.ranks.rank]))
    augmentation = DeviceAugmentation(plan) if augments_on_device(engine.device, plan) else None

    def prepare(batch: Batch) -> tuple[Tensor, Tensor]:
        changed = batch if augmentation is None else augmentation(batch, generator)
        corrected = add_corrections(
            engine.forward,
            changed["data"],
            target=changed["target"],
            plan=plan,
            spacing_mm=batch["spacing_mm"],
            precision=engine.precision,
            generator=generator,
            rounds=draw_rounds(rng, share=plan.training.clicks.corrected),
        )
        return corrected, changed["target"]

    return prepare


def augments_on_device(device: torch.device, plan: TrainablePlan) -> bool:
    """Whether batches come unaugmented and are augmented as tensors: on a card that is far faster, on a CPU slower.

    Samples of a promptable network have masks and zooms that worker processes draw with the augmentation.
    """
    return device.type == "cuda" and isinstance(plan, Plan)
