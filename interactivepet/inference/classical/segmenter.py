"""Classical methods as segmenters, so that they are used and measured as networks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.components import find_components
from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.core.uptake import LARGEST_MEAN_SUV, average_uptake
from interactivepet.detection.reference import measure_liver, percist_threshold
from interactivepet.errors import CaseError
from interactivepet.inference.classical.objects import ClickedObject, find_clicked_objects, find_clicked_voxels
from interactivepet.inference.classical.shapes import (
    find_ball_box,
    find_ellipsoid,
    find_walker_region,
    find_watershed_region,
    make_seeds,
)
from interactivepet.inference.classical.thresholds import find_background, find_nestle_threshold, find_share_threshold

__all__ = ["ClassicalSegmenter"]

SHARES = {"threshold41": 0.41, "threshold50": 0.5}
FIXED_SUV = {"suv2.5": 2.5, "suv4": 4.0}
"""2.5 separates malignant from benign uptake since the first years of SUV (Paulino and Johnstone 2004, Int J Radiat
Oncol Biol Phys 59:4); 4.0 bounds the metabolic volume of lymphoma (Mikhaeel et al. 2022, J Clin Oncol 40:2352)."""

TAKE_MM = 10.0
"""How far around a negative click voxels leave the mask, as far as a click bends a network's threshold."""

NOT_SUV = ("ct", "mr", "t1", "t2", "flair", "adc", "dwi")
"""Beginnings of the names of channels that hold no uptake."""

REMEDY = "convert the image to SUV, or choose a method that follows the image, such as threshold41 or nestle"

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClassicalSegmenter:
    """A method without training that segments around clicks in the first channel.

    Attributes:
        method: which.
        labels: values of the task's labels in rising order; each is segmented from its own clicks.
        channel: name of the first channel.
    """

    method: ClassicalMethod
    labels: tuple[int, ...]
    channel: str = "PET"

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method

    @property
    def licence(self) -> str:
        """There are no weights that could have a licence."""
        return "no weights"

    @property
    def description(self) -> str:
        """What made a mask, for people who use it."""
        return f"{self.method} (a rule, {self.licence})"

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Segment every object that was clicked on.

        Each object is looked for in the box of its clicks (`objects.find_clicked_objects`). Without margin points, only
        what is connected with a click stays. Around a negative click, up to `TAKE_MM`, voxels leave its label that
        are nearer to it than to any positive click. Clicked voxels are as the clicks say; of those that contradict
        each other the last one wins.

        Args:
            case: image (C, I, J, K) in the unit of its files; the first channel is used.
            clicks: in RAS+ mm, oldest first. Without positive clicks the mask is empty.

        Returns:
            Probabilities (1 + L, I, J, K) float32, each 0 or 1, on the grid of `case`.

        Raises:
            CaseError: the method needs SUV, and the image holds something else, or the liver, and none is seen.
        """
        mask = self.find_mask(case, clicks)
        values = np.asarray((0, *self.labels), np.uint8)
        probabilities = (mask[None] == values[:, None, None, None]).astype(np.float32)
        return Prediction(case.id, probabilities, case.geometry, self.labels)

    def find_mask(self, case: Case, clicks: Sequence[Click]) -> npt.NDArray[np.uint8]:
        """Give the same as one mask (I, J, K) uint8 of label values."""
        fixed = self._find_fixed_threshold(case)
        mask = np.zeros(case.geometry.shape, np.uint8)
        for label in self.labels:
            own = self._segment_label(case, clicks, label, fixed=fixed)
            mask[own] = label
        _obey(mask, clicks, geometry=case.geometry, labels=self.labels)
        return mask

    def _segment_label(self, case: Case, clicks: Sequence[Click], label: int, *, fixed: float | None) -> BoolArray:
        geometry = case.geometry
        negatives = find_clicked_voxels(clicks, geometry, label=label, is_positive=False)
        found = np.zeros(geometry.shape, np.bool_)
        for shown in find_clicked_objects(clicks, geometry, label=label):
            mask = self._segment_object(case, shown, negatives, fixed=fixed)
            found[shown.box.slices] |= mask if shown.has_margin else _keep_connected(mask, shown)
        positives = find_clicked_voxels(clicks, geometry, label=label, is_positive=True)
        return _take_away(found, positives, negatives, geometry=geometry)

    def _segment_object(
        self, case: Case, shown: ClickedObject, negatives: Sequence[Shape], *, fixed: float | None
    ) -> BoolArray:
        """Find an object's voxels within its box."""
        image, geometry = case.image[0], case.geometry
        if self.method == "ellipsoid":
            inner = find_ball_box(shown, geometry)
            mask = np.zeros(shown.box.shape, np.bool_)
            mask[inner.slices_in(shown.box)] = find_ellipsoid(inner)
            return mask
        if self.method in ("watershed", "randomwalker"):
            seeds = make_seeds(shown, negatives, geometry=geometry)
            find = find_watershed_region if self.method == "watershed" else find_walker_region
            return find(image, shown, seeds, geometry=geometry)
        values = image[shown.box.slices]
        return np.asarray(values >= (self._find_threshold(case, shown) if fixed is None else fixed))

    def _find_fixed_threshold(self, case: Case) -> float | None:
        """Find the threshold that is the same for all objects; None for the other methods."""
        if self.method not in (*FIXED_SUV, "percist"):
            return None
        self._refuse_other_channels(case)
        if self.method in FIXED_SUV:
            self._refuse_other_units(case)
            return FIXED_SUV[self.method]
        liver = measure_liver(case.image[0], case.geometry)
        if liver is None:
            raise CaseError(
                f"{case.id}: percist needs the liver, and none is seen in the image; give an image with the liver in "
                "it, or choose a method that looks at the lesion alone, such as threshold41 or nestle"
            )
        return percist_threshold(liver)

    def _find_threshold(self, case: Case, shown: ClickedObject) -> float:
        values = case.image[0][shown.box.slices]
        if self.method in SHARES:
            return find_share_threshold(values, SHARES[self.method])
        return find_nestle_threshold(values, find_background(case.image[0], shown.box, geometry=case.geometry))

    def _refuse_other_channels(self, case: Case) -> None:
        if self.channel.strip().lower().startswith(NOT_SUV):
            raise CaseError(f"{case.id}: {self.method} needs SUV, and the first channel is {self.channel}; {REMEDY}")

    def _refuse_other_units(self, case: Case) -> None:
        values = case.image[0]
        mean = average_uptake(values)
        if mean > LARGEST_MEAN_SUV:
            raise CaseError(
                f"{case.id}: {self.method} needs SUV, and the voxels above 0 have a mean of {mean:.4g}, expected at "
                f"most {LARGEST_MEAN_SUV:g}; {REMEDY}"
            )


