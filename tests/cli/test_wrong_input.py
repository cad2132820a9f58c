"""Input that no command can use: one clear error each, never a traceback."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from interactivepet.cli import (
    compare_plans,
    evaluate,
    generate_dataset_json,
    import_task,
    plan_and_process,
    predict,
    verify,
)
from tests.commands import list_commands
from tests.tiny import TASK, write_tiny_task

FOREIGN = os.fsdecode(b"P\xe9ter")
"""A name in Latin-1."""
DEEP = "[" * 200_000
DEEP_OBJECT = '{"a": ' * 200_000

Errors = Callable[..., str]


@pytest.fixture
def folder(raw: Path) -> Path:
    """The raw folder of the tiny task, described."""
    made = write_tiny_task(raw, n_training=2)
    assert generate_dataset_json.main(["-m", "PET", "-l", "lesion"]) == 0
    return made


@pytest.fixture
def errors(capsys: pytest.CaptureFixture[str]) -> Errors:
    """Run a command that must fail with exit status 1, and give what it says on standard error."""

    def run(main: Callable[[list[str]], int], *arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    return run


ARGUMENTS = {
    "import": ["clicks", "."],
    "generate_dataset_json": ["-m", "PET", "-l", "lesion"],
    "train": ["-f", "0"],
    "train_nninteractive": ["-f", "0"],
    "export_nninteractive": ["-o", "out"],
    "export": ["-o", "out", "-f", "nrrd"],
    "export_model": ["-o", "out.zip"],
    "measure": ["-o", "out"],
}
"""What else a command must be given."""
WITHOUT_TASK = {"ui", "demo", "compare_plans", "install_model", "models", "segment", "train_starter"}


@pytest.mark.parametrize("command", sorted(set(list_commands()) - WITHOUT_TASK))
def test_no_command_takes_a_path_for_a_task(command: str, folder: Path, errors: Errors) -> None:
    main = import_module(list_commands()[command]).main
    assert "error: '../raw' is no name for a folder" in errors(main, *ARGUMENTS.get(command, []), "-t", "../raw")


@pytest.mark.parametrize("task", ["a/b", "/tmp", "..", ".", "Task901_Tiny/", "./Task901_Tiny", ".hidden"])
def test_a_path_is_no_task(task: str, folder: Path, errors: Errors) -> None:
    assert f"error: '{task}' is no name for a folder" in errors(verify.main, "-t", task)


def test_a_path_among_the_settings_is_no_task(folder: Path, errors: Errors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("interactivepet_task", "../raw/Task901_Tiny")
    assert "is no name for a folder" in errors(verify.main)


@pytest.mark.parametrize(
    "text",
    [DEEP, DEEP_OBJECT, '{"labels": ' + DEEP, '{"channel_names": {"0": "PET"}, "training": ' + DEEP],
    ids=["lists", "objects", "labels", "training"],
)
def test_deep_json_is_no_dataset(text: str, folder: Path, tmp_path: Path, errors: Errors) -> None:
    shutil.copytree(folder, tmp_path / "foreign")
    (tmp_path / "foreign" / "dataset.json").write_text(text)
    (folder / "dataset.json").write_text(text)
    assert "dataset.json: no valid JSON (lists or objects are nested too deeply)" in errors(verify.main)
    found = errors(import_task.main, "folder", tmp_path / "foreign", "-t", "T2")
    assert "dataset.json: cannot be read (lists or objects are nested too deeply)" in found


@pytest.mark.parametrize("name", ["plans.json", "fingerprint.json", "dataset_fingerprint.json"])
def test_deep_json_is_no_plan_and_no_fingerprint(name: str, folder: Path, tmp_path: Path, errors: Errors) -> None:
    path = tmp_path / name
    path.write_text(DEEP)
    if name == "plans.json":
        assert "is no JSON (lists or objects are nested too deeply)" in errors(compare_plans.main, path, path)
    else:
        assert "nested too deeply" in errors(plan_and_process.main, "--dry-run", "--fingerprint", path)


def test_settings_in_another_encoding_are_named(folder: Path, tmp_path: Path, errors: Errors) -> None:
    (tmp_path / ".env").write_bytes(b"interactivepet_task=\xff\n")
    assert ".env: is not UTF-8" in errors(verify.main)


NAMES = {
    "image": (f"imagesTr/{FOREIGN}_0000.nii.gz", generate_dataset_json.main, ["-m", "PET", "-l", "lesion"]),
    "mask": (f"labelsTr/{FOREIGN}.nii.gz", verify.main, []),
    "clicks": (f"interactionsTr/{FOREIGN}.json", verify.main, []),
    "image-to-predict": (
        f"imagesTs/{FOREIGN}_0000.nii.gz",
        predict.main,
        ["-i", f"raw/{TASK}/imagesTs", "-o", "o"],
    ),
    "mask-to-score": (f"labelsTr/{FOREIGN}.nii.gz", evaluate.main, ["-p", "raw/Task901_Tiny/labelsTr"]),
    "task": (f"{FOREIGN}/imagesTr/a.nii.gz", verify.main, ["-t", FOREIGN]),
    "volume": (f"imagesTs/{FOREIGN}.nii.gz", import_task.main, ["folder", "raw/Task901_Tiny/imagesTs", "-t", "T2"]),
    "folder": (
        f"{FOREIGN}/a.nii.gz",
        import_task.main,
        ["folder", f"raw/{TASK}", "-t", "T2", "--layout", "pairs"],
    ),
    "click-file": (f"new/{FOREIGN}.csv", import_task.main, ["clicks", "raw/Task901_Tiny/new"]),
}


@pytest.mark.parametrize(("name", "main", "arguments"), NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_utf_8_is_refused(
    name: str, main: Callable[[list[str]], int], arguments: list[str], folder: Path, errors: Errors
) -> None:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    shutil.copy(folder / "imagesTr" / "TINY_000_0000.nii.gz", folder / name)
    assert "P\\xe9ter" in (found := errors(main, *arguments))
    assert "the name is not UTF-8; rename the file or folder" in found


def test_folders_above_may_have_any_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / FOREIGN
    shutil.copytree(folder / "imagesTr", home / "scans")
    arguments = ["folder", str(home / "scans"), "-t", "T2", "-m", "PET", "--test", "-np", "1", "--no-verify"]
    assert import_task.main(arguments) == 0
    assert "2 test cases" in capsys.readouterr().out


EMPTY = {
    "import-dicom": (import_task.main, ["dicom", "nothing", "-t", "T2"], "the folder is empty"),
    "import-folder": (import_task.main, ["folder", "nothing", "-t", "T2"], "the folder is empty"),
    "import-mip": (import_task.main, ["mip", "nothing", "-t", "T2"], "0 projections and 0 masks"),
    "import-clicks": (import_task.main, ["clicks", "nothing"], "found no file at all"),
    "predict": (predict.main, ["-i", "nothing", "-o", "out"], "the folder is empty"),
    "predict-gone": (predict.main, ["-i", "gone", "-o", "out"], "gone is not there; name an image"),
    "predict-clicks": (
        predict.main,
        ["-i", f"raw/{TASK}/imagesTs", "-in", "nothing", "-o", "out"],
        "nothing: no click file for the 1 images",
    ),
    "evaluate": (evaluate.main, ["-p", "nothing"], "no mask in this folder"),
    "compare-plans": (compare_plans.main, ["nothing", "nothing"], "a file is expected here; name one in this folder"),
}


@pytest.mark.parametrize(("main", "arguments", "message"), EMPTY.values(), ids=EMPTY)
def test_an_empty_folder_is_named_as_such(
    main: Callable[[list[str]], int], arguments: list[str], message: str, folder: Path, tmp_path: Path, errors: Errors
) -> None:
    (tmp_path / "nothing").mkdir()
    assert message in errors(main, *arguments)


def test_a_table_in_a_file_has_a_line_per_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labelsTr" / "TINY_000.nii.gz").unlink()
    (folder / "imagesTr" / "a_file_of_no_case_with_a_very_long_name_that_would_be_wrapped_twice.nii.gz").touch()
    capsys.readouterr()
    assert verify.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if "missing-file" in line)
    assert "labelsTr/TINY_000.nii.gz is not there" in row
    assert any("a_file_of_no_case_with_a_very_long_name_that_would_be_wrapped_twice.nii.gz" in line for line in lines)


DISKS = {
    errno.ENOSPC: "make room on this disk",
    errno.EDQUOT: "make room on this disk",
    errno.EFBIG: "the file is larger than this disk or shell (ulimit -f) allows; raise the limit",
    errno.EACCES: "check that the folder is there and can be written",
}


@pytest.mark.parametrize("number", DISKS)
def test_what_helps_against_a_full_disk_is_told(
    number: int, folder: Path, errors: Errors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("interactivepet.dataset.files.write._flush", fail)
    found = errors(generate_dataset_json.main, "-m", "PET", "-l", "lesion")
    assert f"{os.strerror(number)}: '{folder / 'dataset.json'}'; {DISKS[number]}" in found
