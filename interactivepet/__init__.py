"""A self-configuring pipeline for interactive PET, PET/CT and SPECT segmentation."""

from __future__ import annotations

from interactivepet.version import __version__

__all__ = ["__version__"]
