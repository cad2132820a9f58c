"""What the second step of a cascade starts from."""

from __future__ import annotations

from interactivepet.core.artefact import Artefact

__all__ = ["CoarseMasks"]


class CoarseMasks(Artefact):
    """`coarse.json`: the low-resolution step's masks are complete. `made_from` hashes its cards and the full grids."""

    task: str
    cases: tuple[str, ...]
