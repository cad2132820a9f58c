"""What the second step of a cascade starts from."""

from __future__ import annotations

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.geometry import BoundingBox

__all__ = ["CoarseMasks", "GuidedBox"]

Triple = tuple[int, int, int]


class GuidedBox(Record):
    """Where the second step looks in one case, half-open, on the full grid."""

    start: Triple
    stop: Triple

    def box(self) -> BoundingBox:
        """Give it as a box."""
        return BoundingBox(self.start, self.stop)


class CoarseMasks(Artefact):
    """`coarse.json`: the low-resolution step's masks are complete. `made_from` hashes its cards and the full grids."""

    task: str
    cases: dict[str, GuidedBox]
    """Case -> the box of its masks and clicks, from which the second step's patches are drawn."""
