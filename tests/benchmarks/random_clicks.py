"""Put random sequences of clicks to the trained folds of a task and count the clicks that a mask does not meet.

python tests/benchmarks/random_clicks.py TASK --sequences 1000

The folders are those of the environment (interactivepet_raw, interactivepet_processed, interactivepet_results). Each
case is answered by the fold that never saw it, and, with --nninteractive, by that fold's own promptable model. A
sequence has one to eight clicks, of either sign, half of them within 15 mm of the object's margin and half anywhere;
one in ten is put on an earlier click's voxel. The mask is asked for after every click, and all clicks so far are looked
up in it: by voxel, the newest says what must hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import numpy.typing as npt
from edt import edt

from interactivepet.cli.common import choose_promptable, open_workspace
from interactivepet.core.case import Case
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.manifest import read_manifest
from interactivepet.pipeline.predict.models import Models, PredictionOptions, open_models
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.train.promptable_folder import find_own_folds, open_unseen
from interactivepet.session.session import Session
from interactivepet.settings import load_settings

MOST_CLICKS = 8
NEAR_MM = 15.0
REPEATED = 0.1

Voxel = tuple[int, int, int]


def draw_voxel(near: npt.NDArray[np.int64], shape: Sequence[int], rng: np.random.Generator) -> Voxel:
    if len(near) and rng.random() < 0.5:
        i, j, k = (int(n) for n in near[rng.integers(len(near))])
    else:
        i, j, k = (int(rng.integers(n)) for n in shape)
    return (i, j, k)


def find_near(case: Case) -> npt.NDArray[np.int64]:
    """List the voxels within `NEAR_MM` of the label's margin."""
    if case.label is None:
        return np.empty((0, 3), np.int64)
    inside = case.label > 0
    spacing = case.geometry.spacing_mm
    depth = np.where(inside, edt(inside, anisotropy=spacing), edt(~inside, anisotropy=spacing))
    return np.argwhere(depth <= NEAR_MM)


def count_misses(mask: npt.NDArray[np.uint8], asked: Sequence[tuple[Voxel, bool, int]]) -> int:
    """Count the clicked voxels in which the mask is not what the newest click of a label wants."""
    newest = {(voxel, label): is_positive for voxel, is_positive, label in asked}
    positive = {voxel: label for voxel, is_positive, label in asked if is_positive}
    misses = 0
    for (voxel, label), is_positive in newest.items():
        if is_positive and positive[voxel] != label:
            continue  # a newer click puts the voxel into another label
        misses += bool(mask[voxel] == label) != is_positive
    return misses


def run_case(
    models: Models, case: Case, n_sequences: int, rng: np.random.Generator
) -> tuple[Counter[str], list[float]]:
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    session, near = Session(models), find_near(case)
    session.set_image(replace(case, label=None))
    for _ in range(n_sequences):
        session.reset()
        asked: list[tuple[Voxel, bool, int]] = []
        for _ in range(int(rng.integers(1, MOST_CLICKS + 1))):
            is_repeated = bool(asked) and rng.random() < REPEATED
            voxel = asked[rng.integers(len(asked))][0] if is_repeated else draw_voxel(near, case.geometry.shape, rng)
            click = (voxel, bool(rng.random() < 0.5), int(rng.choice(session.labels)))
            asked.append(click)
            x, y, z = (float(mm) for mm in case.geometry.to_mm(voxel))
            session.add_click((x, y, z), click[2], is_positive=click[1])
            began = time.perf_counter()
            mask = session.segment().mask
            seconds.append(time.perf_counter() - began)
            counts["masks"] += 1
            counts["not met"] += count_misses(mask, asked)
            counts["told as not met"] += len(session.unmet)
            counts["looked up"] += len(asked)
        counts["sequences"] += 1
        counts["clicks"] += len(asked)
    return counts, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--nninteractive", default="off", help="an export of the task's own promptable model")
    parser.add_argument("--tta", action="store_true", help="average over mirrored inputs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = load_settings()
    workspace = open_workspace(arguments.task, settings)
    promptable = choose_promptable(arguments.nninteractive, settings)
    split = read_decisions(workspace)[1]
    own = find_own_folds(workspace, promptable.source, split=split) if promptable else {}
    manifest, rng = read_manifest(workspace.raw), np.random.default_rng(arguments.seed)
    cases = [(fold.index, name) for fold in split.folds for name in fold.validation]
    share, rest = divmod(arguments.sequences, len(cases))
    total: Counter[str] = Counter()
    seconds: list[float] = []
    for number, (fold, name) in enumerate(cases):
        with ExitStack() as stack:
            source = promptable and stack.enter_context(open_unseen(workspace, promptable, fold=fold, own=own))
            options = PredictionOptions(folds=(fold,), tta=arguments.tta, device="cpu", promptable=source)
            models = stack.enter_context(open_models(workspace, options, with_corrections=True))
            case = read_case(workspace.raw, manifest.entry(name))
            counts, took = run_case(models, case, n_sequences=share + (number < rest), rng=rng)
        total, seconds = total + counts, seconds + took
        print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
    median, high = np.quantile(seconds, [0.5, 0.95])
    print("| sequences | clicks | masks | look-ups | not met | told as contradicted | median s | 95 % s |")
    print("|---|---|---|---|---|---|---|---|")
    keys = ("sequences", "clicks", "masks", "looked up", "not met", "told as not met")
    print(f"| {' | '.join(str(total[key]) for key in keys)} | {median:.3f} | {high:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
