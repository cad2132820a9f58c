"""`interactivepet_ui`: MLflow's pages on the right store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from interactivepet.cli.common import make_parser, report_errors

__all__ = ["main"]

DEFAULT_PORT = 5000


def port(text: str) -> int:
    """Parse the number of a port."""
    from interactivepet.tracking.server import LAST_PORT

    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to {LAST_PORT}")
    return int(text)


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is stopped."""
    parser = make_parser("ui", "Open the MLflow UI on the store of interactivepet_results.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=port, help=f"default: the first free one from {DEFAULT_PORT} on")
    arguments = parser.parse_args(argv)

    from interactivepet.settings import load_settings
    from interactivepet.tracking.mlflow import default_artefact_folder, default_uri
    from interactivepet.tracking.server import reserve_port, run_server

    settings = load_settings()
    if settings.mlflow_tracking_uri is not None:
        print(f"MLFLOW_TRACKING_URI is set: runs are at {settings.mlflow_tracking_uri}; open that address in a browser")
        return 0
    first, is_fixed = arguments.port or DEFAULT_PORT, arguments.port is not None
    store = ["--backend-store-uri", default_uri(settings.results)]
    artefacts = ["--default-artifact-root", default_artefact_folder(settings.results).as_uri()]
    with reserve_port(arguments.host, first, is_fixed=is_fixed) as chosen:
        print(f"http://{arguments.host}:{chosen}  (stop with Ctrl-C)", flush=True)
        command = [sys.executable, "-m", "mlflow", "ui", "--host", arguments.host, "--port", str(chosen)]
        return run_server([*command, *store, *artefacts])
