"""A simulated user at work on a batch: prompts on the largest errors, round after round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, to_triple
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptEncoding
from interactivepet.training.correct import find_errors, measure_depth, predict_classes
from interactivepet.training.promptable.prompt_habits import list_prompts
from interactivepet.training.promptable.prompts import CHANNELS, Kind, draw_shape, make_ball

__all__ = ["ROUND_SHARES", "PromptUser"]

ROUND_SHARES = (0.5, 0.2, 0.15, 0.15)
"""How often a batch sees 1, 2, 3 or 4 prompts; each but the first costs a forward pass."""

SILENT_SHARE = 0.3
"""Share of the samples with an initial mask that get no prompt: sessions refine large objects so."""

DEEPEST_SHARE = 0.5
"""Share of the prompts at the thickest error; the others are at any voxel of one."""

WINDOW = 48
"""Voxels around a prompt beyond which an error is not looked at: boxes and lassos of larger ones are cut."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PromptUser:
    """Turns what `draw_prompt_batch` draws into the network's input, on the device: a `BatchTransform`.

    Attributes:
        network: maps (N, 8, I, J, K) to logits (N, 2, I, J, K), or to a list of them, finest first.
        prompts: how they become channels.
        precision: of autocast; None computes in float32.
        rng: draws users, rounds and prompts.
        only_first_click: place one point in each sample's centre and no more, as validation wants it.
    """

    network: Callable[[Tensor], Any]
    prompts: PromptEncoding
    _: KW_ONLY
    precision: torch.dtype | None
    rng: np.random.Generator
    only_first_click: bool = False

    def __call__(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prompt every sample once or more; from the second prompt on, on errors of the network's own.

        Args:
            batch: `data` (N, 3, I, J, K): image, initial mask, zoom; `target` (N, I, J, K) integer, 1 in the object.

        Returns:
            Input (N, 8, I, J, K): image, previous mask, prompts; and the target.
        """
        data, target = batch["data"], batch["target"]
        image, mask = data[:, :1], data[:, 1]
        zooms = [float(zoom) for zoom in data[:, 2, 0, 0, 0]]
        channels = torch.zeros((len(data), N_PROMPT_CHANNELS, *data.shape[2:]), device=data.device)
        channels[:, 0] = mask
        users = [list_prompts(self.rng) for _ in zooms]
        silent = (mask.flatten(1).any(1).cpu().numpy()) & (self.rng.random(len(data)) < SILENT_SHARE)
        for number in range(self._draw_rounds()):
            if number:
                inputs = torch.cat((image, channels), dim=1)
                channels[:, 0] = predict_classes(self.network, inputs, precision=self.precision)
            channels[:, 1:] *= self.prompts.decay
            self._prompt(channels, target, users=users, zooms=zooms, silent=silent, is_first=number == 0)
        return torch.cat((image, channels), dim=1), target

    def _draw_rounds(self) -> int:
        return 1 if self.only_first_click else 1 + int(self.rng.choice(len(ROUND_SHARES), p=ROUND_SHARES))

    def _prompt(
        self,
        channels: Tensor,
        target: Tensor,
        *,
        users: list[Iterator[Kind]],
        zooms: list[float],
        silent: Mask,
        is_first: bool,
    ) -> None:
        """Place one prompt in every sample that has an error; positive in what was missed."""
        errors = find_errors((channels[:, 0] > 0.5).long(), target, n_labels=1)
        places = self._choose_places(errors, is_first=is_first)
        for index, (is_negative, *voxel) in enumerate(places):
            region = errors[index, is_negative]
            if silent[index] or not bool(region[tuple(voxel)]):
                continue
            kind: Kind = "point" if self.only_first_click else next(users[index])
            channel = channels[index, CHANNELS[kind] + is_negative]
            self._draw(kind, channel, region, voxel=to_triple(voxel), zoom=zooms[index])

    def _choose_places(self, errors: Tensor, *, is_first: bool) -> list[list[int]]:
        """Choose the kind of error (0 missed, 1 spilled) and the voxel (i, j, k) of each sample's next prompt.

        The first prompt of all is in the patch's centre if that was missed: there the patch was cut.
        """
        shape = errors.shape[2:]
        generator = torch.Generator(errors.device).manual_seed(int(self.rng.integers(2**62)))
        score = torch.rand(errors.shape, generator=generator, device=errors.device)
        deepest = torch.from_numpy(self.rng.random(len(errors)) < DEEPEST_SHARE).to(errors.device)
        # prompts are drawn in voxels
        depth = measure_depth(errors, spacing_mm=torch.ones(len(errors), 3))
        score = (score + torch.where(deepest[:, None, None, None, None], depth, 1)) * errors
        if is_first:
            i, j, k = (n // 2 for n in shape)
            score[:, 0, i, j, k] += errors[:, 0, i, j, k] * torch.finfo(score.dtype).max / 2
        found = np.unravel_index(score.flatten(1).argmax(1).cpu().numpy(), (2, *shape))
        return [[int(n) for n in place] for place in zip(*found, strict=True)]

    def _draw(self, kind: Kind, channel: Tensor, region: Tensor, *, voxel: tuple[int, int, int], zoom: float) -> None:
        """Draw a prompt into a channel (I, J, K), where stronger ones stay."""
        if kind == "point":
            ball = make_ball(self.prompts.point_radius, zoom)
            start = to_triple(v - n // 2 for v, n in zip(voxel, ball.shape, strict=True))
            _paste(channel, ball, BoundingBox.at(start, ball.shape))
            return
        window = BoundingBox.of_voxel(voxel).grown((WINDOW, WINDOW, WINDOW), within=to_triple(region.shape))
        inside = window.offset(voxel)
        components, _ = find_components(region[window.slices].cpu().numpy())
        shape = draw_shape(kind, components == components[inside], inside, rng=self.rng)
        _paste(channel, shape.astype(np.float32), window)


def _paste(channel: Tensor, values: npt.NDArray[np.float32], box: BoundingBox) -> None:
    """Write the values of a box into a channel (I, J, K), as far as it reaches, where they are larger."""
    inner = box.intersection(BoundingBox.at((0, 0, 0), to_triple(channel.shape)))
    if inner is not None:
        part = torch.from_numpy(values[inner.slices_in(box)]).to(channel.device)
        channel[inner.slices] = torch.maximum(channel[inner.slices], part)
