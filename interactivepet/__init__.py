"""A self-configuring pipeline for interactive PET, PET/CT and SPECT segmentation.

The names below are the public Python API; everything else may change. Each is loaded when it is used, so that
importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from interactivepet.version import __version__

if TYPE_CHECKING:
    from interactivepet.api import load_model, read_image, segment_regions
    from interactivepet.core.case import Case
    from interactivepet.core.geometry import Geometry
    from interactivepet.core.interaction import Click
    from interactivepet.core.prediction import Segmentation
    from interactivepet.errors import InteractivePetError
    from interactivepet.pipeline.predict.masks import save_mask
    from interactivepet.pipeline.predict.model import Model
    from interactivepet.pipeline.segment.result import SegmentedImage, SegmentedRegion
    from interactivepet.session.session import Session

__all__ = [
    "Case",
    "Click",
    "Geometry",
    "InteractivePetError",
    "Model",
    "Segmentation",
    "SegmentedImage",
    "SegmentedRegion",
    "Session",
    "__version__",
    "load_model",
    "read_image",
    "save_mask",
    "segment_regions",
]

_HOMES = {
    "Case": "core.case",
    "Click": "core.interaction",
    "Geometry": "core.geometry",
    "InteractivePetError": "errors",
    "Model": "pipeline.predict.model",
    "Segmentation": "core.prediction",
    "SegmentedImage": "pipeline.segment.result",
    "SegmentedRegion": "pipeline.segment.result",
    "Session": "session.session",
    "load_model": "api",
    "read_image": "api",
    "save_mask": "pipeline.predict.masks",
    "segment_regions": "api",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> object:
    """Load a public name when it is asked for: torch comes with some of them."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
