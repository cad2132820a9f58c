"""Fingerprints made by hand."""

from __future__ import annotations

from interactivepet.core.fingerprint import CaseFingerprint, ChannelStatistics, Fingerprint, ObjectStatistics
from interactivepet.core.geometry import Shape, Spacing

__all__ = ["describe", "make_fingerprint"]


def describe(mean: float, *, std: float = 1.0) -> ChannelStatistics:
    return ChannelStatistics(
        mean=mean,
        std=std,
        minimum=mean - 3 * std,
        percentile_00_5=mean - 2 * std,
        median=mean,
        percentile_99_5=mean + 2 * std,
        maximum=mean + 3 * std,
    )


def make_fingerprint(
    *,
    shape: Shape = (80, 80, 60),
    shapes: tuple[Shape, ...] | None = None,
    spacings: tuple[Spacing, ...] = ((4.0, 4.0, 4.0),) * 10,
    channels: tuple[str, ...] = ("PET",),
    n_labels: int = 1,
    volumes_ml: tuple[float, ...] | None = (50.0,),
    extent_mm: Spacing = (200.0, 200.0, 200.0),
    body_means: tuple[float, ...] = (1.0,),
    foreground: ChannelStatistics | None = None,
) -> Fingerprint:
    """Make a fingerprint; `volumes_ml` None leaves the objects unmeasured."""
    objects = None
    if volumes_ml is not None:
        objects = tuple(
            ObjectStatistics(label=1, volume_ml=v, extent_mm=extent_mm, uptake_mean=5, uptake_max=9) for v in volumes_ml
        )
    statistics = (foreground or describe(5.0, std=2.0),) * len(channels)
    cases = tuple(
        CaseFingerprint(
            id=f"c{index}",
            shape=shapes[index % len(shapes)] if shapes else shape,
            spacing_mm=spacing,
            crop_shape=shapes[index % len(shapes)] if shapes else shape,
            foreground=statistics if objects else (),
            body=(describe(body_means[index % len(body_means)]),) * len(channels),
            objects=objects,
        )
        for index, spacing in enumerate(spacings)
    )
    return Fingerprint(
        task="Task001",
        channels=channels,
        labels={f"l{value}": value for value in range(1, n_labels + 1)},
        cases=cases,
        foreground=statistics if objects != () else (),
        body=(describe(1.0),) * len(channels),
    )
