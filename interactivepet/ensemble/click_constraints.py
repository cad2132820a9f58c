"""What a user clicked holds in the mask: the threshold gives way around a click, as little as it must."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, to_triple
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.postprocessing.steps import apply_rule, keep_clicked

__all__ = ["REACH_MM", "enforce_clicks", "make_mask"]

REACH_MM = 10.0
"""How far from a click the threshold may give way: twice the width that a PET scanner blurs a point to (about 5 mm
full width at half maximum), beyond which a voxel tells nothing about the clicked one."""

LabelMap = npt.NDArray[np.uint8]


@dataclass(slots=True)
class _Demand:
    """What the clicks in one voxel say together, the newest first."""

    required: int | None = None
    forbidden: set[int] = field(default_factory=set)

    def add(self, click: Click) -> bool:
        """Add an older click; False when newer ones say otherwise."""
        if click.is_positive:
            if self.required not in (None, click.label) or click.label in self.forbidden:
                return False
            self.required = click.label
            return True
        if self.required == click.label:
            return False
        self.forbidden.add(click.label)
        return True

    def blocks(self, label: int, *, is_positive: bool) -> bool:
        """Whether the voxel must not enter (leave) a label."""
        if not is_positive:
            return self.required == label
        return label in self.forbidden or self.required not in (None, label)


_Demands = dict[Shape, _Demand]


def make_mask(
    prediction: Prediction, clicks: Sequence[Click], *, fusion: FusionRule, postprocessing: PostprocessingRule
) -> tuple[LabelMap, tuple[Click, ...]]:
    """Threshold probabilities, clean up, put back what was clicked on and cleaned away, and enforce the clicks.

    Args:
        prediction: probabilities on the case's own grid.
        clicks: in RAS+ mm, oldest first; may be empty.
        fusion: its threshold is used.
        postprocessing: clean-up steps.

    Returns:
        Mask (I, J, K) uint8 of label values, and the clicks that it does not meet, as of `enforce_clicks`.
    """
    geometry, labels = prediction.geometry, prediction.labels
    mask = to_segmentation(prediction, threshold=fusion.threshold).mask
    if postprocessing != PostprocessingRule():
        mask = _clean_up(mask, postprocessing, geometry=geometry, clicks=clicks, labels=labels)
    return enforce_clicks(mask, prediction, clicks, threshold=fusion.threshold, geometry=geometry)


def _clean_up(
    mask: LabelMap, rule: PostprocessingRule, *, geometry: Geometry, clicks: Sequence[Click], labels: Sequence[int]
) -> LabelMap:
    """Clean a mask up, and put back the components that were clicked on and cleaned away."""
    cleaned = apply_rule(mask, rule, geometry=geometry, clicks=clicks, labels=labels)
    for label in labels:
        wanted = [c for c in clicks if c.is_positive and c.label == label and geometry.contains(c.position_mm)]
        voxels = [voxel for voxel in (geometry.find_voxel(c.position_mm) for c in wanted) if mask[voxel] == label]
        if voxels:
            cleaned[keep_clicked(mask == label, np.asarray(voxels)) & (cleaned == 0)] = label
    return cleaned


def enforce_clicks(
    mask: LabelMap, prediction: Prediction, clicks: Sequence[Click], *, threshold: float, geometry: Geometry
) -> tuple[LabelMap, tuple[Click, ...]]:
    """Put every positive click inside its label and every negative one outside, by a small change.

    A voxel belongs to a label by a margin: that of the foreground over the threshold or that of the label over the
    likeliest other one, whichever is smaller. Where a click is not met, the margin that decides moves to the
    clicked voxel's own and returns to 0 with the square of the distance, at `REACH_MM`. The voxels that are so decided
    otherwise and are connected with the click change; where probabilities are flat, that is the clicked voxel
    alone. What other clicks say is never touched.

    Args:
        mask: (I, J, K) uint8 of label values, such as a prediction's after thresholding and clean-up.
        prediction: the probabilities that it was made from, on the same grid.
        clicks: in RAS+ mm, oldest first. Of clicks in one voxel that contradict each other, the newest counts.
        threshold: at which 1 - P(background) is foreground.
        geometry: of the mask.

    Returns:
        The mask, a new array, and the clicks that it does not meet: those that a newer click contradicts, that lie
        outside of the image or have a label that was not predicted.
    """
    demands, unmet = _collect(clicks, geometry, labels=prediction.labels)
    places = np.reshape(list(demands), (-1, 3))
    result, emptied = mask.copy(), np.zeros(mask.shape, np.uint8)
    for index, click in enumerate(clicks):
        voxel = geometry.find_voxel(click.position_mm)
        if index in unmet or bool(result[voxel] == click.label) == click.is_positive:
            continue
        box = _find_reach(voxel, geometry)
        near = _find_held(demands, places, box, click)
        local = Prediction(prediction.case_id, _cut(prediction, box), geometry.cropped(box), prediction.labels)
        margin = _measure_margin(local, click.label, threshold=threshold)
        changed = _find_change(margin, click, local.geometry, start=box.offset(voxel))
        changed &= _find_open(near, box.shape, result[box.slices], click=click)
        if click.is_positive:
            # what a click has emptied does not come back with another one beside it
            changed &= emptied[box.slices] != click.label
            changed[box.offset(voxel)] = True
        changed = keep_clicked(changed, np.asarray([box.offset(voxel)]))
        result[box.slices][changed] = click.label if click.is_positive else 0
        emptied[box.slices][changed] = 0 if click.is_positive else click.label
    return result, tuple(click for index, click in enumerate(clicks) if index in unmet)


def _collect(clicks: Sequence[Click], geometry: Geometry, *, labels: Iterable[int]) -> tuple[_Demands, set[int]]:
    """Give what is asked of each clicked voxel, and the indices of the clicks that cannot be met."""
    known, demands, unmet = set(labels), _Demands(), set[int]()
    for index, click in reversed(list(enumerate(clicks))):
        usable = click.label in known and geometry.contains(click.position_mm)
        if not usable or not demands.setdefault(geometry.find_voxel(click.position_mm), _Demand()).add(click):
            unmet.add(index)
    return demands, unmet


def _find_reach(voxel: Shape, geometry: Geometry) -> BoundingBox:
    reach = to_triple(int(REACH_MM / mm) for mm in geometry.spacing_mm)
    return BoundingBox.of_voxel(voxel).grown(reach, within=geometry.shape)


def _cut(prediction: Prediction, box: BoundingBox) -> npt.NDArray[np.float32]:
    return prediction.probabilities[(slice(None), *box.slices)]


def _measure_margin(prediction: Prediction, label: int, *, threshold: float) -> npt.NDArray[np.float32]:
    """Give by how much (I, J, K) float32 each voxel belongs to a label, negative outside of it."""
    own = prediction.labels.index(label)
    margin: npt.NDArray[np.float32] = np.float32(1 - threshold) - prediction.probabilities[0]
    for index, probability in enumerate(prediction.probabilities[1:]):
        if index != own:
            margin = np.minimum(margin, prediction.probabilities[1 + own] - probability)
    return margin


def _find_change(
    margin: npt.NDArray[np.float32], click: Click, geometry: Geometry, *, start: Shape
) -> npt.NDArray[np.bool_]:
    """Find the voxels within reach that a decision bent towards the click puts on its side."""
    offsets = np.moveaxis(np.indices(geometry.shape), 0, -1) - np.asarray(start)
    distance_mm = np.linalg.norm(offsets @ geometry.affine[:3, :3].T, axis=-1)
    sign = 1 if click.is_positive else -1
    # A clicked voxel that the clean-up changed may be on the right side of the threshold already.
    depth = min(sign * float(margin[start]), 0.0)
    limit = depth * (1.0 - (distance_mm / REACH_MM) ** 2)
    changed: npt.NDArray[np.bool_] = (sign * margin >= limit) & (distance_mm <= REACH_MM)
    return changed


def _find_held(demands: _Demands, places: npt.NDArray[np.intp], box: BoundingBox, click: Click) -> list[Shape]:
    """List the voxels, counted from the box, that other clicks hold against this one; `places` (N, 3) has them all."""
    inside = ((places >= box.start) & (places < box.stop)).all(axis=1)
    voxels = [(i, j, k) for i, j, k in places[inside].tolist()]
    return [box.offset(v) for v in voxels if demands[v].blocks(click.label, is_positive=click.is_positive)]


def _find_open(held: Iterable[Shape], shape: Shape, mask: LabelMap, *, click: Click) -> npt.NDArray[np.bool_]:
    """Find the voxels of a box that the click may change: no other click holds them; a negative one empties its label.

    The whole of the label counts for a positive click, so that it grows out of what is there.
    """
    is_open = np.ones(shape, np.bool_) if click.is_positive else mask == click.label
    for voxel in held:
        is_open[voxel] = False
    return is_open
