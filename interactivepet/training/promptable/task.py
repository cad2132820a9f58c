"""The task of a promptable network, which sees prompts on its own errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from interactivepet.core.geometry import Spacing
from interactivepet.core.promptable import PromptablePlan
from interactivepet.training.augment import Augmentation
from interactivepet.training.batches import StoredCase
from interactivepet.training.engine import BatchTransform, Engine
from interactivepet.training.promptable.batches import draw_prompt_batch
from interactivepet.training.promptable.prompt_user import PromptUser
from interactivepet.training.promptable.start import favour_background, load_model_weights

__all__ = ["PromptTask"]


@dataclass(frozen=True, slots=True)
class PromptTask:
    """A `TrainingTask` for a promptable network."""

    plan: PromptablePlan

    @property
    def name(self) -> str:
        """The format of the model."""
        return "nninteractive"

    @property
    def spacing_mm(self) -> Spacing:
        """Cubes: a promptable model sees each case in its own voxels."""
        return (1.0, 1.0, 1.0)

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> str:
        """Take all weights of a model folder, or random ones that are almost sure of background."""
        favour_background(network)
        if pretrained is None:
            return "random weights"
        load_model_weights(network, pretrained)
        return f"the weights of {pretrained}"

    def draw_batch(
        self,
        cases: Sequence[StoredCase],
        *,
        seed: Sequence[int],
        augmentation: Augmentation | None,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> Any:
        """Draw objects; the ranks' samples have nothing in common."""
        return draw_prompt_batch(cases, self.plan, seed=(*seed, rank) if rank else seed, augmentation=augmentation)

    def make_batch_transform(
        self, engine: Engine, *, seed: Sequence[int], is_validation: bool = False
    ) -> BatchTransform | None:
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
