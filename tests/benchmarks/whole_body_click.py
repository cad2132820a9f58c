"""Time clicks in a session on a whole body, apart from the network, for which a toy stands.

OMP_NUM_THREADS=1 python tests/benchmarks/whole_body_click.py

A volume of 400 x 400 x 326 voxels of 2.04 x 2.04 x 3 mm with one lesion, a grid of 3 mm for the network, patches of 96
voxels an edge. What is timed is everything between a click and the mask: the window, the toy, blending into the earlier
probabilities, the way back to the scanner's grid, thresholding and obeying.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.session.session import Session
from tests.session.test_session import make_model, make_plan, place

SHAPE = (400, 400, 326)
SPACING_MM = (2.04, 2.04, 3.0)


def make_body() -> Case:
    image = np.random.default_rng(0).gamma(2.0, 0.2, size=SHAPE).astype(np.float32)
    image[180:200, 180:200, 150:170] += 3
    return Case("A", image[None], Geometry(SHAPE, np.diag([*SPACING_MM, 1.0])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    case = make_body()
    session = Session(make_model(make_plan(patch=(96, 96, 96), spacing_mm=(3.0, 3.0, 3.0)), n_folds=1))
    began = time.perf_counter()
    session.set_image(case)
    opened = time.perf_counter() - began
    session.add_click(place(case, (190, 190, 160)))
    began = time.perf_counter()
    session.segment()
    clicked = time.perf_counter() - began
    session.reset()
    began = time.perf_counter()
    session.segment()
    first, seconds = time.perf_counter() - began, []
    for number in range(arguments.clicks):
        session.add_click(place(case, (185 + 5 * number, 190, 160)), is_positive=number % 2 == 0)
        began = time.perf_counter()
        session.segment()
        seconds.append(time.perf_counter() - began)
    print(f"opened in {opened:.1f} s; a first click {clicked:.1f} s; an automatic mask {first:.1f} s")
    print(f"a correction {np.median(seconds):.2f} s (median), {max(seconds):.2f} s at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
