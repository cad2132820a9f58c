"""Whether an array has room in this machine's memory, asked before it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

from interactivepet.core.memory import find_memory_bytes
from interactivepet.errors import CaseError

__all__ = ["FLOAT32_BYTES", "check_room"]

FLOAT32_BYTES = 4


def check_room(case_id: str, shape: Sequence[int], *, n_channels: int) -> None:
    """Refuse a case that this machine's memory cannot hold on the plan's grid.

    Args:
        case_id: for the message.
        shape: (I, J, K) of the resampled image.
        n_channels: of it, float32.

    Raises:
        CaseError: it is larger than the memory.
    """
    needed, room = math.prod(shape) * n_channels * FLOAT32_BYTES, find_memory_bytes()
    if needed > room:
        size = " x ".join(map(str, shape))
        raise CaseError(
            f"{case_id}: {size} voxels on the plan's grid take {needed / 1e9:.0f} GB, this machine has "
            f"{room / 1e9:.0f} GB; check the image's spacing and the plan's, or cut the image"
        )
