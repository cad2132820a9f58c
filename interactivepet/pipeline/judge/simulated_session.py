"""One session of a simulated user with a system on one case, every mask scored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.simulation import SimulatedStep, StartName, UserName
from interactivepet.evaluation.steps import score_step
from interactivepet.guidance.click_user import NOISE_MM, place_click, take_first
from interactivepet.guidance.scribble import draw_scribble
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.pipeline.judge.simulated_segmenters import MaskSegmenter

__all__ = ["SimulatedUser", "run_session"]

LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedUser:
    """Somebody who knows the answer of one case.

    Attributes:
        name: how the user corrects.
        case: with its label; without one, nothing belongs to any label.
        labels: values that the user cares for.
        rng: of everything that the user does at random.
        fixed: clicks placed beforehand in RAS+ mm, for the user `fixed`.
    """

    name: UserName
    case: Case
    labels: tuple[int, ...]
    rng: np.random.Generator
    fixed: tuple[Click, ...] = ()

    @property
    def reference(self) -> LabelMap:
        """(I, J, K) uint8, what the user knows."""
        return np.zeros(self.case.geometry.shape, np.uint8) if self.case.label is None else self.case.label

    def begin(self, start: StartName) -> tuple[Click, ...]:
        """Give the clicks before the first mask: none, or the interior margin points of every object."""
        if start == "none":
            return ()
        options = ClickOptions(noise_mm=NOISE_MM if self.name == "noisy" else 0.0)
        return simulate_clicks(self.reference, self.case.geometry, options=options, rng=self.rng)

    def correct(self, mask: LabelMap, number: int) -> tuple[Click, ...]:
        """Give what the user adds before step `number`, 1 or more, having seen a mask (I, J, K).

        Returns:
            A click, or the points of a scribble, or both signs' next fixed clicks; () when there is nothing to say.
        """
        match self.name:
            case "fixed":
                before = Counter(take_first(self.fixed, number - 1))
                # one that was placed twice is given twice
                return tuple((Counter(take_first(self.fixed, number)) - before).elements())
            case "centreline" | "random" | "boundary" as stroke:
                return draw_scribble(
                    mask, self.reference, geometry=self.case.geometry, labels=self.labels, stroke=stroke, rng=self.rng
                )
            case "perfect" | "noisy" | "hurried" as aim:
                click = place_click(
                    mask, self.reference, geometry=self.case.geometry, labels=self.labels, aim=aim, rng=self.rng
                )
                return () if click is None else (click,)

    def count(self, added: Sequence[Click]) -> int:
        """Count what `correct` gave: a scribble is one."""
        return min(1, len(added)) if self.name in ("centreline", "random", "boundary") else len(added)


def run_session(
    user: SimulatedUser, system: MaskSegmenter, *, start: StartName, n_corrections: int
) -> tuple[SimulatedStep, ...]:
    """Let a user correct a system's masks.

    When the user has nothing to say, the mask stays and its scores are repeated, as autoPET V does with a perfect one.

    Args:
        user: who knows the case.
        system: that answers, without seeing the label.
        start: what is there before the first answer.
        n_corrections: steps after the first.

    Returns:
        1 + `n_corrections` steps.
    """
    shown = replace(user.case, label=None)
    reference, geometry = user.reference, user.case.geometry
    mask: LabelMap | None = None
    clicks: list[Click] = []
    steps: list[SimulatedStep] = []
    n_clicks = 0
    for number in range(n_corrections + 1):
        added = user.begin(start) if mask is None else user.correct(mask, number)
        if mask is not None and not added:
            steps.append(steps[-1].model_copy(update={"added": (), "seconds": None}))
            continue
        clicks.extend(added)
        n_clicks += len(added) if mask is None else user.count(added)
        began = time.perf_counter()
        mask = system.segment(shown, clicks, mask)
        seconds = time.perf_counter() - began
        steps.append(
            score_step(
                mask,
                reference,
                geometry=geometry,
                labels=user.labels,
                clicks=clicks,
                added=added,
                n_clicks=n_clicks,
                seconds=seconds,
            )
        )
    return tuple(steps)
