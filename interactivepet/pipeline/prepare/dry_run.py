"""What a plan will take, before anything is preprocessed: disk, memory, and the time of an epoch on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interactivepet.core.fingerprint import CaseFingerprint, Fingerprint
from interactivepet.core.plan import Plan, Plans
from interactivepet.dataset.decathlon import number_labels, parse_channels, parse_labels
from interactivepet.dataset.files.json_text import read_object
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import SettingsError
from interactivepet.pipeline.prepare.cases import estimate_worker_gb
from interactivepet.pipeline.prepare.steps import find_plans, run_fingerprint
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.nnunet import convert_nnunet_fingerprint, count_nnunet_channels
from interactivepet.planning.overrides import explain_excess
from interactivepet.planning.request import DEFAULT_REQUEST, PlanRequest, answer_request

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Expectation", "expect", "plan_fingerprint_file", "plan_task"]

logger = logging.getLogger(__name__)

VOXEL_BYTES = 4
"""Images and labels are kept as float32."""

MEASURED_STEPS = 3
"""Training steps that are timed, after one that is not: the first one also allocates and chooses algorithms."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one configuration will take.

    Attributes:
        disk_gb: of all preprocessed cases, before compression.
        worker_gb: memory of one preprocessing process at the largest case.
        step_gb: memory of a training step in the number format of `device`.
        epoch_seconds: training steps of an epoch, with data at hand; None where the budget is that of a graphics
            card and this machine has none, and where a step did not fit or exceeds the budget.
        device: where the time was measured.
        refusal: why a step does not fit the budget or `device`, and what would; None where it does, or was not tried.
    """

    disk_gb: float
    worker_gb: float
    step_gb: float
    epoch_seconds: float | None
    device: str
    refusal: str | None = None


def plan_task(
    workspace: Workspace, executor: Executor, *, request: PlanRequest = DEFAULT_REQUEST
) -> tuple[Plans, Fingerprint]:
    """Measure the task where that was not done, and find the plans that would be written; writes `fingerprint.json`."""
    fingerprint = run_fingerprint(workspace, executor)
    return find_plans(workspace, request), fingerprint


def plan_fingerprint_file(
    path: Path,
    request: PlanRequest = DEFAULT_REQUEST,
    *,
    channels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[Plans, Fingerprint]:
    """Plan a fingerprint, nnU-Net's or the project's own, without any case.

    Args:
        path: a `dataset_fingerprint.json` or `fingerprint.json`.
        request: what is asked of the planner.
        channels: names of the first channels of nnU-Net's; None takes those of a `dataset.json` beside it. The
            project's own names them itself.
        labels: names of the values 1, 2, ..., likewise.

    Raises:
        MissingArtefactError: there is no such file.
        ArtefactError: it holds no fingerprint.
        SettingsError: names are given for a fingerprint that has its own.
        PlanError: no plan fits.
    """
    content = read_object(path, kind="fingerprint", example="dataset_fingerprint.json")
    if "cases" in content:
        if channels is not None or labels is not None:
            raise SettingsError(
                f"{path} is a fingerprint of interactivepet, which names its own channels and labels; leave out -m "
                "and -l, which name those of nnU-Net's"
            )
        fingerprint = read_artefact(path, Fingerprint, command="interactivepet_plan_and_process")
    else:
        fingerprint = _convert(path, content, channels, labels)
    return answer_request(fingerprint, request), fingerprint


def _convert(
    path: Path, content: dict[str, Any], channels: Sequence[str] | None, labels: Sequence[str] | None
) -> Fingerprint:
    beside = path.with_name("dataset.json")
    described = read_object(beside, kind="description", example="dataset.json") if beside.is_file() else None
    if channels is None and described is not None:
        channels = parse_channels(described, source=str(beside))
    if channels is None:
        channels = [f"channel {index}" for index in range(count_nnunet_channels(content))]
        logger.warning("channels have no names, so each is normalised by its own images; name them with -m")
    unused = [f"channel {index}" for index in range(len(channels), count_nnunet_channels(content))]
    if unused:
        logger.warning("%s: %s not used; channels are named from 0 in file order", path, ", ".join(unused))
    if labels is not None or described is None:
        values = number_labels(labels or ["object"])
    else:
        values = parse_labels(described, source=str(beside))
    return convert_nnunet_fingerprint(content, path.absolute().parent.name, channels=channels, labels=values)


def expect(plan: Plan, fingerprint: Fingerprint, *, device: str = "auto") -> Expectation:
    """Work out what a configuration takes, and time some training steps on random data if they fit the budget.

    Args:
        plan: the configuration.
        fingerprint: that it was made from.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
    """
    from interactivepet.networks.precision import choose_device, choose_precision, describe_device

    target = choose_device(device)
    mixed = choose_precision(target) is not None
    measurable = plan.budget == "cpu" or target.type != "cpu"
    step_seconds, refusal = None, explain_excess(plan, plan.budget)
    if measurable and refusal is None:
        step_seconds, refusal = _try_step(plan, target)
    n_voxels = [_count_voxels(case, plan) for case in fingerprint.cases]
    n_channels = len(plan.channels)
    return Expectation(
        disk_gb=sum(n_voxels) * VOXEL_BYTES * (n_channels + 1) / 1e9,
        worker_gb=max(
            estimate_worker_gb(n_channels, before=float(np.prod(case.shape)), after=n)
            for case, n in zip(fingerprint.cases, n_voxels, strict=True)
        ),
        step_gb=plan.memory.mixed_gb if mixed else plan.memory.float32_gb,
        epoch_seconds=None if step_seconds is None else step_seconds * plan.training.iterations_per_epoch,
        device=describe_device(target),
        refusal=refusal,
    )


def _count_voxels(case: CaseFingerprint, plan: Plan) -> float:
    """Count a case's voxels on the plan's grid; a crop to clicks is not counted, as its size is not known."""
    if plan.target_shape is not None:
        return float(np.prod(plan.target_shape))
    edges = [
        n if n == 1 else n * mm / new
        for n, mm, new in zip(case.crop_shape, case.spacing_mm, plan.spacing_mm, strict=True)
    ]
    return float(np.prod(edges))


def _try_step(plan: Plan, device: torch.device) -> tuple[float | None, str | None]:
    """Give the seconds of a training step, or why it did not fit the device."""
    from interactivepet.training.failures import explain_failure

    try:
        return _time_step(plan, device), None
    except (RuntimeError, MemoryError) as error:
        refusal = explain_failure(error, plan, device=device)
        if refusal is None:
            raise
        return None, refusal


def _time_step(plan: Plan, device: torch.device) -> float:
    """Give the seconds of a training step."""
    from interactivepet.networks.build import build_network
    from interactivepet.training.engine import make_engine
    from interactivepet.training.loop import train_epoch

    engine = make_engine(build_network(plan.network, deep_supervision=True), plan, device=device)
    batches = _draw_batches(plan)
    # reading a loss waits for the device, so that the clock sees the whole step
    [float(loss) for loss in train_epoch(engine, batches, n_iterations=1)]
    start = time.perf_counter()
    [float(loss) for loss in train_epoch(engine, batches, n_iterations=MEASURED_STEPS)]
    return (time.perf_counter() - start) / MEASURED_STEPS


def _draw_batches(plan: Plan) -> Iterator[dict[str, Tensor]]:
    """Give one random batch again and again: `data` (N, C, I, J, K) and `target` (N, I, J, K)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (plan.training.batch_size, *plan.patch_size)
    data = torch.randn((shape[0], plan.network.input_channels, *shape[1:]), generator=generator)
    target = torch.randint(plan.network.output_channels, shape, generator=generator)
    while True:
        yield {"data": data, "target": target}
