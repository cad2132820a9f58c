"""Measure the peak memory of a training step on the CPU beside the plan's estimate; print a table.

python tests/benchmarks/step_memory.py [--only NAME ...] [--threads N]
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import gc
import subprocess
import sys
from pathlib import Path
from typing import Literal

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    NetworkPlan,
    Normalisation,
    Optimizer,
    Plan,
    TrainingPlan,
    TransformerPlan,
    UNetPlan,
)
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.topology import find_topology

OPTIMIZER: Optimizer = "sgd"
"""What the figures were fitted to; AdamW keeps four bytes a weight more."""

N_STEPS = 3
"""The momentum exists from the second step on; the third shows that nothing more is added."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One row of the table."""

    patch: Shape
    batch_size: int
    network: NetworkPlan


def make_unet(
    patch: Shape,
    spacing: Spacing,
    batch_size: int,
    *,
    features: int,
    maximum: int = 320,
    n_channels: int = 1,
    n_labels: int = 1,
    architecture: Literal["plain", "residual"] = "plain",
) -> Trial:
    topology = find_topology(patch, spacing)
    n_stages = len(topology.strides)
    is_plain = architecture == "plain"
    network = UNetPlan(
        architecture=architecture,
        input_channels=n_channels + 3 * n_labels,
        output_channels=1 + n_labels,
        features_per_stage=tuple(min(features * 2**stage, maximum) for stage in range(n_stages)),
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        n_conv_per_stage=(2,) * n_stages if is_plain else (1, 3, 4, 6, 6, 6)[:n_stages],
        n_conv_per_stage_decoder=(2 if is_plain else 1,) * (n_stages - 1),
    )
    return Trial(patch, batch_size, network)


def make_transformer(
    architecture: Literal["unetr", "swinunetr"], patch: Shape, batch_size: int, *, features: int, hidden: int = 0
) -> Trial:
    network = TransformerPlan(
        architecture=architecture,
        input_channels=4,
        output_channels=2,
        image_size=patch,
        feature_size=features,
        hidden_size=hidden,
        n_heads=hidden // 64,
    )
    return Trial(patch, batch_size, network)


TRIALS = {
    "tiny 3D": make_unet((32, 32, 32), (4, 4, 4), 2, features=16, maximum=128),
    "small 3D": make_unet((48, 48, 48), (4, 4, 4), 2, features=16, maximum=128),
    "medium 3D": make_unet((64, 64, 64), (4, 4, 4), 2, features=32),
    "medium 3D, 3 labels": make_unet((64, 64, 48), (4, 4, 4), 2, features=24, n_channels=2, n_labels=3),
    "large 3D anisotropic": make_unet((128, 128, 32), (1, 1, 5), 2, features=32),
    "2D along k": make_unet((256, 256, 1), (1, 1, 1), 8, features=32),
    "2D along i": make_unet((1, 128, 160), (1, 1, 1), 12, features=32, maximum=512),
    "residual 3D": make_unet((64, 64, 64), (4, 4, 4), 2, features=32, architecture="residual"),
    "residual 2D": make_unet((192, 192, 1), (1, 1, 1), 6, features=32, architecture="residual"),
    "unetr": make_transformer("unetr", (64, 64, 64), 2, features=16, hidden=384),
    "unetr 2D": make_transformer("unetr", (256, 256, 1), 4, features=16, hidden=384),
    "swinunetr": make_transformer("swinunetr", (64, 64, 64), 2, features=24),
    "swinunetr 2D": make_transformer("swinunetr", (256, 1, 256), 4, features=24),
}


def measure(trial: Trial, precision: str) -> float:
    """Give the peak of resident memory in GB above what there was before the network was built."""
    import torch

    dtype = torch.bfloat16 if precision == "bfloat16" else None
    warm_up = {
        "plain": make_unet((8, 8, 8), (1, 1, 1), 1, features=4),
        "residual": make_unet((8, 8, 8), (1, 1, 1), 1, features=4, architecture="residual"),
        "unetr": make_transformer("unetr", (16, 16, 16), 1, features=4, hidden=64),
        "swinunetr": make_transformer("swinunetr", (64, 32, 32), 1, features=12),
    }
    run_steps(warm_up[trial.network.architecture], dtype)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = read_status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    run_steps(trial, dtype)
    return (read_status("VmHWM") - before) / 1e9


def run_steps(trial: Trial, precision: object) -> None:
    """Train for a few steps as a fold does."""
    import numpy as np
    import torch

    from interactivepet.networks.build import build_network
    from interactivepet.training.engine import make_engine
    from interactivepet.training.loop import train_epoch

    rng = np.random.default_rng(0)
    network, shape = trial.network, (trial.batch_size, *trial.patch)
    engine = make_engine(build_network(network, deep_supervision=True), make_plan(trial), device=torch.device("cpu"))
    engine = dataclasses.replace(engine, precision=precision)
    batch = {
        "data": rng.standard_normal((shape[0], network.input_channels, *shape[1:]), dtype=np.float32),
        "target": rng.integers(0, network.output_channels, shape, dtype=np.uint8),
    }
    for _ in train_epoch(engine, iter([batch] * N_STEPS), n_iterations=N_STEPS):
        pass


def make_plan(trial: Trial) -> Plan:
    """Make a plan around the network; a training step asks it for the optimiser's settings alone."""
    n_labels = trial.network.output_channels - 1
    n_channels = trial.network.input_channels - 3 * n_labels
    return Plan(
        made_from="",
        task="Task999_Memory",
        budget="cpu",
        channels=("PET",) * n_channels,
        labels={f"label {value}": value for value in range(1, 1 + n_labels)},
        spacing_mm=(1.0, 1.0, 1.0),
        median_shape=trial.patch,
        patch_size=trial.patch,
        normalisation=(Normalisation(scheme="zscore"),) * n_channels,
        network=trial.network,
        guidance=GuidancePlan(scale_mm=1.0),
        training=TrainingPlan(
            batch_size=trial.batch_size,
            epochs=1,
            iterations_per_epoch=N_STEPS,
            optimizer=OPTIMIZER,
            clicks=ClickSampling(noise_mm=0.0),
        ),
        memory=MemoryEstimate(float32_gb=0.0, mixed_gb=0.0),
    )


def read_status(field: str) -> int:
    """Read a figure in bytes of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def print_row(name: str, n_threads: int) -> None:
    trial = TRIALS[name]
    memory = estimate_cost(trial.patch, trial.network, batch_size=trial.batch_size, optimizer=OPTIMIZER).memory
    cells = []
    for precision, estimate in (("float32", memory.float32_gb), ("bfloat16", memory.mixed_gb)):
        command = [sys.executable, __file__, "--measure", name, "--precision", precision, "--threads", str(n_threads)]
        measured = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        cells.append(f"{measured:.3f} | {estimate:.3f} | {estimate / measured:.2f}")
    print(f"| {name} | {trial.batch_size} x {'x'.join(map(str, trial.patch))} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", choices=TRIALS, help="measure one in this process and print GB")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    if arguments.measure:
        import torch

        torch.set_num_threads(arguments.threads)
        print(measure(TRIALS[arguments.measure], arguments.precision))
        return 0
    print("| network | batch x patch | float32 GB | estimate | ratio | bfloat16 GB | estimate | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.only:
        print_row(name, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
