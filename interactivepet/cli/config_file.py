"""Options of a command in a YAML file, checked as the command line is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from interactivepet.errors import SettingsError

__all__ = ["read_config"]


def read_config(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Read options by their long names, such as `max-regions: 5`; a list gives several values, `true` sets a flag.

    Args:
        path: of the file.
        parser: of these options alone, made with `exit_on_error=False`.

    Returns:
        Name as in the parsed arguments -> value, of the options that the file holds.

    Raises:
        SettingsError: the file is not there or no YAML, or holds an unknown option or an invalid value.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); expected YAML such as `max-regions: 5`") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds no options, expected YAML such as `max-regions: 5`")
    known = {action.dest: action for action in parser._actions}
    found: dict[str, Any] = {}
    for name, value in content.items():
        action = known.get(str(name).replace("-", "_"))
        if action is None:
            names = ", ".join(sorted(known)).replace("_", "-")
            raise SettingsError(f"{path}: {name} is no option that a file can hold; known are {names}")
        found[action.dest] = _parse(parser, action, value, place=f"{path}: {name}")
    return found


def _parse(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, *, place: str) -> Any:
    """Parse one option as if it stood on the command line."""
    if value is None:
        raise SettingsError(f"{place}: has no value; give one, or leave the line out")
    is_flag = action.nargs == 0
    if is_flag != isinstance(value, bool):
        raise SettingsError(f"{place}: {value!r} is invalid, expected {'true or false' if is_flag else 'a value'}")
    if is_flag:
        return bool(value)
    words = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    flag = action.option_strings[-1]
    is_single = action.nargs is None
    if is_single and len(words) != 1:
        raise SettingsError(f"{place}: {len(words)} values, expected one")
    try:
        parsed = parser.parse_args([f"{flag}={words[0]}"] if is_single else [flag, *words])
    except (argparse.ArgumentError, SystemExit) as error:
        raise SettingsError(f"{place}: {error}; correct the value") from error
    return getattr(parsed, action.dest)
