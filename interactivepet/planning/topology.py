"""Patch and pooling of a U-Net, by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interactivepet.core.geometry import Shape, Spacing, to_triple

__all__ = [
    "ANISOTROPY_LIMIT",
    "MINIMUM_EDGE",
    "Topology",
    "find_topology",
    "grow_patch",
    "round_patch",
]

MINIMUM_EDGE = 4
"""An axis is halved only while at least this many voxels are left (nnU-Net, Isensee 2021, supplement)."""

ANISOTROPY_LIMIT = 2.0
"""An axis whose spacing is more than this times the finest one is neither pooled nor convolved across yet."""

MAXIMUM_STAGES = 6


@dataclass(frozen=True, slots=True)
class Topology:
    """Strides and kernels of a U-Net, stage by stage, the finest first.

    Attributes:
        strides: by which each stage is entered; (1, 1, 1) for the first.
        kernel_sizes: of the convolutions of each stage; 1 along axes not yet convolved across.
    """

    strides: tuple[Shape, ...]
    kernel_sizes: tuple[Shape, ...]

    @property
    def divisor(self) -> Shape:
        """What each edge of a patch must be a multiple of."""
        product = [1, 1, 1]
        for stride in self.strides:
            product = [a * b for a, b in zip(product, stride, strict=True)]
        return to_triple(product)


def find_topology(patch: Shape, spacing_mm: Spacing) -> Topology:
    """Choose strides and kernels for a patch.

    nnU-Net's rule: halve every axis whose spacing is within `ANISOTROPY_LIMIT` of the finest axis that can
    still be halved, until none can; convolve across an axis once its spacing is within that limit.
    An axis of one voxel (a 2D image) is never pooled or convolved across.
    """
    edges, spacing = list(patch), list(spacing_mm)
    strides: list[Shape] = [(1, 1, 1)]
    kernels: list[Shape] = [_kernels(patch, spacing)]
    while len(strides) < MAXIMUM_STAGES:
        halvable = [a for a in range(3) if edges[a] >= 2 * MINIMUM_EDGE]
        if not halvable:
            break
        finest = min(spacing[a] for a in halvable)
        chosen = [a for a in halvable if spacing[a] <= ANISOTROPY_LIMIT * finest]
        stride = [2 if a in chosen else 1 for a in range(3)]
        edges = [-(-edge // step) for edge, step in zip(edges, stride, strict=True)]
        spacing = [mm * step for mm, step in zip(spacing, stride, strict=True)]
        strides.append(to_triple(stride))
        # an axis that is convolved across stays so, even when the others have become coarser than it (nnU-Net)
        kernels.append(to_triple(map(max, kernels[-1], _kernels(patch, spacing))))
    return Topology(tuple(strides), tuple(kernels))


def _kernels(patch: Shape, spacing: Sequence[float]) -> Shape:
    """Give 3 along axes that are convolved across at this spacing, else 1."""
    finest = min(mm for mm, edge in zip(spacing, patch, strict=True) if edge > 1)
    sizes = [3 if edge > 1 and mm <= ANISOTROPY_LIMIT * finest else 1 for mm, edge in zip(spacing, patch, strict=True)]
    return to_triple(sizes)


def round_patch(patch: Shape, spacing_mm: Spacing) -> Shape:
    """Round each edge to the nearest multiple that the patch's own topology divides evenly."""
    divisor = find_topology(patch, spacing_mm).divisor
    edges = [max(1, round(edge / d)) * d for edge, d in zip(patch, divisor, strict=True)]
    return to_triple(edges)


def grow_patch(median_shape: Shape, spacing_mm: Spacing, *, edge_mm: float) -> Shape:
    """Give the patch of about `edge_mm` on each axis, within the median shape rounded to what poolings divide."""
    edges = [
        1 if n == 1 else max(2 * MINIMUM_EDGE, min(n, round(edge_mm / mm)))
        for n, mm in zip(median_shape, spacing_mm, strict=True)
    ]
    return round_patch(to_triple(edges), spacing_mm)
