"""Simulated users: each has a habit of which kind of prompt comes next."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from interactivepet.training.promptable.prompts import KINDS, Kind

__all__ = ["list_prompts"]

SHARES: dict[Kind, float] = {"point": 0.5, "scribble": 0.15, "lasso": 0.1, "box2d": 0.15, "box3d": 0.1}
"""How often each kind is drawn: users of this project click."""

HABITS = ("faithful", "persistent", "fickle")
"""One kind for the whole case; the same again until it is changed; any kind every time."""

HABIT_SHARES = (0.5, 0.3, 0.2)

CHANGE_SHARE = 0.3
"""How often a persistent user takes another kind."""


def list_prompts(rng: np.random.Generator) -> Iterator[Kind]:
    """Draw a user and give, without end, the kinds of prompts that this user places one after the other."""
    habit = HABITS[int(rng.choice(len(HABITS), p=HABIT_SHARES))]
    change = {"faithful": 0.0, "persistent": CHANGE_SHARE, "fickle": 1.0}[habit]
    kind = _draw_kind(rng)
    while True:
        yield kind
        if rng.random() < change:
            kind = _draw_kind(rng)


def _draw_kind(rng: np.random.Generator) -> Kind:
    return KINDS[int(rng.choice(len(KINDS), p=[SHARES[kind] for kind in KINDS]))]
