"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["print_table"]

UNBOUNDED = 100_000
"""Columns that no table has."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: long cells wrap in a terminal, and no row wraps when the output is a file or another program."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        # a program that reads the table wants each row on one line
        console = Console(width=UNBOUNDED)
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
