"""Cases in, probabilities out: what every segmenter offers, and how fold networks are run."""

from __future__ import annotations

__all__: list[str] = []
