"""Does a second step help? One step against two on whole-body digital patients.

    python tests/benchmarks/cascade_phantom.py FOLDER [--patients 15] [--folds 3] [-e 20]

Makes the task in FOLDER, trains `3d_fullres`, `3d_lowres` and `3d_cascade` on the `cpu` budget, chooses among them
by cross-validation, and prints the table. The same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.phantom.patient import make_patient

TASK = "Task901_WholeBody"
SPACING_MM = (4.07, 4.07, 4.0)
CONFIGURATIONS = ("3d_fullres", "3d_lowres", "3d_cascade")
LESION_FREE_SHARE = 0.2


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=15)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("-e", "--epochs", type=int, default=20)
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    folders = {f"interactivepet_{name}": str(folder / name) for name in ("raw", "processed", "results")}
    os.environ.update(folders)
    make_task(folder / "raw" / TASK, arguments.patients)
    run("generate_dataset_json", "-m", "PET", "-l", "lesion")
    run("plan_and_process", "-f", str(arguments.folds), "--configurations", *CONFIGURATIONS)
    for name in CONFIGURATIONS:
        run("train", "-f", "all", "-c", name, "-e", str(arguments.epochs), "--no-tta")
    run("postprocessing")
    print_table(folder / "results" / TASK / "ensemble.json")


def make_task(folder: Path, n_patients: int) -> None:
    """Write the patients that are not there yet."""
    for number in range(n_patients):
        mask = folder / "labelsTr" / f"BODY_{number:03d}.nii.gz"
        if mask.is_file():
            continue
        rng = np.random.default_rng((901, number))
        image, label, geometry = make_patient(rng, spacing_mm=SPACING_MM, lesion_free_share=LESION_FREE_SHARE)
        write_image(folder / "imagesTr" / f"BODY_{number:03d}_0000.nii.gz", image, geometry=geometry)
        write_mask(mask, label, geometry=geometry)


def run(command: str, *arguments: str) -> None:
    """Run one of the project's commands."""
    start = f"from interactivepet.cli.{command} import main; raise SystemExit(main())"
    subprocess.run([sys.executable, "-c", start, "-t", TASK, *arguments], check=True)


def print_table(path: Path) -> None:
    """Print every configuration's out-of-fold Dice, and what was chosen."""
    rule = json.loads(path.read_text())
    print("\n| configurations | clicks | out-of-fold Dice | fold by fold | chosen |\n|---|---|---|---|---|")
    for mode, choice in rule["choices"].items():
        for candidate in choice["candidates"]:
            if candidate["stage"] == "configuration":
                names = " + ".join(candidate["fusion"]["configurations"])
                folds = ", ".join(f"{dice:.3f}" for dice in candidate["fold_dice"])
                print(
                    f"| {names} | {mode} | {candidate['dice']:.3f} | {folds} | {'yes' if candidate['chosen'] else ''} |"
                )
        print(f"| after the choice, nested | {mode} | {choice['nested_dice']:.3f} | | |")


if __name__ == "__main__":
    main()
