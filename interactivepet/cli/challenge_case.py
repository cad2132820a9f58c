"""What the container of `interactivepet_export_model --grand-challenge` runs: one case of autoPET V."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from interactivepet.cli.common import report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the container."""
    parser = argparse.ArgumentParser(prog="process.py", description="Segment one case of autoPET V.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--input", type=Path, default=Path("/input"), help="folder of images and clicks")
    parser.add_argument("--output", type=Path, default=Path("/output"), help="folder of the mask; made if need be")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--no-tta", action="store_true", help="do not average over mirrored inputs")
    arguments = parser.parse_args(argv)

    from interactivepet.model.folder import open_model
    from interactivepet.pipeline.predict.challenge import run_challenge_case
    from interactivepet.pipeline.predict.models import PredictionOptions
    from interactivepet.settings import count_processors

    options = PredictionOptions(tta=not arguments.no_tta, device=arguments.device, n_threads=count_processors())
    with open_model(arguments.model) as model:
        path = run_challenge_case(model, arguments.input, arguments.output, options=options)
    print(f"mask written: {path}")
    return 0
