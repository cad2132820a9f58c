"""Count how lesions are called by detection without a model, on digital whole bodies and on a DICOM series.

OMP_NUM_THREADS=1 python tests/benchmarks/detection.py [--patients 20] [--seed 1000] [--dicom FOLDER --mask NAME]

Three settings of the generator: its own, fine voxels, and voxels of another scanner with more lesions. For each it
prints the share of lesions that a region called `lesion` overlaps, and false `lesion`s and `unsure`s per patient.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import reduce
from operator import add
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.phantom.patient import SPACING_MM
from interactivepet.detection.find import RegionOptions, find_regions
from tests.detection.digital import Count, count_regions, make_digital

SETTINGS = {
    "usual voxels, 1 to 4 lesions": (SPACING_MM, (1, 4)),
    "4.07 x 4.07 x 3 mm, 1 to 4 lesions": ((4.07, 4.07, 3.0), (1, 4)),
    "4 x 4 x 5 mm, 4 to 8 lesions": ((4.0, 4.0, 5.0), (4, 8)),
    "usual voxels, no lesion": (SPACING_MM, (0, 0)),
}


def show(name: str, counts: list[Count], seconds: list[float]) -> None:
    total, n = reduce(add, counts), len(counts)
    share = f"{total.n_called / total.n_lesions:.3f}" if total.n_lesions else "-"
    print(
        f"{name}: {n} patients, {total.n_called} of {total.n_lesions} lesions called lesion ({share}), per patient "
        f"{total.n_false / n:.2f} false lesions and {total.n_unsure / n:.2f} unsure; {sum(seconds) / n:.1f} s each"
    )


def run_digital(n_patients: int, seed: int, options: RegionOptions) -> None:
    for name, (spacing_mm, n_lesions) in SETTINGS.items():
        counts, seconds = [], []
        for number in range(n_patients):
            image, label, geometry = make_digital(seed + number, spacing_mm=spacing_mm, n_lesions=n_lesions)
            began = time.perf_counter()
            found = find_regions(image, geometry, case_id=f"{seed + number}", options=options)
            seconds.append(time.perf_counter() - began)
            counts.append(count_regions(found, label))
        show(name, counts, seconds)


def run_dicom(folder: Path, mask: str, options: RegionOptions) -> None:
    source = find_dicom_source(folder, options=DicomOptions(rois=(mask,)))
    for job in source.training:
        case = job.load().case
        began = time.perf_counter()
        found = find_regions(case.image[0], case.geometry, case_id=case.id, options=options)
        show(case.id, [count_regions(found, case.label)], [time.perf_counter() - began])
        print(f"  {dict(Counter(region.rule for region in found.regions))}")
        for region in found.regions[:5]:
            inside = case.label[region.box.slices][region.mask]
            dice = 2 * inside.sum() / (region.mask.sum() + case.label.sum())
            print(f"  {region.id} {region.status} {region.rule}, {region.volume_ml:.0f} ml, Dice {dice:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--method", default="percentile", help="percentile, suv, liver or bloodpool")
    parser.add_argument("--dicom", type=Path, help="folder of a series with a mask")
    parser.add_argument("--mask", default="GTV_Mass", help="region of its RTSTRUCT or SEG that is the lesion")
    arguments = parser.parse_args()
    options = RegionOptions(method=arguments.method)
    if arguments.dicom is not None:
        run_dicom(arguments.dicom, arguments.mask, options)
    run_digital(arguments.patients, arguments.seed, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
