"""What differs between the kinds of networks that one engine trains, each kind in one class.

A fold's network sees patches with clicks; a promptable one sees prompts that depend on its own errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from interactivepet.core.plan import Plan
from interactivepet.core.promptable import PromptablePlan, TrainablePlan
from interactivepet.training.augment import Augmentation
from interactivepet.training.augment_device import DeviceAugmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.checkpoint import load_pretrained
from interactivepet.training.correct import add_corrections, draw_rounds
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.engine import Batch, BatchTransform, Engine
from interactivepet.training.promptable.batches import draw_prompt_batch
from interactivepet.training.promptable.prompt_user import PromptUser
from interactivepet.training.promptable.start import favour_background, load_model_weights

__all__ = ["FoldTask", "PromptTask", "TrainingTask"]

Seed = Sequence[int]


class TrainingTask(Protocol):
    """How one kind of network is trained; made once per run, and small enough to be sent to a worker."""

    @property
    def plan(self) -> TrainablePlan:
        """The plan that the training follows."""

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> str:
        """Give a new network its first weights, of another model or random ones; describe them in words.

        Raises:
            TrainingError: the weights cannot be used.
            SegmenterError: the same, of a promptable model's folder.
        """

    def draw_batch(
        self, cases: Sequence[StoredCase], *, seed: Seed, augmentation: Augmentation | None, ranks: Ranks = ALONE
    ) -> Any:
        """Draw this process's part of the arrays of one `Batch`; `augmentation` None draws one for validation."""

    def make_batch_transform(self, engine: Engine, *, seed: Seed, is_validation: bool = False) -> BatchTransform | None:
        """Make what changes each batch on the device before the network sees it; None when nothing does."""

    def augments_on_device(self, device: torch.device) -> bool:
        """Whether batches are drawn unaugmented and augmented as tensors by the batch transform."""


@dataclass(frozen=True, slots=True)
class FoldTask:
    """The task of a fold's network, which sees image, clicks and a previous mask."""

    plan: Plan

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> str:
        """Take what fits of the weights of another fold or task; the rest stays random."""
        if pretrained is None:
            return "random weights"
        n_taken, n_all = load_pretrained(network, pretrained)
        return f"{n_taken} of {n_all} tensors from {pretrained}"

    def draw_batch(
        self, cases: Sequence[StoredCase], *, seed: Seed, augmentation: Augmentation | None, ranks: Ranks = ALONE
    ) -> Any:
        """Draw patches; all processes together draw what one would draw of a batch so many times as large."""
        return next(PatchLoader(cases, self.plan, seed=seed, augmentation=augmentation, ranks=ranks))

    def make_batch_transform(self, engine: Engine, *, seed: Seed, is_validation: bool = False) -> BatchTransform | None:
        """Augment on a graphics card, where worker processes did not, and click on the network's own errors."""
        if is_validation:
            return None
        rng = np.random.default_rng(tuple(seed))
        # each process has its own noise, but all correct their samples equally often: none is to wait for another
        seeds = rng.integers(2**63, size=engine.ranks.size)
        generator = torch.Generator(engine.device).manual_seed(int(seeds[engine.ranks.rank]))
        augmentation = DeviceAugmentation(self.plan) if self.augments_on_device(engine.device) else None

        def transform(batch: Batch) -> tuple[Tensor, Tensor]:
            changed = batch if augmentation is None else augmentation(batch, generator)
            corrected = add_corrections(
                engine.forward,
                changed["data"],
                target=changed["target"],
                plan=self.plan,
                spacing_mm=batch["spacing_mm"],
                precision=engine.precision,
                generator=generator,
                rounds=draw_rounds(rng, share=self.plan.training.clicks.corrected),
            )
            return corrected, changed["target"]

        return transform

    def augments_on_device(self, device: torch.device) -> bool:
        """On a graphics card that is far faster than in worker processes, on a CPU slower."""
        return device.type == "cuda"


@dataclass(frozen=True, slots=True)
class PromptTask:
    """The task of a promptable network, which sees image, previous mask and prompts."""

    plan: PromptablePlan

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> str:
        """Take all weights of a model folder, or random ones that are almost sure of background."""
        favour_background(network)
        if pretrained is None:
            return "random weights"
        load_model_weights(network, pretrained)
        return f"the weights of {pretrained}"

    def draw_batch(
        self, cases: Sequence[StoredCase], *, seed: Seed, augmentation: Augmentation | None, ranks: Ranks = ALONE
    ) -> Any:
        """Draw objects; the samples of the processes have nothing in common."""
        own = seed if ranks.is_first else (*seed, ranks.rank)
        return draw_prompt_batch(cases, self.plan, seed=own, augmentation=augmentation)

    def make_batch_transform(self, engine: Engine, *, seed: Seed, is_validation: bool = False) -> BatchTransform | None:
        """Let a simulated user prompt for each object, once in its centre for validation."""
        return PromptUser(
            engine.result if is_validation else engine.forward,
            self.plan.prompts,
            precision=engine.precision,
            rng=np.random.default_rng(tuple(seed)),
            only_first_click=is_validation,
        )

    def augments_on_device(self, device: torch.device) -> bool:
        """Never: samples have masks and zooms that worker processes draw with the augmentation."""
        return False
