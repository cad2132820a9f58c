"""Time an interactive session of all trained folds of a task: how long the user waits for each mask.

python tests/benchmarks/session_latency.py TASK [--nninteractive EXPORT] [--fast | --no-tta]

The folders are those of the environment (interactivepet_raw, interactivepet_processed, interactivepet_results). On each
training case the perfect user places the margin points, then corrects ten times. All folds answer, as they do for a new
patient; they have seen these cases, so nothing is said of how good the masks are.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from interactivepet.cli.common import choose_promptable, open_workspace
from interactivepet.core.case import Case
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.manifest import read_manifest
from interactivepet.pipeline.judge.simulated_session import SimulatedUser
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.session.session import Session
from interactivepet.settings import load_settings


def time_case(session: Session, case: Case, *, n_clicks: int) -> tuple[float, list[float]]:
    """Give the seconds from the image and its margin points to the first mask, and those of each correction."""
    user = SimulatedUser("perfect", case, session.labels, np.random.default_rng(0))
    began = time.perf_counter()
    session.set_image(replace(case, label=None))
    session.add_clicks(user.begin("extreme"))
    mask = session.segment().mask
    first, seconds = time.perf_counter() - began, []
    for number in range(1, n_clicks + 1):
        added = user.correct(mask, number)
        if not added:
            break
        began = time.perf_counter()
        session.add_clicks(added)
        mask = session.segment().mask
        seconds.append(time.perf_counter() - began)
    return first, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--nninteractive", default="off", help="a model folder or a server")
    parser.add_argument("--fast", action="store_true", help="two folds, no mirrored inputs")
    parser.add_argument("--tta", action=argparse.BooleanOptionalAction, default=True, help="average mirrored inputs")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    options = PredictionOptions(
        tta=arguments.tta,
        device=arguments.device,
        n_threads=settings.n_threads or 1,
        promptable=choose_promptable(arguments.nninteractive, settings),
    )
    manifest, firsts, seconds = read_manifest(workspace.raw), [], []
    with open_trained_model(workspace, options, with_corrections=True) as model:
        session = Session(model.models, fast=arguments.fast)
        for entry in manifest.training:
            first, took = time_case(session, read_case(workspace.raw, entry), n_clicks=arguments.clicks)
            print(
                f"{entry.id}: first {first:.2f} s, corrections {np.round(took, 2).tolist()}",
                file=sys.stderr,
                flush=True,
            )
            firsts.append(first)
            seconds += took
        name = session.segmenter.name
    print("| answers by | cases | corrections | first mask, median s | 95 % s | correction, median s | 95 % s |")
    print("|---|---|---|---|---|---|---|")
    figures = " | ".join(f"{s:.2f}" for part in (firsts, seconds) for s in np.quantile(part, [0.5, 0.95]))
    print(f"| {name} | {len(firsts)} | {len(seconds)} | {figures} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
