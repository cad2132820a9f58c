"""Random voxels in and around a mask, fast enough to be drawn for every training patch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Spacing
from interactivepet.guidance.objects import find_shell

__all__ = ["draw_around", "draw_inside", "draw_negative"]

Indices = npt.NDArray[np.intp]

_TRIES = 32
"""Candidates a wanted voxel: near a flat boundary about half of them fall outside, so that 32 are ample."""

_FACES = np.concatenate([np.eye(3, dtype=np.intp), -np.eye(3, dtype=np.intp)])
"""Steps to the six neighbours that share a face with a voxel."""


def draw_inside(mask: npt.NDArray[np.bool_], *, n: int, rng: np.random.Generator) -> Indices:
    """Draw distinct voxels of a mask, each with the same chance.

    Args:
        mask: (I, J, K) bool.
        n: how many voxels are wanted.
        rng: source of randomness.

    Returns:
        (min(n, voxels of the mask), 3) voxel indices.
    """
    inside = np.flatnonzero(mask)
    chosen = rng.choice(inside, size=min(n, inside.size), replace=False, shuffle=False)
    return _to_indices(chosen, mask.shape)


def draw_negative(
    mask: npt.NDArray[np.bool_],
    *,
    n: int,
    spacing_mm: Spacing,
    distance_mm: float,
    rng: np.random.Generator,
) -> Indices:
    """Draw distinct voxels outside of a mask but near to its boundary.

    Args:
        mask: (I, J, K) bool.
        n: how many voxels are wanted.
        spacing_mm: voxel spacing along (i, j, k).
        distance_mm: largest distance from the mask, as in `draw_around`.
        rng: source of randomness.

    Returns:
        (m, 3) voxel indices, m at most `n`; none when the mask is empty or fills the array.
    """
    if n == 0:
        return np.empty((0, 3), dtype=np.intp)
    shell = _to_indices(np.flatnonzero(find_shell(mask)), mask.shape)
    return draw_around(shell, mask, n=n, spacing_mm=spacing_mm, distance_mm=distance_mm, rng=rng)


def draw_around(
    shell: Indices,
    forbidden: npt.NDArray[np.bool_],
    *,
    n: int,
    spacing_mm: Spacing,
    distance_mm: float,
    rng: np.random.Generator,
) -> Indices:
    """Draw distinct voxels near to given ones and outside of a mask.

    A random step from a random voxel of the shell needs no distance transform of the patch. The shell's own
    neighbours fill up what is missing, so that a distance below one voxel, or a mask that leaves little room,
    still gives points.

    Args:
        shell: (S, 3) voxel indices, such as the boundary of one object.
        forbidden: (I, J, K) bool, voxels that must not be drawn.
        n: how many voxels are wanted.
        spacing_mm: voxel spacing along (i, j, k).
        distance_mm: largest distance in mm from a voxel of the shell; face neighbours are always near enough.
        rng: source of randomness.

    Returns:
        (m, 3) voxel indices, m at most `n`.
    """
    if n == 0 or len(shell) == 0:
        return np.empty((0, 3), dtype=np.intp)
    reachable = _step(shell, forbidden.shape, n=n, spacing_mm=spacing_mm, distance_mm=distance_mm, rng=rng)
    allowed = _keep_allowed(reachable, forbidden)
    if allowed.size < n:
        neighbours = _keep_allowed((shell[:, None] + _FACES).reshape(-1, 3), forbidden)
        missing = np.setdiff1d(neighbours, allowed)
        allowed = np.concatenate([allowed, rng.permutation(missing)])
    return _to_indices(allowed[:n], forbidden.shape)


def _step(
    shell: Indices,
    shape: tuple[int, ...],
    *,
    n: int,
    spacing_mm: Spacing,
    distance_mm: float,
    rng: np.random.Generator,
) -> Indices:
    """Step from random voxels of the shell to voxels, (m, 3), evenly spread in the balls around them."""
    sources = shell[rng.integers(len(shell), size=_TRIES * n)]
    direction = rng.normal(size=sources.shape)
    length = distance_mm * rng.random(len(sources)) ** (1 / 3) / np.linalg.norm(direction, axis=1)
    steps = np.rint(direction * length[:, None] / spacing_mm).astype(np.intp)
    # A 2D image has no other slice: a step along that axis would only be lost.
    steps *= np.asarray(shape) > 1
    within = np.linalg.norm(steps * np.asarray(spacing_mm), axis=1) <= distance_mm
    reachable: Indices = (sources + steps)[within]
    return reachable


def _keep_allowed(indices: Indices, forbidden: npt.NDArray[np.bool_]) -> Indices:
    """Keep what lies in the array and outside of the mask, once: flat indices, (m,), in the order given."""
    within = indices[np.all((indices >= 0) & (indices < forbidden.shape), axis=1)]
    allowed = within[~forbidden[tuple(within.T)]]
    flat = np.ravel_multi_index(tuple(allowed.T), forbidden.shape)
    _, first = np.unique(flat, return_index=True)
    return np.asarray(flat[np.sort(first)])


def _to_indices(flat: Indices, shape: tuple[int, ...]) -> Indices:
    """Convert flat indices, (n,), to voxel indices, (n, 3)."""
    return np.stack(np.unravel_index(flat, shape), axis=-1)
