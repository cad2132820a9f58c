"""Images and labels of one grid on another one: linear, without aliasing, refused where the grids do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.errors import CaseError

__all__ = ["SMALLEST_OVERLAP", "find_overlap", "resample_label_onto", "resample_onto"]

SMALLEST_OVERLAP = 0.2
"""Share of the target's voxels that the source must cover.

A CT of 500 mm in the middle of a PET of 800 mm covers 0.39 of it; far less is another part of the body.
"""
_SAMPLES_PER_AXIS = 40
"""Voxels along each axis by which the overlap is measured."""
_BLOCK_VOXELS = 1 << 22
"""Voxels of the target that are worked on at once."""
_SIGMA_PER_WIDTH = 1 / np.sqrt(8 * np.log(2))
"""Standard deviation of a Gaussian of full width at half maximum 1."""
_TRUNCATE = 4.0
"""Standard deviations after which the Gaussian is cut."""


def resample_onto(
    image: npt.NDArray[np.float32], geometry: Geometry, *, target: Geometry, outside: float
) -> npt.NDArray[np.float32]:
    """Resample an image onto another grid, which may be turned against its own.

    Linear interpolation. Along axes where the target is coarser, the image is smoothed before to the target's
    resolution with a Gaussian (Cardoso et al. 2015, "Scale factor point spread function matching"), since
    single voxels of a fine image are no measure of a coarse one's: noise would be drawn at random.

    Args:
        image: (C, I, J, K).
        geometry: its grid.
        target: the new grid.
        outside: value of the voxels that the image does not cover, in its unit.

    Returns:
        (C, *target.shape).

    Raises:
        CaseError: the image covers less than `SMALLEST_OVERLAP` of the target.
    """
    if geometry.matches(target):
        return image.copy()
    share = find_overlap(geometry, target)
    if share < SMALLEST_OVERLAP:
        raise CaseError(
            f"{_box(geometry)} covers {share:.0%} of {_box(target)}, expected {SMALLEST_OVERLAP:.0%} at least; "
            "check that both are of one study, and that neither header was changed"
        )
    result = np.full((len(image), *target.shape), outside, dtype=np.float32)
    sigma = _find_sigma(geometry, target)
    for block in _split(target.shape):
        part = target.cropped(block)
        needed = _find_source_box(geometry, part, sigma=sigma)
        if needed is None:
            continue
        source = geometry.cropped(needed)
        for channel, values in enumerate(image):
            smooth = _smooth(values[needed.slices], sigma)
            result[channel][block.slices] = _interpolate(smooth, source, target=part, outside=outside)
    return result


def resample_label_onto(label: npt.NDArray[np.uint8], geometry: Geometry, *, target: Geometry) -> npt.NDArray[np.uint8]:
    """Resample a label mask onto another grid: each voxel takes the label, or background, that fills most of it.

    Args:
        label: (I, J, K), 0 is background.
        geometry: its grid.
        target: the new grid; what it does not cover is lost.

    Returns:
        (*target.shape,).

    Raises:
        CaseError: the grids do not overlap enough, or no voxel is left of a label.
    """
    if geometry.matches(target):
        return label.copy()
    values, counts = np.unique(label[label > 0], return_counts=True)
    result = np.zeros(target.shape, dtype=np.uint8)
    best = 1 - resample_onto((label > 0)[None].astype(np.float32), geometry, target=target, outside=0.0)[0]
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        share = resample_onto((label == value)[None].astype(np.float32), geometry, target=target, outside=0.0)[0]
        wins = share > best
        if not wins.any():
            volume = count * geometry.voxel_volume_ml
            raise CaseError(
                f"nothing is left of label {value} ({count} voxels, {volume:.3g} ml) on {_box(target)} with voxels of "
                f"{target.voxel_volume_ml:.3g} ml; choose the finest grid, or check the mask's place"
            )
        result[wins] = value
        best = np.where(wins, share, best)
    return result


def find_overlap(geometry: Geometry, target: Geometry) -> float:
    """Find the share of the target's voxels, 0 to 1, whose centres lie within the outer faces of another grid."""
    axes = [np.unique(np.linspace(0, n - 1, min(n, _SAMPLES_PER_AXIS)).round()) for n in target.shape]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    index = geometry.to_voxel(target.to_mm(centres))
    inside = (index >= -0.5) & (index <= np.asarray(geometry.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def _find_sigma(geometry: Geometry, target: Geometry) -> npt.NDArray[np.float64]:
    """Find the Gaussian, in voxels of the source along its axes, that widens a voxel of it to one of the target."""
    steps = np.linalg.inv(geometry.affine[:3, :3]) @ target.affine[:3, :3]
    width = np.abs(steps).max(axis=1)
    sigma: npt.NDArray[np.float64] = _SIGMA_PER_WIDTH * np.sqrt(np.maximum(width**2 - 1, 0))
    return sigma


def _smooth(values: npt.NDArray[np.float32], sigma: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    if not sigma.any():
        return values
    from scipy.ndimage import gaussian_filter

    smooth: npt.NDArray[np.float32] = gaussian_filter(values, sigma, mode="nearest", truncate=_TRUNCATE)
    return smooth


def _split(shape: Shape) -> Iterator[BoundingBox]:
    """Cut a grid along k into blocks of about `_BLOCK_VOXELS`."""
    i, j, k = shape
    step = max(1, _BLOCK_VOXELS // (i * j))
    for start in range(0, k, step):
        yield BoundingBox((0, 0, start), (i, j, min(k, start + step)))


def _find_source_box(geometry: Geometry, part: Geometry, *, sigma: npt.NDArray[np.float64]) -> BoundingBox | None:
    """Find the voxels of the source that a part of the target depends on; None when there are none."""
    index = geometry.to_voxel(_corners(part))
    margin = np.ceil(_TRUNCATE * sigma) + 2
    start = np.clip(np.floor(index.min(axis=0) - margin), 0, geometry.shape).astype(int).tolist()
    stop = np.clip(np.ceil(index.max(axis=0) + margin) + 1, 0, geometry.shape).astype(int).tolist()
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return None
    return BoundingBox(to_triple(start), to_triple(stop))


def _interpolate(
    values: npt.NDArray[np.float32], geometry: Geometry, *, target: Geometry, outside: float
) -> npt.NDArray[np.float32]:
    """Interpolate (I, J, K) linearly; the outer half of a voxel at the border has the voxel's own value."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetOrigin(geometry.affine[:3, 3].tolist())
    image.SetSpacing(geometry.spacing_mm)
    image.SetDirection((geometry.affine[:3, :3] / geometry.spacing_mm).ravel().tolist())
    resampled = SimpleITK.Resample(
        image,
        target.shape,
        SimpleITK.Transform(),
        SimpleITK.sitkLinear,
        target.affine[:3, 3].tolist(),
        target.spacing_mm,
        (target.affine[:3, :3] / target.spacing_mm).ravel().tolist(),
        outside,
        SimpleITK.sitkFloat32,
    )
    array: npt.NDArray[np.float32] = SimpleITK.GetArrayFromImage(resampled)
    return array.T


def _corners(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Give the outermost voxel centres, (8, 3) in RAS+ mm."""
    index = np.array(np.meshgrid(*((0, n - 1) for n in geometry.shape))).reshape(3, -1).T
    return geometry.to_mm(index)


def _box(geometry: Geometry) -> str:
    """Describe where a grid lies: `the box x -171 to 21, y -111 to 87, z -881 to -692 mm`."""
    corners = _corners(geometry)
    ranges = zip("xyz", corners.min(axis=0), corners.max(axis=0), strict=True)
    return "the box " + ", ".join(f"{axis} {low:.0f} to {high:.0f}" for axis, low, high in ranges) + " mm"
