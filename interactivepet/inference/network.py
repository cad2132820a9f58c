"""A trained fold, which predicts preprocessed cases."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

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
from interactivepet.inference.region import make_background
from interactivepet.inference.sliding_window import predict_volume
from interactivepet.networks.build import build_network
from interactivepet.networks.precision import choose_precision
from interactivepet.preprocessing.restore import restore

__all__ = ["NetworkSegmenter", "open_network", "return_to_scanner"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSegmenter:
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

    def predict(
        self, case: PreprocessedCase, clicks: Sequence[Click], *, previous: npt.NDArray[np.uint8] | None = None
    ) -> Prediction:
        """Segment a preprocessed case; the prediction lies on the network's grid.

        Args:
            case: on the plan's grid.
            clicks: in RAS+ mm; may be empty.
            previous: (I, J, K) label values on that grid: the mask that the clicks correct, or the first step's in
                a cascade, which is refined near it and the clicks only. None means no mask.

        Raises:
            PlanError: the second step of a cascade got no mask.
        """
        grid = case.trace.resampled
        if self.plan.configuration != "3d_cascade":
            mask = previous if previous is not None else np.zeros(grid.shape, np.uint8)
            probabilities = self.predict_box(case, clicks, previous=mask, box=BoundingBox((0, 0, 0), grid.shape))
            return Prediction(case.id, probabilities, grid, self.plan.label_values)
        if previous is None:
            raise PlanError(f"{case.id}: 3d_cascade refines the mask of 3d_lowres; predict with both")
        whole = _make_empty(case, self.plan)
        box = find_guided_box(previous, clicks, grid)
        if box is not None:
            box = box.widened(self.plan.patch_size, within=grid.shape)
            inside = (slice(None), *box.slices)
            whole.probabilities[inside] = self.predict_box(case, clicks, previous=previous[box.slices], box=box)
        return whole

    def predict_box(
        self, case: PreprocessedCase, clicks: Sequence[Click], *, previous: npt.NDArray[np.uint8], box: BoundingBox
    ) -> npt.NDArray[np.float32]:
        """Predict a box of the grid and nothing else of it.

        Args:
            case: on the plan's grid.
            clicks: in RAS+ mm; may be empty.
            previous: (*box.shape) label values in the box.
            box: of that grid; one that is smaller than the patch is padded with 0, as a small image is.

        Returns:
            Probabilities (1 + L, *box.shape) float32.
        """
        grid, labels = case.trace.resampled, self.plan.label_values
        guidance = encode_clicks(clicks, grid.cropped(box), labels=labels, scale_mm=self.plan.guidance.scale_mm)
        inside = (slice(None), *box.slices)
        channels = np.concatenate((case.image[inside], guidance, encode_mask(previous, labels=labels)))
        volume = torch.from_numpy(channels)
        try:
            return self._run(volume.to(self.device)).cpu().numpy()
        except torch.OutOfMemoryError:
            logger.info("%s: %s voxels do not fit on the device; tiles are sent there", case.id, box.shape)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._run(volume).numpy()

    def _run(self, volume: Tensor) -> Tensor:
        """Predict class probabilities of (C + 3 L, I, J, K), where it is."""
        axes = [a for a in self.plan.training.mirror_axes if self.plan.patch_size[a] > 1] if self.tta else []
        return predict_volume(
            self.network,
            volume,
            patch=self.plan.patch_size,
            n_outputs=self.plan.network.output_channels,
            mirror_axes=axes,
            precision=choose_precision(self.device),
            device=self.device,
        )


def _make_empty(case: PreprocessedCase, plan: Plan) -> Prediction:
    """Give a prediction that is all background."""
    probabilities = make_background(1 + len(plan.labels), case.trace.resampled.shape)
    return Prediction(case.id, probabilities, case.trace.resampled, plan.label_values)


def open_network(
    plan: Plan, weights: dict[str, Tensor], *, name: str, licence: str, device: torch.device, tta: bool
) -> NetworkSegmenter:
    """Build the plan's network and fill in trained weights."""
    network = build_network(plan.network, deep_supervision=False)
    network.load_state_dict(weights)
    return NetworkSegmenter(name, licence, plan, network.to(device).eval(), device, tta)


def return_to_scanner(prediction: Prediction, trace: SpatialTrace) -> Prediction:
    """Bring a prediction from the network's grid to the scanner's."""
    probabilities = restore(prediction.probabilities, trace)
    return Prediction(prediction.case_id, probabilities, trace.original, prediction.labels)
