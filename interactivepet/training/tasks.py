"""What differs between the kinds of networks that one engine trains, each kind in one class.

A fold's network sees patches with clicks; a promptable one sees prompts that depend on its own errors.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from interactivepet.core.checkpoint import Pretraining
from interactivepet.core.plan import Plan, UNetPlan
from interactivepet.core.promptable import PromptablePlan, TrainablePlan
from interactivepet.training.augment import Augmentation
from interactivepet.training.augment_device import DeviceAugmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.correct import add_corrections, draw_rounds
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.engine import Batch, BatchTransform, Engine
from interactivepet.training.pretrained import PretrainedNetwork, ReadPretrained, read_weights_file
from interactivepet.training.promptable.batches import draw_prompt_batch
from interactivepet.training.promptable.prompt_user import PromptUser
from interactivepet.training.promptable.start import favour_background, load_model_weights
from interactivepet.training.transfer import transfer_weights

__all__ = ["FirstWeights", "FoldTask", "PromptTask", "TrainingTask"]

logger = logging.getLogger(__name__)

Seed = Sequence[int]

ENOUGH = 0.8
"""Share of a network's weights below which a pretrained network is of little use: its layers are other ones."""


@dataclass(frozen=True, slots=True)
class FirstWeights:
    """What a new network starts from.

    Attributes:
        words: for the log.
        pretrained: the model that a fold starts from; None for random weights.
    """

    words: str
    pretrained: Pretraining | None = None


class TrainingTask(Protocol):
    """How one kind of network is trained; made once per run, and small enough to be sent to a worker."""

    @property
    def plan(self) -> TrainablePlan:
        """The plan that the training follows."""

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> FirstWeights:
        """Give a new network its first weights, of another model or random ones.

        Raises:
            TrainingError: the weights cannot be used.
            ModelError: the same, of a model.
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
    """The task of a fold's network, which sees image, clicks and a previous mask.

    Attributes:
        plan: that the training follows.
        read_pretrained: reads what the network is to start from.
    """

    plan: Plan
    read_pretrained: ReadPretrained = read_weights_file

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> FirstWeights:
        """Take what fits of the weights of a model, of another fold or task; the rest stays random."""
        if pretrained is None:
            return FirstWeights("random weights")
        given = self.read_pretrained(pretrained)
        transfer = transfer_weights(network, given, plan=self.plan)
        notes = f" ({'; '.join(transfer.notes)})" if transfer.notes else ""
        if transfer.share < ENOUGH:
            logger.warning(
                "only %.0f %% of the weights come from %s, the rest is random: %s",
                100 * transfer.share,
                given.name,
                self._advise(given, pretrained),
            )
        words = f"{given.name}: {transfer.share:.0%} of the weights are taken{notes}"
        return FirstWeights(words, Pretraining(name=given.name, share=transfer.share, licence=given.licence))

    def _advise(self, given: PretrainedNetwork, path: Path) -> str:
        """Say how more of a pretrained network fits."""
        if given.plan is None or not isinstance(given.plan.network, UNetPlan):
            return "its layers are other ones than this plan's"
        return (
            "its layers are other ones than this plan's; plan the same ones with interactivepet_plan_and_process -t "
            f"{self.plan.task} --architecture {path}"
        )

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

    def set_first_weights(self, network: nn.Module, *, pretrained: Path | None) -> FirstWeights:
        """Take all weights of a model folder, or random ones that are almost sure of background."""
        favour_background(network)
        if pretrained is None:
            return FirstWeights("random weights")
        load_model_weights(network, pretrained)
        return FirstWeights(f"the weights of {pretrained}")

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
