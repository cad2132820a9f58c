"""The objects of a label: its connected components, how deep their voxels lie and where their margin is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Spacing, to_triple

__all__ = [
    "LabelObject",
    "find_depth_mm",
    "find_objects",
    "find_shell",
]


@dataclass(frozen=True, slots=True, eq=False)
class LabelObject:
    """One connected component of a label.

    Attributes:
        box: where `mask` lies in the label: the object and one voxel around it, as far as the grid reaches.
        mask: (i, j, k) bool, the object's voxels within `box`.
    """

    box: BoundingBox
    mask: npt.NDArray[np.bool_]


def find_objects(label: npt.NDArray[np.integer], *, value: int) -> tuple[LabelObject, ...]:
    """Split a label into its objects.

    Args:
        label: (I, J, K) integer.
        value: the label whose objects are wanted.

    Returns:
        The components of `label == value` under `CONNECTIVITY`, in the order of their numbers,
        empty when the label has no voxel.
    """
    from scipy import ndimage

    components, _ = find_components(label == value)
    objects = []
    for number, slices in enumerate(ndimage.find_objects(components), start=1):
        tight = BoundingBox(to_triple(s.start for s in slices), to_triple(s.stop for s in slices))
        box = tight.grown((1, 1, 1), within=to_triple(label.shape))
        objects.append(LabelObject(box, components[box.slices] == number))
    return tuple(objects)


def find_depth_mm(mask: npt.NDArray[np.bool_], *, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Measure how deep each voxel lies in a mask.

    Beyond the edge of the array counts as outside, since an object cut by the field of view is not known to
    go on; except along an axis with a single slice, along which a 2D image has no outside.

    Args:
        mask: (I, J, K) bool.
        spacing_mm: voxel spacing along (i, j, k).

    Returns:
        (I, J, K) float32, distance in mm to the centre of the nearest voxel outside; 0 outside of the mask.
    """
    import edt

    width = [(int(n > 1), int(n > 1)) for n in mask.shape]
    depth = edt.edt(np.pad(mask, width), anisotropy=spacing_mm, black_border=False, parallel=1)
    inside = tuple(slice(a, a + n) for (a, _), n in zip(width, mask.shape, strict=True))
    return np.asarray(depth[inside], dtype=np.float32)


def find_shell(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find the innermost boundary: voxels of a mask that share a face with a voxel outside of it.

    The edge of the array is no boundary, so that every voxel of the shell has a neighbour outside.

    Args:
        mask: (I, J, K) bool.

    Returns:
        (I, J, K) bool, a part of `mask`.
    """
    interior = mask.copy()
    for axis in range(3):
        here, there = np.moveaxis(interior, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
    return mask & ~interior