def _keep_connected(mask: BoolArray, shown: ClickedObject) -> BoolArray:
    """Keep the components of a mask within the object's box that hold a click; a clicked voxel belongs to it."""
    places = tuple((shown.points - np.asarray(shown.box.start)).T)
    grown = mask.copy()
    grown[places] = True
    components, _ = find_components(grown)
    return np.isin(components, np.unique(components[places]))


def _take_away(
    mask: BoolArray, positives: Sequence[Shape], negatives: Sequence[Shape], *, geometry: Geometry
) -> BoolArray:
    """Give a mask (I, J, K) without the voxels around negative clicks."""
    if not negatives or not mask.any():
        return mask
    spacing = np.asarray(geometry.spacing_mm)
    voxels = np.argwhere(mask)
    to_negative = _nearest_mm(voxels, negatives, spacing)
    to_positive = _nearest_mm(voxels, positives, spacing)
    leave = voxels[(to_negative <= TAKE_MM) & (to_negative < to_positive)]
    kept = mask.copy()
    kept[tuple(leave.T)] = False
    return kept


def _nearest_mm(
    voxels: npt.NDArray[np.intp], points: Sequence[Shape], spacing_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the distance in mm, (N,), from voxels (N, 3) to the nearest of some points."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(np.asarray(points) * spacing_mm).query(voxels * spacing_mm)
    return np.asarray(distances)


def _obey(mask: npt.NDArray[np.uint8], clicks: Sequence[Click], *, geometry: Geometry, labels: Sequence[int]) -> None:
    """Set the clicked voxels of a mask to what the clicks say, in their order."""
    for click in clicks:
        if click.label not in labels or not geometry.contains(click.position_mm):
            continue
        voxel = geometry.find_voxel(click.position_mm)
        if click.is_positive:
            mask[voxel] = click.label
        elif mask[voxel] == click.label:
            mask[voxel] = 0
