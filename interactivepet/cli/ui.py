"""`interactivepet_ui`: MLflow's pages on the right store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from interactivepet.cli.common import make_parser, report_errors

__all__ = ["main"]


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is stopped."""
    parser = make_parser("ui", "Open the MLflow UI on the store of interactivepet_results.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    arguments = parser.parse_args(argv)

    from interactivepet.settings import load_settings
    from interactivepet.tracking.mlflow import default_artefact_folder, default_uri

    settings = load_settings()
    if settings.mlflow_tracking_uri is not None:
        print(f"MLFLOW_TRACKING_URI is set: runs are at {settings.mlflow_tracking_uri}; open that address in a browser")
        return 0
    print(f"http://{arguments.host}:{arguments.port}  (stop with Ctrl-C)")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", arguments.host, "--port", str(arguments.port)]
    store = ["--backend-store-uri", default_uri(settings.results)]
    artefacts = ["--default-artifact-root", default_artefact_folder(settings.results).as_uri()]
    return subprocess.run([*command, *store, *artefacts], check=False).returncode
