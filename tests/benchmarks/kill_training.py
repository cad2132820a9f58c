"""Kill the training of one fold, half of the times inside a checkpoint write, and compare it with an undisturbed one.

python tests/benchmarks/kill_training.py PROCESSED/TASK --raw RAW/TASK --kills 10

Both train fold 0 with --deterministic; a killed run is continued by the same command. After each kill the checkpoint
must hold every epoch whose checkpoint had been written before, so that a kill costs at most the epoch under way. The
weights at the end must be the same, bit for bit.
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
from interactivepet.core.plan import Plans
from interactivepet.training.checkpoint import read_tensors

FOLD = 0
LONGEST_S = 600.0


class Run:
    """One fold in a folder of results of its own."""

    def __init__(self, root: Path, arguments: argparse.Namespace) -> None:
        processed = arguments.processed.resolve()
        plans = Plans.model_validate_json((processed / "plans.json").read_bytes())
        self.folder = root / "results" / processed.name / plans.default / f"fold_{FOLD}"
        self.checkpoint = self.folder / "checkpoint.pt"
        self.partial = self.folder / f".partial-{self.checkpoint.name}"
        self._environment = {
            **os.environ,
            "interactivepet_raw": str(arguments.raw.resolve().parent),
            "interactivepet_processed": str(processed.parent),
            "interactivepet_results": str(root / "results"),
            "interactivepet_n_threads": "1",
            "OMP_NUM_THREADS": "1",
        }
        size = ["-e", str(arguments.epochs), "--iterations", str(arguments.iterations)]
        self._command = [str(Path(sys.executable).with_name("interactivepet_train")), "-t", processed.name]
        self._command += ["-f", str(FOLD), "--deterministic", "--no-tta", *size]
        self._log = root / "log.txt"
        root.mkdir(parents=True)

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def count_epochs(self) -> int:
        """Count the epochs in the checkpoint, which must not be damaged."""
        # between two renames there is only the one before
        found = [path for path in (self.checkpoint, self.checkpoint.with_stem("checkpoint.previous")) if path.is_file()]
        epochs: list[object] = json.loads(read_tensors(found[0])["epochs"]) if found else []
        return len(epochs)

    def read_card(self) -> CheckpointCard:
        return CheckpointCard.model_validate_json((self.folder / "card.json").read_bytes())

    def finish(self) -> float:
        start = time.monotonic()
        if status := self.start().wait(timeout=LONGEST_S):
            raise SystemExit(f"training failed with status {status}; see {self._log}")
        return time.monotonic() - start

    def kill(self, *, after_s: float, in_write: bool) -> tuple[bool, int]:
        """Kill the run after a time, or in the next write after it; give whether that was met, and written epochs."""
        process, start = self.start(), time.monotonic()
        n_written, seen, left_over = self.count_epochs(), _stamp(self.checkpoint), _stamp(self.partial)
        while process.poll() is None:
            stamp = _stamp(self.checkpoint) or seen
            n_written, seen = n_written + (stamp != seen), stamp
            is_due = time.monotonic() - start >= after_s
            if is_due and (not in_write or _stamp(self.partial) not in (0, left_over)):
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True, n_written
            time.sleep(0.0002)
        return False, n_written


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processed", type=Path, help="the task's folder under interactivepet_processed")
    parser.add_argument("--raw", type=Path, required=True, help="the task's folder under interactivepet_raw")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-training-"))
    calm, again, killed = (Run(folder / name, arguments) for name in ("calm", "again", "killed"))
    seconds = calm.finish()
    again.finish()
    same = calm.read_card().weights_sha256 == again.read_card().weights_sha256
    print(f"undisturbed: {seconds:.1f} s; a second run has {'the same' if same else 'OTHER'} weights")
    n_kills, n_lost = 0, 0
    while n_kills < arguments.kills:
        in_write = n_kills % 2 == 1
        is_killed, n_written = killed.kill(after_s=rng.uniform(0.1, seconds / 3), in_write=in_write)
        if not is_killed:
            raise SystemExit("the run came to its end before the last kill; ask for more --epochs")
        n_kills += 1
        left = killed.count_epochs()
        n_lost += left < n_written
        where = "inside a write" if in_write else "anywhere"
        partial = "with" if killed.partial.exists() else "without"
        print(f"kill {n_kills}, {where}, {partial} a partial file: {n_written} written, {left} left", flush=True)
    killed.finish()
    first, last = calm.read_card(), killed.read_card()
    equal = first.weights_sha256 == last.weights_sha256 and len(first.epochs) == len(last.epochs)
    print(f"written epochs lost: {n_lost}; weights after the kills: {'the same' if equal else 'OTHERS'}")
    shutil.rmtree(folder)
    return 0 if same and equal and not n_lost else 1


if __name__ == "__main__":
    sys.exit(main())
