"""The documentation says what the code does: commands, options, variables, files, kinds of issues, links."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from interactivepet.core.artefact import Artefact, Record
from interactivepet.settings import variable_names
from interactivepet.version import __version__
from tests.commands import list_commands

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DOCUMENTATION = PROJECT_ROOT / "documentation"
REFERENCE = DOCUMENTATION / "reference"
README = PROJECT_ROOT / "README.md"
PAGES = [README, *sorted(DOCUMENTATION.rglob("*.md"))]

SHARED_FLAGS = {"-h", "--help", "--version"}
FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|tmp|home|root|mnt|usr|opt|var|Users|data)/")
UNFINISHED = re.compile(r"\b(?:TODO|TBD|FIXME|XXX|lorem ipsum|to be filled)\b", flags=re.IGNORECASE)


class Parsed(Exception):  # noqa: N818 - it stops a command after its arguments, which is no error
    """Raised in place of running a command."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


COMMANDS = list_commands()


def split_sections(text: str, *, level: int = 2) -> dict[str, str]:
    """Give heading -> text up to the next heading of the same or a higher level, outside of code blocks."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", plain, flags=re.MULTILINE)[1:]
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {title.strip(): body for marks, title, body in triples if len(marks) == level}


def first_cells(text: str) -> list[str]:
    """Give the names in backticks of the first column of every table."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", re.split(r"(?<!\\)\|", row)[1])]


