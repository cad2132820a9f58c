"""What modules offer exists and is documented, commands start, and the drawn tree of errors is the real one."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

import interactivepet
from interactivepet import errors
from tests.commands import list_commands

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT_ROOT / "interactivepet"


def list_modules() -> list[str]:
    names = [path.relative_to(PROJECT_ROOT).with_suffix("").as_posix() for path in sorted(PACKAGE.rglob("*.py"))]
    return [name.replace("/", ".").removesuffix(".__init__") for name in names]


MODULES = list_modules()


def list_offered(module: ModuleType) -> list[tuple[str, object]]:
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


def is_own(value: object, module: ModuleType) -> bool:
    """Whether a class or function is the project's, not an alias of a library's type."""
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return is_code and getattr(value, "__module__", "").startswith(interactivepet.__name__)


def find_docstring(value: type | object) -> str:
    """Give an object's own docstring; what dataclasses and named tuples make up does not count."""
    text = getattr(value, "__doc__", None) or ""
    return "" if text.startswith(f"{getattr(value, '__name__', '')}(") else text.strip()


def list_members(kind: type) -> list[tuple[str, object]]:
    """Give the public methods and properties that a class itself defines."""
    found = []
    for name, member in vars(kind).items():
        inner = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
        if not name.startswith("_") and inspect.isfunction(inner):
            found.append((name, inner))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_exists_once(name: str) -> None:
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    assert [entry for entry in offered if not hasattr(module, entry)] == []
    assert [entry for entry in offered if entry.startswith("_") and entry != "__version__"] == []


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()
    bare = []
    for entry, value in list_offered(module):
        if not is_own(value, module):
            continue
        bare += [] if find_docstring(value) else [entry]
        if inspect.isclass(value):
            bare += [f"{entry}.{member}" for member, code in list_members(value) if not find_docstring(code)]
    assert bare == []


def test_the_check_of_docstrings_sees_the_package() -> None:
    offered = [pair for name in MODULES for pair in list_offered(importlib.import_module(name))]
    own = [value for _, value in offered if is_own(value, interactivepet)]
    assert len(own) > 150
    assert sum(len(list_members(value)) for value in own if inspect.isclass(value)) > 50


def test_every_console_script_is_installed_and_has_a_main() -> None:
    commands = list_commands()
    installed = {
        script.name: script
        for script in entry_points(group="console_scripts")
        if script.value.startswith("interactivepet.")
    }
    assert installed.keys() == {f"interactivepet_{command}" for command in commands}, "run `make setup` again"
    for command, module in commands.items():
        script = installed[f"interactivepet_{command}"]
        assert script.value == f"{module}:main"
        assert script.load() is importlib.import_module(module).main


@pytest.mark.parametrize("command", ["train", "predict"])
def test_a_command_says_its_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"interactivepet.cli.{command}").main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"interactivepet {interactivepet.__version__}\n"


def read_drawn_tree() -> list[tuple[int, str, str]]:
    """Give depth, name and explanation of each line of the tree in the docstring of `errors`."""
    drawing = (errors.__doc__ or "").split("```")[1].strip("\n")
    lines = []
    for line in drawing.splitlines():
        marks = len(line) - len(line.lstrip(" │├└─"))
        name, _, explanation = line[marks:].partition(" ")
        lines.append((marks // 4, name, explanation.strip()))
    return lines


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    parents: list[str] = []
    drawn: dict[str, str] = {}
    for depth, name, explanation in read_drawn_tree():
        assert explanation or depth == 0, f"{name} is not explained"
        drawn[name] = parents[depth - 1] if depth else "Exception"
        parents[depth:] = [name]
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException)
    }
    assert drawn == real
    assert sorted(drawn) == sorted(errors.__all__)


def test_no_error_of_the_project_is_defined_elsewhere() -> None:
    strays = [
        f"{name}.{entry}"
        for name in MODULES
        for entry, value in vars(importlib.import_module(name)).items()
        if inspect.isclass(value) and issubclass(value, BaseException)
        if value.__module__.startswith("interactivepet") and value.__module__ != errors.__name__
    ]
    assert strays == []
