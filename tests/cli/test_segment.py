"""`interactivepet_segment` as a user types it: exit status, options in a file, what is said of wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.cli import segment
from interactivepet.reporting import patient_page
from tests.model.models import write_model
from tests.pipeline.segment.bodies import write_body, write_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an image, without any setting, and pages without pictures."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results", "scheduler", "device"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.setenv("interactivepet_models", str(tmp_path / "models"))
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.setattr(patient_page, "make_patient_page", lambda *_, **__: "page")
    write_file(tmp_path / "scan.nii.gz")
    return tmp_path


def run(*words: str) -> int:
    return segment.main(["scan.nii.gz", "-o", "out", "--segmenter", "threshold41", *words])


def test_all_some_and_none_differ_in_their_exit_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "1 cases segmented: out/index.html" in capsys.readouterr().out
    write_body(folder / "bad", 1, PatientWeight=None)
    assert segment.main(["scan.nii.gz", "bad", "-o", "out", "--segmenter", "threshold41"]) == 1
    shown = capsys.readouterr()
    assert "1 cases segmented, 1 of them earlier" in shown.out
    assert "error: ID_01 (bad): " in shown.err
    assert "PatientWeight" in shown.err
    assert "1 not segmented; the same command segments what is missing" in shown.err
    assert segment.main(["bad", "-o", "none", "--segmenter", "threshold41"]) == 2


def test_a_check_loads_and_lists_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(folder / "small.zip")
    assert segment.main(["scan.nii.gz", "-o", "out", "--model", "small.zip", "--device", "cpu", "--check"]) == 0
    shown = capsys.readouterr().out
    assert "scan: file scan.nii.gz\n1 images can be segmented, 0 cannot" in shown
    assert not (folder / "out").exists()


def test_a_file_holds_options_and_the_command_line_wins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "o.yaml").write_text("model: missing.zip\nmax-regions: 1\nformats: [nrrd, csv]\nlong-uptake: false\n")
    assert run("--config", "o.yaml") == 0
    assert [path.name for path in (folder / "out" / "masks").iterdir()] == ["scan.nrrd"]
    assert len((folder / "out" / "regions.csv").read_text().splitlines()) == 2
    assert run("--config", "o.yaml", "--max-regions", "4") == 0
    assert len((folder / "out" / "regions.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: red", "colour is no option that a file can hold"),
        ("sources: [a]", "sources is no option"),
        ("max-regions: none", "max-regions: argument"),
        ("max-regions: 0", "max-regions: argument"),
        ("max-regions: [1, 2]", "2 values, expected one"),
        ("max-regions:", "has no value"),
        ("max-regions: true", "True is invalid, expected a value"),
        ("long-uptake: 3", "expected true or false"),
        ("formats: [png]", "formats: argument"),
        ("- 1", "holds no options"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_file_of_options_is_one_error(
    text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "o.yaml").write_text(text)
    assert run("--config", "o.yaml") == 1
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-regions", "256"], "max-regions 256"),
        (["--percentile", "100"], "percentile 100"),
        (["--min-volume-ml", "-1"], "min-volume-ml -1"),
        (["--suv", "nan"], "suv nan"),
        (["--config", "missing.yaml"], "missing.yaml: cannot be read"),
    ],
)
def test_wrong_input_is_one_error(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 1
    assert message in capsys.readouterr().err


def test_options_of_dicom_leave_files_alone() -> None:
    assert run("--series", "*TOF*", "--long-uptake") == 0


def test_a_source_that_is_not_there_is_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert segment.main(["scan.nii.gz", "missing.nii", "-o", "out", "--segmenter", "threshold41"]) == 1
    assert "missing.nii: there is no such file" in capsys.readouterr().err


def test_an_unknown_model_is_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert segment.main(["scan.nii.gz", "-o", "out", "--model", "nobody"]) == 1
    assert "nobody is neither a file nor a folder nor an installed model" in capsys.readouterr().err


def test_a_model_and_a_method_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--model", "small.zip")
    assert "--model and --segmenter exclude each other" in capsys.readouterr().err
