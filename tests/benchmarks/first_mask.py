"""Measure a model on cases with masks that it never saw, beside the methods that clinics use.

python tests/benchmarks/first_mask.py FOLDER --model starter --corrections 10

FOLDER has `imagesTr` and `labelsTr` of one label. Each case is segmented as it is: without clicks, with one click at
the deepest voxel of the label, with its six margin points, and then with corrections of a user who clicks on the
deepest voxel of the largest error. The classical methods get the same six points. Prints the Dice of every case, means,
and in how many cases the model is above the classical method with the highest mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import numpy.typing as npt

import interactivepet
from interactivepet.core.classical import CLASSICAL_METHODS
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import write_text
from interactivepet.dataset.manifest import build_manifest
from interactivepet.evaluation.metrics import dice
from interactivepet.guidance.click_user import place_click
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.inference.classical.segmenter import ClassicalSegmenter

Mask = npt.NDArray[np.uint8]


def find_dice(mask: Mask, label: Mask) -> float:
    """Dice of two masks; 1 when both are empty."""
    found = dice(mask > 0, label > 0)
    return 1.0 if found is None else found


def measure_case(model: interactivepet.Model, case: interactivepet.Case, *, corrections: int) -> dict[str, float]:
    """Give the Dice of each way of asking."""
    label = case.label
    if label is None:
        raise SystemExit(f"{case.id} has no label")
    rng = np.random.default_rng(0)
    six = simulate_clicks(label, case.geometry, options=ClickOptions(), rng=rng)
    first = place_click(np.zeros_like(label), label, geometry=case.geometry, labels=(1,), aim="perfect", rng=rng)
    scores = {"none": find_dice(model.predict(case).mask, label)}
    if first is not None:
        scores["one click"] = find_dice(model.predict(case, [first]).mask, label)
    with model.open_session(case) as session:
        session.add_clicks(six)
        mask = session.segment().mask
        scores["six points"] = find_dice(mask, label)
        for number in range(corrections):
            click = place_click(mask, label, geometry=case.geometry, labels=(1,), aim="perfect", rng=rng)
            if click is None:
                break
            session.add_click(click.position_mm, click.label, is_positive=click.is_positive)
            mask = session.segment().mask
            if number + 1 in (1, 5):
                scores[f"six + {number + 1}"] = find_dice(mask, label)
        if corrections:
            scores[f"six + {corrections}"] = find_dice(mask, label)
    for name in CLASSICAL_METHODS:
        # PERCIST needs a liver, which a cut-out image has not
        with suppress(interactivepet.InteractivePetError):
            scores[name] = find_dice(ClassicalSegmenter(name, (1,)).find_mask(case, six), label)
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="starter", help="zip file, folder or installed name (default: starter)")
    parser.add_argument("--corrections", type=int, default=10)
    parser.add_argument("--tta", action="store_true", help="average over mirrored inputs")
    parser.add_argument("--every", type=int, default=1, help="only each Nth case")
    parser.add_argument("--out", type=Path, help="CSV file of all scores")
    options = parser.parse_args(argv)
    manifest = build_manifest(options.folder, channels=["PET"], labels=["lesion"])
    model = interactivepet.load_model(options.model, tta=options.tta)
    rows: dict[str, dict[str, float]] = {}
    for entry in manifest.training[:: options.every]:
        start = time.process_time()
        rows[entry.id] = measure_case(model, read_case(options.folder, entry), corrections=options.corrections)
        told = ", ".join(
            f"{name} {score:.3f}" for name, score in rows[entry.id].items() if name not in CLASSICAL_METHODS
        )
        print(f"{entry.id}: {told} ({time.process_time() - start:.0f} s of CPU)", flush=True)
    _print_means(rows)
    if options.out:
        names = list(next(iter(rows.values())))
        lines = [",".join([case, *(f"{row.get(name, np.nan):.4f}" for name in names)]) for case, row in rows.items()]
        write_text(options.out, "\n".join([",".join(["case", *names]), *lines]) + "\n")
    return 0


def _print_means(rows: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(rows.values())))
    means = {name: float(np.mean([row[name] for row in rows.values() if name in row])) for name in names}
    for name, mean in means.items():
        print(f"{name:14} {mean:.3f}")
    best = max((name for name in CLASSICAL_METHODS if name in means), key=lambda name: means[name])
    above = sum(row["six points"] > row[best] for row in rows.values())
    print(f"six points above {best}, the best classical method, in {above} of {len(rows)} cases")


if __name__ == "__main__":
    sys.exit(main())
