"""Import a PET DICOM series and a folder of 20,000 files; print seconds and peak memory.

python tests/benchmarks/import_speed.py --series FOLDER_OF_DICOM
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.source import find_folder_source
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.prepare.importing import run_import


def measure_series(series: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        source = find_dicom_source(series, options=DicomOptions())
        run_import(Path(folder), "Task999_Import", source=source, executor=InlineExecutor())
        print(f"{series}: {len(source.training) + len(source.test)} cases in {time.perf_counter() - start:.2f} s")


def measure_many_files(n_cases: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_cases):
            for part in ("", "_mask"):
                (Path(folder) / f"case_{number:05d}{part}.nii.gz").touch()
        start = time.perf_counter()
        found = find_folder_source(Path(folder), options=FolderOptions())
        print(f"{2 * n_cases} files: {len(found.training)} cases found in {time.perf_counter() - start:.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=Path, required=True)
    arguments = parser.parse_args()
    measure_series(arguments.series)
    unit = 1024**2 if sys.platform == "darwin" else 1024
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.0f} MB")
    measure_many_files()
    return 0


if __name__ == "__main__":
    sys.exit(main())
