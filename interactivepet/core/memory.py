"""How much memory this machine has."""

from __future__ import annotations

import math
import os

__all__ = ["find_memory_bytes"]


def find_memory_bytes() -> float:
    """Find how much memory this machine has; infinitely much where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        # not on Windows
        return math.inf
