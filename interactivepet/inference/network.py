"""A trained fold as a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.geometry import SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.prediction import Prediction
from interactivepet.guidance.encode import encode_clicks
from interactivepet.inference.sliding_window import predict_volume
from interactivepet.networks.build import build_network
from interactivepet.networks.precision import choose_precision
from interactivepet.planning.fingerprint import find_body_box
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.preprocessing.restore import restore

__all__ = ["NetworkSegmenter", "open_network", "return_to_scanner"]


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

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Segment a raw case; the prediction lies on the case's own grid."""
        ready = preprocess(case, self.plan, body=find_body_box(case.image))
        return return_to_scanner(self.predict(ready, clicks), ready.trace)

    def predict(self, case: PreprocessedCase, clicks: Sequence[Click]) -> Prediction:
        """Segment a preprocessed case; the prediction lies on the network's grid."""
        grid = case.trace.resampled
        guidance = encode_clicks(clicks, grid, labels=self.plan.label_values, scale_mm=self.plan.guidance.scale_mm)
        volume = torch.from_numpy(np.concatenate((case.image, guidance))).to(self.device)
        axes = [a for a in range(3) if self.plan.patch_size[a] > 1] if self.tta else []
        probabilities = predict_volume(
            self.network,
            volume,
            patch=self.plan.patch_size,
            n_outputs=self.plan.network.output_channels,
            mirror_axes=axes,
            precision=choose_precision(self.device),
        )
        return Prediction(case.id, probabilities.cpu().numpy(), grid, self.plan.label_values)


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
