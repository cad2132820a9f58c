"""A self-configuring pipeline for interactive PET, PET/CT and SPECT segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interactivepet.version import __version__

if TYPE_CHECKING:
    from interactivepet.session.session import Session

__all__ = ["Session", "__version__"]


def __getattr__(name: str) -> object:
    """Load `Session` when it is asked for: torch comes with it."""
    if name == "Session":
        from interactivepet.session.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
