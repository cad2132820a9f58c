"""A trained fold, which predicts preprocessed cases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from interactivepet.core.case import PreprocessedCase
from interactivepet.core.geometry import BoundingBox, SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.errors import PlanError
from interactivepet.guidance.encode import encode_clicks, encode_mask
from interactivepet.guidance.region import find_guided_box
from interactivepet.inference.sliding_window import predict_volume
from interactivepet.inference.tiles import FEWEST_TILES, TilePlan, plan_all_tiles, plan_tiles
from interactivepet.networks.build import build_empty
from interactivepet.networks.precision import choose_precision
from interactivepet.preprocessing.body import find_body
from interactivepet.preprocessing.restore import make_background, restore

__all__ = ["FoldNetwork", "open_network", "return_to_scanner"]

logger = logging.getLogger(__name__)

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FoldNetwork:
    """One fold's network with everything around it.

    Attributes:
        name: for messages, such as `fold_0`.
        licence: of the weights.
        plan: that it was trained with.
        network: on `device`.
        device: where it runs.
        tta: average over mirrored inputs.
    """

    name: str
    licence: str
    plan: Plan
    network: nn.Module
    device: torch.device
    tta: bool = True

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Axes (0, 1, 2) that inputs are mirrored along, in every combination."""
        axes = self.plan.training.mirror_axes if self.tta else ()
        return tuple(axis for axis in axes if self.plan.patch_size[axis] > 1)

    def plan_tiles(
        self, case: PreprocessedCase, clicks: Sequence[Click], *, previous: npt.NDArray[np.uint8] | None = None
    ) -> TilePlan:
        """Choose what of a case is computed, for any fold of the configuration; arguments and errors as of `predict`.

        Air is skipped in an image of `FEWEST_TILES` or more in which `find_body` finds the body. The second step of a
        cascade looks near the first one's mask and the clicks only.
        """
        grid, patch = case.trace.resampled, self.plan.patch_size
        box = BoundingBox((0, 0, 0), grid.shape)
        if self.plan.configuration == "3d_cascade":
            if previous is None:
                raise PlanError(f"{case.id}: 3d_cascade refines the mask of 3d_lowres; predict with both")
            guided = find_guided_box(previous, clicks, grid)
            if guided is None:
                return TilePlan(box, (), 0)
            box = guided.widened(patch, within=grid.shape)
        whole = plan_all_tiles(box, patch)
        found = find_body(case, self.plan) if whole.n_tiles >= FEWEST_TILES else None
        if found is None:
            return whole
        body, widened = (mask[box.slices] for mask in found)
        voxels = [box.offset(grid.find_voxel(click.position_mm)) for click in clicks]
        return plan_tiles(whole, patch, body=body, widened=widened, clicked=voxels)

    def predict(
        self,
        case: PreprocessedCase,
        clicks: Sequence[Click],
        *,
        previous: npt.NDArray[np.uint8] | None = None,
        tiles: TilePlan | None = None,
        tick: Callable[[int], object] | None = None,
    ) -> Prediction:
        """Segment a preprocessed case; the prediction lies on the network's grid.

        Args:
            case: on the plan's grid.
            clicks: in RAS+ mm; may be empty.
            previous: (I, J, K) label values on that grid: the mask that the clicks correct, or the first step's in
                a cascade, which is refined near it and the clicks only. None means no mask.
            tiles: of `plan_tiles` with the same arguments; None plans them here.
            tick: called with how often the network ran since the last call.

        Raises:
            PlanError: the second step of a cascade got no mask.
        """
        tiles = tiles or self.plan_tiles(case, clicks, previous=previous)
        grid = case.trace.resampled
        mask = previous if previous is not None else np.zeros(grid.shape, np.uint8)
        skipped = tiles.find_skipped(self.mirror_axes)
        if tiles.tiles and tiles.box.shape == grid.shape:
            found = self._predict_tiles(case, clicks, previous=mask, tiles=tiles, tick=tick)
            return Prediction(case.id, found, grid, self.plan.label_values, skipped)
        probabilities = make_background(1 + len(self.plan.labels), grid.shape)
        if tiles.tiles:
            mask = mask[tiles.box.slices]
            found = self._predict_tiles(case, clicks, previous=mask, tiles=tiles, tick=tick)
            probabilities[(slice(None), *tiles.box.slices)] = found
        return Prediction(case.id, probabilities, grid, self.plan.label_values, skipped)

    def predict_box(
        self, case: PreprocessedCase, clicks: Sequence[Click], *, previous: npt.NDArray[np.uint8], box: BoundingBox
    ) -> FloatVolume:
        """Predict all of a box of the grid and nothing else of it.

        Args:
            case: on the plan's grid.
            clicks: in RAS+ mm; may be empty.
            previous: (*box.shape) label values in the box.
            box: of that grid; one that is smaller than the patch is padded with 0, as a small image is.

        Returns:
            Probabilities (1 + L, *box.shape) float32.
        """
        tiles = plan_all_tiles(box, self.plan.patch_size)
        return self._predict_tiles(case, clicks, previous=previous, tiles=tiles, tick=None)

    def _predict_tiles(
        self,
        case: PreprocessedCase,
        clicks: Sequence[Click],
        *,
        previous: npt.NDArray[np.uint8],
        tiles: TilePlan,
        tick: Callable[[int], object] | None,
    ) -> FloatVolume:
        """Predict the tiles of a box: (1 + L, *box.shape), certain background outside of their region."""
        grid, labels, box = case.trace.resampled, self.plan.label_values, tiles.box
        guidance = encode_clicks(clicks, grid.cropped(box), labels=labels, guidance=self.plan.guidance)
        inside = (slice(None), *box.slices)
        channels = np.concatenate((case.image[inside], guidance, encode_mask(previous, labels=labels)))
        volume = torch.from_numpy(channels)
        try:
            found = self._run(volume.to(self.device), tiles, tick).cpu().numpy()
        except torch.OutOfMemoryError:
            logger.info("%s: %s voxels do not fit on the device; tiles are sent there", case.id, box.shape)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            found = self._run(volume, tiles, tick).numpy()
        if tiles.region is not None:
            found[:, ~tiles.region] = np.eye(len(found), 1, dtype=np.float32)
        return found

    def _run(self, volume: Tensor, tiles: TilePlan, tick: Callable[[int], object] | None) -> Tensor:
        """Predict class probabilities of (C + 3 L, I, J, K), where it is."""
        return predict_volume(
            self.network,
            volume,
            patch=self.plan.patch_size,
            n_outputs=self.plan.network.output_channels,
            mirror_axes=self.mirror_axes,
            precision=choose_precision(self.device),
            device=self.device,
            tiles=tiles.tiles,
            tick=tick,
        )


def open_network(
    plan: Plan, weights: dict[str, Tensor], *, name: str, licence: str, device: torch.device, tta: bool
) -> FoldNetwork:
    """Build the plan's network and fill in trained weights."""
    network = build_empty(plan.network)
    network.load_state_dict(weights, assign=True)
    return FoldNetwork(name, licence, plan, network.to(device).eval(), device, tta)


def return_to_scanner(prediction: Prediction, trace: SpatialTrace) -> Prediction:
    """Bring a prediction from the network's grid to the scanner's."""
    probabilities = restore(prediction.probabilities, trace)
    return replace(prediction, probabilities=probabilities, geometry=trace.original)
