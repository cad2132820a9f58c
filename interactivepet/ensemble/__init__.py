"""Promptable models beside the folds, and how their probabilities become one mask."""

from __future__ import annotations

__all__: list[str] = []
