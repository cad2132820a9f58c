from __future__ import annotations

from tests.blobs import click, make_case, model_folder

__all__ = ["click", "make_case", "model_folder"]
