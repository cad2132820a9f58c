"""The ellipsoid that fills a box, and the methods that begin from it: watershed and random walker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing, to_triple
from interactivepet.inference.classical.objects import ClickedObject

__all__ = ["BALL_MM", "find_ball_box", "find_ellipsoid", "find_walker_region", "find_watershed_region", "make_seeds"]

BALL_MM = 15.0
"""Radius of the ball around clicks that do not show where an object ends."""

CORE = 0.7
"""Axes of the ellipsoid that is surely inside of the object, as a share of those that its points span: a third of the
volume."""

WALKER_TOLERANCE = 1e-5
"""Of the solver's residual; with the default of scikit-image, probabilities leave [0, 1] at sharp edges."""

BLUR_MM = 2.0
"""Standard deviation of the Gaussian under the gradient: 5 mm full width at half maximum, as a scanner blurs."""

WALKER_BETA = 130.0
"""How hard it is for a walker to cross an edge; Grady's parameter at the default of scikit-image."""

INSIDE, OUTSIDE = 1, 2

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Seeds = npt.NDArray[np.int32]


def find_ellipsoid(box: BoundingBox, *, scale: float = 1.0) -> BoolArray:
    """Find the voxels of the ellipsoid whose axes are those of the grid and that touches the sides of a box.

    Args:
        box: its sides.
        scale: of the axes, 1 or less.

    Returns:
        (i, j, k) bool within the box.
    """
    inside = np.zeros(box.shape)
    for axis, n in enumerate(box.shape):
        if n > 1:
            offset = (np.arange(n) - (n - 1) / 2) / (scale * n / 2)
            inside += np.reshape(offset**2, [-1 if a == axis else 1 for a in range(3)])
    return np.asarray(inside <= 1.0)


def find_ball_box(shown: ClickedObject, geometry: Geometry) -> BoundingBox:
    """Give the box of an object's ellipsoid: that of its margin points, or `BALL_MM` around its other clicks."""
    if shown.has_margin:
        return shown.box
    margin = to_triple(
        0 if n == 1 else round(BALL_MM / mm) for n, mm in zip(geometry.shape, geometry.spacing_mm, strict=True)
    )
    low, high = shown.points.min(axis=0), shown.points.max(axis=0) + 1
    tight = BoundingBox(to_triple(int(n) for n in low), to_triple(int(n) for n in high))
    return tight.grown(margin, within=geometry.shape)


def make_seeds(shown: ClickedObject, negatives: Sequence[Shape], *, geometry: Geometry) -> Seeds:
    """Mark what is inside and outside for sure.

    Inside are the positive clicks and the core of the ellipsoid (`find_ball_box`, `CORE`). Outside are the negative
    clicks and the layer of voxels around the box.

    Args:
        shown: the object.
        negatives: voxels of the negative clicks.
        geometry: of the image.

    Returns:
        (i, j, k) int32 of the object's box and one voxel around it, along axes of more than one voxel: `INSIDE`,
        `OUTSIDE` or 0.
    """
    width = _pad_width(geometry)
    ball = find_ball_box(shown, geometry)
    inside = np.zeros(shown.box.shape, np.bool_)
    inside[ball.slices_in(shown.box)] = find_ellipsoid(ball, scale=CORE)
    inside[tuple((shown.points - np.asarray(shown.box.start)).T)] = True
    seeds = inside.astype(np.int32) * INSIDE
    for voxel in negatives:
        place = shown.box.offset(voxel)
        if all(0 <= p < n for p, n in zip(place, shown.box.shape, strict=True)):
            seeds[place] = OUTSIDE
    return np.pad(seeds, width, constant_values=OUTSIDE)


def find_watershed_region(image: FloatArray, shown: ClickedObject, seeds: Seeds, *, geometry: Geometry) -> BoolArray:
    """Flood the gradient's magnitude from the seeds; basins meet on its crest.

    After Geets et al. 2007 (Eur J Nucl Med Mol Imaging 34:1427), with seeds in place of a choice among basins.

    Args:
        image: (I, J, K) float32 in any unit.
        shown: the object.
        seeds: of `make_seeds`.
        geometry: of the image.

    Returns:
        (i, j, k) bool within the object's box.
    """
    from skimage.segmentation import watershed

    values = _cut_padded(image, shown.box, geometry)
    flooded = watershed(_find_gradient(values, geometry.spacing_mm), markers=seeds)
    return _uncover(flooded == INSIDE, geometry)


def find_walker_region(image: FloatArray, shown: ClickedObject, seeds: Seeds, *, geometry: Geometry) -> BoolArray:
    """Give each voxel to the seeds that a random walker reaches first, more likely than not.

    Grady 2006 (IEEE Trans Pattern Anal Mach Intell 28:1768); for PET Bagci et al. 2011 (Conf Proc IEEE Eng Med Biol
    Soc 2011:8479).

    Args:
        image: (I, J, K) float32 in any unit.
        shown: the object.
        seeds: of `make_seeds`.
        geometry: of the image.

    Returns:
        (i, j, k) bool within the object's box; the seeds alone in a box without contrast.
    """
    from skimage.segmentation import random_walker

    values = _cut_padded(image, shown.box, geometry).astype(np.float64)
    spread = np.ptp(values)
    if spread == 0 or not (seeds == 0).any():
        return _uncover(seeds == INSIDE, geometry)
    walked = random_walker(
        (values - values.min()) / spread,
        seeds,
        beta=WALKER_BETA,
        mode="cg_j",
        tol=WALKER_TOLERANCE,
        spacing=geometry.spacing_mm,
    )
    return _uncover(walked == INSIDE, geometry)


def _pad_width(geometry: Geometry) -> list[tuple[int, int]]:
    return [(int(n > 1), int(n > 1)) for n in geometry.shape]


def _cut_padded(image: FloatArray, box: BoundingBox, geometry: Geometry) -> FloatArray:
    """Cut a box and one voxel around it; beyond the image, its outermost voxels are repeated."""
    ranges = [
        np.clip(np.arange(a - w, b + w), 0, n - 1)
        for a, b, n, (w, _) in zip(box.start, box.stop, geometry.shape, _pad_width(geometry), strict=True)
    ]
    cut: FloatArray = image[np.ix_(*ranges)]
    return cut


def _uncover(mask: BoolArray, geometry: Geometry) -> BoolArray:
    """Take the layer around the box away again."""
    return mask[tuple(slice(w, n - w) for (w, _), n in zip(_pad_width(geometry), mask.shape, strict=True))]


def _find_gradient(values: FloatArray, spacing_mm: Spacing) -> npt.NDArray[np.float64]:
    """Measure the gradient's magnitude, per mm, of smoothed values (i, j, k)."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(values.astype(np.float64), [BLUR_MM / mm for mm in spacing_mm], mode="nearest")
    axes = [axis for axis, n in enumerate(values.shape) if n > 1]
    squares = [np.gradient(smooth, spacing_mm[axis], axis=axis) ** 2 for axis in axes]
    return np.asarray(np.sqrt(np.sum(squares, axis=0))) if squares else np.zeros(values.shape)
