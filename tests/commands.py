"""The console scripts that setup.py declares."""

from __future__ import annotations

import ast
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def list_commands() -> dict[str, str]:
    """Give name -> module of every command, in the order of setup.py."""
    values = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.parse(SETUP.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    }
    names, modules = ast.literal_eval(values["COMMANDS"]), ast.literal_eval(values["MODULES"])
    assert len(names) == len(set(names))
    return {name: f"interactivepet.cli.{modules.get(name, name)}" for name in names}
