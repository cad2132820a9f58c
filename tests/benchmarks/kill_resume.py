"""Kill the whole walk at random moments, resume it, and compare what is left with an undisturbed run.

python tests/benchmarks/kill_resume.py --kills 10
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.dataset.files.arrays import read_array
from interactivepet.dataset.files.read import read_mask
from tests.tiny import TASK, write_tiny_task

EPOCHS, ITERATIONS = 6, 10


def make_environment(root: Path) -> dict[str, str]:
    folders = {f"interactivepet_{name}": str(root / name) for name in ("raw", "processed", "results")}
    return {**os.environ, **folders, "interactivepet_n_proc": "2"}


def command(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(f"interactivepet_{name}")), *arguments]


def run_command() -> list[str]:
    size = ["-e", str(EPOCHS), "--iterations", str(ITERATIONS), "--no-tta"]
    return command("run", "-t", TASK, "-f", "3", "--budget", "cpu", *size)


def prepare(root: Path) -> None:
    write_tiny_task(root / "raw")
    subprocess.run(
        command("generate_dataset_json", "-t", TASK, "-m", "PET", "-l", "lesion"),
        env=make_environment(root),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def run_once(root: Path, *, kill_after: float | None) -> tuple[bool, float]:
    """Run the walk; give whether it ended by itself, and after how many seconds."""
    start = time.monotonic()
    with (root / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            run_command(), env=make_environment(root), stdout=log, stderr=log, cwd=root, start_new_session=True
        )
        try:
            status = process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return False, time.monotonic() - start
    if status != 0:
        raise SystemExit(f"the walk failed with status {status}; see {root / 'log.txt'}")
    return True, time.monotonic() - start


def list_files(root: Path) -> set[str]:
    """List every file outside of the tracker's store, whose run identifiers are random."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and "mlflow" not in path.parts and path.name != "log.txt"
    }


def check_readable(root: Path, files: set[str]) -> dict[str, int]:
    """Read every file by its kind; give the number of epochs of each fold."""
    epochs = {}
    for name in sorted(files):
        path = root / name
        if path.name == "card.json":
            epochs[path.parent.name] = len(CheckpointCard.model_validate_json(path.read_bytes()).epochs)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".b2nd":
            read_array(path, command="")
        elif name.endswith(".nii.gz") and "images" not in name:
            read_mask(path)
    return epochs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-resume-"))
    calm, killed = folder / "calm", folder / "killed"
    for root in (calm, killed):
        prepare(root)
    _, seconds = run_once(calm, kill_after=None)
    print(f"undisturbed: {seconds:.1f} s")
    n_kills = 0
    while n_kills < arguments.kills:
        done, after = run_once(killed, kill_after=rng.uniform(0.5, seconds))
        if done:
            # nothing is left to interrupt: lose a late part of the work and go on
            shutil.rmtree(killed / "results" / TASK / "3d_fullres" / f"fold_{rng.randrange(3)}")
            (killed / "results" / TASK / "ensemble.json").unlink()
            continue
        n_kills += 1
        print(f"kill {n_kills} after {after:.1f} s: {len(list_files(killed))} files", flush=True)
    run_once(killed, kill_after=None)
    expected, found = list_files(calm), list_files(killed)
    epochs = [check_readable(root, files) for root, files in ((calm, expected), (killed, found))]
    print(f"files: {len(expected)} undisturbed, {len(found)} after kills; different: {sorted(expected ^ found)}")
    print(f"epochs: {epochs[0]} undisturbed, {epochs[1]} after kills")
    same = expected == found and epochs[0] == epochs[1] and set(epochs[0].values()) == {EPOCHS}
    print("same" if same else "DIFFERENT")
    shutil.rmtree(folder)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
