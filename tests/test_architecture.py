"""The house rules that a machine can check: layers, sizes, docstrings, and what an import costs."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from tests.commands import list_commands
from tests.tiny import TASK, write_tiny_task

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT_ROOT / "interactivepet"
ARCHITECTURE = PROJECT_ROOT / "documentation" / "explanation" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "mlflow", "SimpleITK", "nibabel", "nnInteractive", "matplotlib", "scipy", "skimage")


def find_function_lengths(tree: ast.Module) -> list[int]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno is not None]


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


def test_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_says_what_it_is_and_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
    targets = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    offers_nothing = len(tree.body) == 1 or path.name == "version.py"
    assert offers_nothing or "__all__" in targets, f"{name_of(path)} has no __all__"


def test_modules_and_functions_stay_short() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES}
    lengths = {name_of(path): len(text.splitlines()) for path, text in texts.items()}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert statistics.median(lengths.values()) < 150
    functions = [n for text in texts.values() for n in find_function_lengths(ast.parse(text))]
    assert sum(n < 30 for n in functions) >= 0.9 * len(functions)


def test_the_tests_mirror_the_package() -> None:
    for folder in (path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        tests = PROJECT_ROOT / "tests" / folder.name
        assert list(tests.glob("test_*.py")), f"tests/{folder.name} holds no tests"


def test_no_test_asserts_how_long_something_took() -> None:
    clocks = {"time", "monotonic", "perf_counter", "process_time"}
    for path in sorted((PROJECT_ROOT / "tests").rglob("test_*.py")):
        asserts = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Assert))
        differences = (part for node in asserts for part in ast.walk(node) if isinstance(part, ast.BinOp))
        called = {part.func for node in differences for part in ast.walk(node) if isinstance(part, ast.Call)}
        read = {function.attr for function in called if isinstance(function, ast.Attribute)} & clocks
        assert not read, f"{name_of(path)} asserts a difference of {read}: a busy machine would fail it"


def test_importing_core_settings_and_commands_stays_cheap() -> None:
    cheap = [
        PACKAGE / "settings.py",
        *sorted((PACKAGE / "core").glob("*.py")),
        *sorted(PACKAGE.glob("cli/*.py")),
    ]
    names = [name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in cheap]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = sorted(set({HEAVY!r}) & sys.modules.keys())\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "interactivepet.core.geometry" in names


def test_every_console_script_has_its_module() -> None:
    commands = list_commands()
    assert len(commands) == 24
    for module in commands.values():
        text = (PROJECT_ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        assert "main" in functions, f"{module} has no function main"


class StepReachedError(Exception):
    """Ends a training at its first optimiser step, and a prediction at the network."""


def list_calls(frame: FrameType | None) -> list[str]:
    """List the package's functions on the stack, outermost first; without decorators and comprehensions."""
    calls: list[str] = []
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith("interactivepet.") and module != "interactivepet.cli.common" and function[0] != "<":
            calls.append(f"{module.removeprefix('interactivepet.')}.{function}")
        frame = frame.f_back
    return calls[::-1]


def read_path(heading: str) -> list[str]:
    """Read the functions of a numbered list of the architecture page, one per line."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. `([\w.]+)`", section, flags=re.M)


def test_the_path_of_a_training_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from interactivepet.cli import generate_dataset_json, plan_and_process, train

    seen: list[list[str]] = []

    def stop(*_: object, **__: object) -> None:
        seen.append(list_calls(sys._getframe()))
        raise StepReachedError

    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(tmp_path / name))
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.chdir(tmp_path)
    write_tiny_task(tmp_path / "raw", n_training=3, n_test=0)
    assert generate_dataset_json.main(["-t", TASK, "-m", "PET", "-l", "lesion"]) == 0
    assert plan_and_process.main(["-t", TASK, "-f", "2", "--budget", "cpu", "-np", "1"]) == 0
    for optimizer in (torch.optim.SGD, torch.optim.AdamW):
        monkeypatch.setattr(optimizer, "step", stop)
    with pytest.raises(StepReachedError):
        train.main(["-t", TASK, "-f", "0", "-e", "1", "--iterations", "1", "--device", "cpu", "-np", "1"])
    assert seen == [read_path("From `interactivepet_train -f 0` to the optimiser step")]
    assert len(seen[0]) == 10


def test_the_path_of_a_click_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interactivepet.inference.network import FoldNetwork
    from interactivepet.pipeline.predict.interactive import Dialogue
    from interactivepet.session.segmenter import EnsembleSegmenter
    from interactivepet.session.session import Session
    from tests.model.models import describe_model, make_network_plan
    from tests.session.test_session import make_case, make_model

    seen: list[list[str]] = []

    def stop(*_: object, **__: object) -> None:
        seen.append(list_calls(sys._getframe()))
        raise StepReachedError

    case, session = make_case((20, 18, 9)), Session(make_model())
    session.set_image(case)
    session.segment()
    dialogue = Dialogue(session, describe_model(make_network_plan()).plans, tmp_path / "mask.nii.gz", "voxel")
    monkeypatch.setattr(FoldNetwork, "predict_box", stop)
    with pytest.raises(StepReachedError):
        dialogue.run_line("+ 5 5 5")
    monkeypatch.setattr(FoldNetwork, "predict", stop)
    with pytest.raises(StepReachedError):
        EnsembleSegmenter(make_model()).segment(case, session.clicks)
    path = read_path("From a click to the mask")
    at_once = ARCHITECTURE.read_text(encoding="utf-8").partition("as cross-validation does: ")[2]
    told = re.findall(r"`([\w.]+)`", at_once.partition("\n")[0])
    assert [*seen[0], "inference.network.predict_box"] == path
    assert [*seen[1], "inference.network.predict"] == told
    assert len(path) == 10


def test_every_function_that_the_page_names_exists() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    packages = "|".join(sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"))
    named = re.findall(rf"`((?:{packages})(?:\.[a-z_]+)+\.[A-Za-z_]+)`", text)
    assert len(named) > 25
    for name in named:
        module, _, attribute = name.rpartition(".")
        target = PACKAGE / module.replace(".", "/")
        path = target.with_suffix(".py") if target.with_suffix(".py").is_file() else target / "__init__.py"
        assert path.is_file(), f"{name}: there is no module {module}"
        is_module = (target / f"{attribute}.py").is_file() or (target / attribute).is_dir()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        assert is_module or attribute in defined, f"{name}: {module} has no {attribute}"
