from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from interactivepet.cli import train
from interactivepet.settings import Settings
from interactivepet.training.inputs import TrainingOptions


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_training(parser)
    return parser.parse_args(arguments)


def make_options(tmp_path: Path, *arguments: str) -> TrainingOptions:
    settings = Settings(interactivepet_raw=tmp_path, interactivepet_processed=tmp_path, interactivepet_results=tmp_path)
    return train.make_training_options(parse(*arguments), settings, seed=3)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200.0), ("90m", 5400.0), ("3600s", 3600.0), ("1h30m", 5400.0), ("0.5h", 1800.0)]
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert train.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "two hours", "-2h", "2h!", "1.2.3h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time such as 2h"):
        train.duration_s(text)


def test_every_argument_reaches_the_options(tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.touch()
    options = make_options(
        tmp_path,
        *("-e", "7", "--iterations", "5", "--until-dice", "0.8", "--patience", "4", "--keep", "best"),
        *(
            "--pretrained",
            str(weights),
            "--patients",
            "5",
            "--deterministic",
            "--compile",
            "--no-continue",
            "--device",
            "cpu",
        ),
    )
    assert (options.epochs, options.iterations, options.until_dice, options.patience) == (7, 5, 0.8, 4)
    assert (options.keep, options.pretrained, options.seed) == ("best", weights, 3)
    assert options.patients == 5
    assert options.deterministic
    assert options.compile_network
    assert not options.resume
    assert make_options(tmp_path, "--time-limit", "1h").time_limit_s == 3600.0


def test_the_defaults_are_those_of_the_options(tmp_path: Path) -> None:
    defaults = TrainingOptions(seed=3)
    options = make_options(tmp_path, "--device", "auto")
    assert options == defaults


def test_the_scheduler_of_the_command_line_wins(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interactivepet.pipeline.train import training as pipeline

    (raw / "Task001_A").mkdir()
    addresses: list[str | None] = []

    def run_training(*_: object, scheduler: str | None, **__: object) -> list[object]:
        addresses.append(scheduler)
        return []

    monkeypatch.setattr(pipeline, "run_training", run_training)
    command = ["-t", "Task001_A", "-f", "all", "--device", "cpu"]
    monkeypatch.delenv("interactivepet_scheduler", raising=False)
    assert train.main(command) == 0
    monkeypatch.setenv("interactivepet_scheduler", "tcp://settings:1")
    assert train.main(command) == 0
    assert train.main([*command, "--scheduler", "tcp://argument:1"]) == 0
    assert addresses == [None, "tcp://settings:1", "tcp://argument:1"]


def test_torchrun_can_start_the_module() -> None:
    command = [sys.executable, "-m", "interactivepet.cli.train", "-h"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: interactivepet_train")


def test_a_model_to_start_from_is_looked_for_at_once(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "Task001_A" / "imagesTr").mkdir(parents=True)
    assert train.main(["-t", "Task001_A", "-f", "0", "--pretrained", "strater"]) == 1
    assert "strater is neither a file nor a folder nor an installed model" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-3", "all", "1.5"])
def test_patients_are_counted_in_whole_numbers(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--patients", number)
    assert "--patients" in capsys.readouterr().err