def find_flags_of_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, kind: tuple[str, ...] = ()
) -> set[str]:
    """Give the options of a command, those of its kinds too."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(COMMANDS[command]).main([*kind, "-h"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (-.*?)(?:  |$)", text, flags=re.MULTILINE)
    flags = {flag for option in options for flag in FLAG.findall(option)}
    kinds = re.findall(r"^  \{(.+)\}$", text, flags=re.MULTILINE)
    for name in ",".join(kinds).split(",") if kinds else ():
        flags |= find_flags_of_help(command, capsys, monkeypatch, kind=(name,))
    return flags


def find_blocks(text: str) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def find_command_lines() -> Iterator[tuple[str, str]]:
    """Give page and line of everything in a bash block that calls a command of the project."""
    for path in PAGES:
        for block in find_blocks(read(path)):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("interactivepet_"):
                    yield name_of(path), line


def find_anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}


def test_the_four_kinds_of_documentation_are_there() -> None:
    folders = {path.name for path in DOCUMENTATION.iterdir() if path.is_dir()}
    assert folders == {"getting-started", "how-to", "explanation", "reference"}
    linked = {(README.parent / target).resolve() for target in LINK.findall(read(README)) if "://" not in target}
    assert {path for path in PAGES if path != README} <= linked, "the README does not lead to every page"


def test_every_command_is_in_the_readme_and_in_the_reference() -> None:
    names = [f"interactivepet_{command}" for command in COMMANDS]
    assert list(split_sections(read(REFERENCE / "commands.md"))) == names
    assert first_cells(split_sections(read(README))["Commands"]) == names


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_exactly_the_options_of_the_command(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    section = split_sections(read(REFERENCE / "commands.md"))[f"interactivepet_{command}"]
    documented = [flag for cell in first_cells(section) for flag in FLAG.findall(cell)]
    assert len(documented) == len(set(documented)), "an option is documented twice"
    known = find_flags_of_help(command, capsys, monkeypatch)
    assert known >= SHARED_FLAGS
    assert set(documented) == known - SHARED_FLAGS


@pytest.mark.parametrize(("page", "line"), list(find_command_lines()))
def test_commands_in_the_text_are_accepted(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = shlex.split(line, comments=True)
    command = name.removeprefix("interactivepet_")
    assert command in COMMANDS, f"{page}: {line}"
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
        parse(parser, argv)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed):
        importlib.import_module(COMMANDS[command]).main(arguments)


def test_the_text_calls_every_command_that_works_on_a_task() -> None:
    called = {line.split()[0] for _, line in find_command_lines()}
    assert called >= {f"interactivepet_{command}" for command in COMMANDS} - {"interactivepet_demo"}


def test_options_in_running_text_exist(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = set().union(*(find_flags_of_help(command, capsys, monkeypatch) for command in COMMANDS))
    for path in PAGES:
        plain = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
        spans = re.findall(r"`([^`\n]+)`", plain)
        used = {flag for span in spans if span.startswith(("-", "interactivepet_")) for flag in FLAG.findall(span)}
        assert used <= known, f"{name_of(path)}: {sorted(used - known)}"


def test_make_targets_in_the_text_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(PROJECT_ROOT / "Makefile"), flags=re.MULTILINE))
    for path in PAGES:
        lines = [line for block in find_blocks(read(path)) for line in block.splitlines() if line.startswith("make ")]
        for line in lines:
            assert shlex.split(line)[1] in targets, f"{name_of(path)}: {line}"


def test_every_variable_is_documented_in_order() -> None:
    assert tuple(first_cells(read(REFERENCE / "environment.md"))) == variable_names()


def test_variables_in_the_text_exist() -> None:
    known = {*variable_names(), "INTERACTIVEPET_TEST_DATA", *(f"interactivepet_{command}" for command in COMMANDS)}
    for path in PAGES:
        used = set(re.findall(r"\binteractivepet_\w+\b(?!\.)", read(path), flags=re.IGNORECASE))
        assert used - known <= {"interactivepet_COMMAND"}, name_of(path)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(read(path)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.is_file(), f"{name_of(path)}: {target}"
        assert place.is_relative_to(PROJECT_ROOT), f"{name_of(path)}: {target}"
        if anchor:
            assert anchor in find_anchors(read(place)), f"{name_of(path)}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_are_finished_and_speak_of_no_machine(path: Path) -> None:
    text = read(path)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)) == 1
    assert MACHINE_PATH.findall(text) == []
    assert UNFINISHED.findall(text) == []


def list_records(kind: type[Record] = Record) -> dict[str, type[Record]]:
    found = {kind.__name__: kind}
    for child in kind.__subclasses__():
        found |= list_records(child)
    return found


def test_every_field_of_every_file_is_documented() -> None:
    for path in sorted((PROJECT_ROOT / "interactivepet" / "core").glob("*.py")):
        importlib.import_module(f"interactivepet.core.{path.stem}")
    sections = split_sections(read(REFERENCE / "files.md"), level=3)
    core = {name: kind for name, kind in list_records().items() if kind.__module__.startswith("interactivepet.core.")}
    manifest = {"DatasetManifest", "CaseEntry"}  # dataset.json has the Decathlon's form instead
    bases = {"Record", "TrainingCard"}
    assert set(sections) == core.keys() - manifest - bases
    for name, section in sections.items():
        expected = set(core[name].model_fields)
        if name != "Artefact" and issubclass(core[name], Artefact):
            expected -= set(Artefact.model_fields)
        assert set(first_cells(section)) == expected, name


def test_every_file_of_the_workspace_is_documented() -> None:
    text = read(REFERENCE / "files.md")
    paths = re.findall(
        r'"([^"/{}]+\.json|snapshots|crossvalidation|predictionsTs|nninteractive|validation)"',
        "".join(
            read(PROJECT_ROOT / "interactivepet" / "pipeline" / name) for name in ("workspace.py", "prepare/steps.py")
        ),
    )
    assert len(paths) >= 10
    assert [name for name in paths if name not in text] == []


def test_every_kind_of_issue_has_its_remedy() -> None:
    folder = PROJECT_ROOT / "interactivepet" / "dataset"
    source = read(folder / "checks.py") + read(folder / "validate.py")
    raised = set(re.findall(r'\.add\(\s*"([a-z-]+)"', source))
    table = split_sections(read(DOCUMENTATION / "how-to" / "verify-a-task.md"))["Kinds and remedies"]
    documented = first_cells(table)
    assert len(documented) == len(set(documented))
    assert set(documented) == raised
    assert "click-outside-mask" in raised


def test_budgets_are_documented_with_their_numbers() -> None:
    from interactivepet.planning.budgets import BUDGETS

    text = read(DOCUMENTATION / "how-to" / "choose-a-budget.md")
    for name, budget in BUDGETS.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{budget.memory_gb:.1f} GB" in row
        assert f"{budget.base_features} to {budget.maximum_features}" in row
        assert f"{budget.epochs} epochs of {budget.iterations_per_epoch} iterations" in row


def test_the_bound_of_a_patch_on_a_cpu_is_documented() -> None:
    from interactivepet.planning.rules import OBJECT_REACH

    assert f"at most {OBJECT_REACH:g} times" in read(DOCUMENTATION / "explanation" / "planning-rules.md")


def test_the_rules_of_suv_are_documented_with_their_limits() -> None:
    from interactivepet.dataset.dicom import body, decay, suv

    text = read(DOCUMENTATION / "explanation" / "suv.md")
    assert f"weight above {body.LARGEST_WEIGHT_KG} |" in text
    assert f"height above {body.LARGEST_HEIGHT_M} |" in text
    assert f"dose from 1 to {suv.LARGEST_DOSE_MBQ:,.0f} |" in text
    assert f"{suv.SMALLEST_DOSE_BQ / 1e6:g} MBq to {suv.LARGEST_DOSE_BQ / 1e9:g} GBq" in text
    assert f"at most {decay.LONGEST_UPTAKE_HALF_LIVES} half-lives" in text
    assert f"more than {decay.LONGEST_WAIT.seconds // 60} minutes" in text
    assert f"more than {decay.LONGEST_START.seconds // 3600} hours is refused" in text
    shown = {tag for purpose in suv.TAGS.values() for tag in re.findall(r"\((7053,\w{4}|0054,1[01]\w\d)\)", purpose)}
    assert len(shown) == 4
    assert [tag for tag in shown if tag not in text] == []


def test_the_packages_and_modules_of_the_pipeline_are_in_the_architecture() -> None:
    text = read(DOCUMENTATION / "explanation" / "architecture.md")
    for name in ("pipeline", "networks", "dataset/dicom", "dataset/folders"):
        modules = {path.stem for path in (PROJECT_ROOT / "interactivepet" / name).glob("[!_]*.py")}
        assert modules <= set(re.findall(r"`(\w+)`", text)), name


def test_the_demonstration_is_documented_with_its_size() -> None:
    from interactivepet.pipeline.demo import DemoSize

    section = split_sections(read(REFERENCE / "commands.md"))["interactivepet_demo"]
    size = DemoSize()
    for field in fields(DemoSize):
        flag = f"`--{field.name.replace('_', '-')} N`"
        (row,) = (line for line in section.splitlines() if flag in line)
        assert f"default {getattr(size, field.name)} |" in row
    page = read(DOCUMENTATION / "getting-started" / "first-run.md")
    assert f"{size.n_training} to train on, {size.n_test} to test on" in page
    assert f"{size.epochs} epochs of {size.iterations} iterations" in page
    assert f"further digital patients, {size.model_iterations} iterations" in page


def test_the_words_that_make_a_click_negative_are_documented() -> None:
    from interactivepet.dataset.click_files import CLICK_FILE_ENDINGS
    from interactivepet.dataset.interactions import NEGATIVE_WORDS

    text = read(DOCUMENTATION / "how-to" / "place-clicks.md")
    (row,) = (line for line in text.splitlines() if line.startswith("| `negative`"))
    assert set(re.findall(r"`(\w+)`", row)) == NEGATIVE_WORDS
    assert ", ".join(f"`CASE{ending}`" for ending in CLICK_FILE_ENDINGS) in text


def test_the_choice_is_documented_with_its_candidates() -> None:
    from interactivepet.ensemble.choose import THRESHOLDS, WEIGHTS
    from interactivepet.pipeline.judge.postprocess import MARGIN
    from interactivepet.postprocessing.choose import LARGEST_SPECK_ML

    text = read(DOCUMENTATION / "explanation" / "choice-and-honest-estimates.md")
    assert ", ".join(map(str, THRESHOLDS)) in text
    assert f"shares of nnInteractive {', '.join(map(str, WEIGHTS[2:]))}" in text
    assert f"more than {MARGIN}" in text
    assert f"never more than {LARGEST_SPECK_ML:g} ml" in text


def test_the_changelog_knows_this_version() -> None:
    newest = next(iter(split_sections(read(DOCUMENTATION / "changelog.md"))))
    assert newest.split()[0] == __version__


def test_the_readme_says_what_must_be_said() -> None:
    text = read(README)
    for sentence in ("Research software, not a medical device.", "MIT", "CC BY-NC-SA 4.0", "cp env.example .env"):
        assert sentence in text
    assert find_blocks(text)[0].split("\n")[:2] == ["make demo", "make test"]
