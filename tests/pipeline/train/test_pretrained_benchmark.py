"""The comparison of training with and without the weights of a model, on the tiny task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interactivepet.core.plan import Plans
from interactivepet.dataset.files.write import read_artefact
from interactivepet.model.archive import write_archive
from tests.benchmarks import pretrained
from tests.model.models import list_files
from tests.tiny import open_tiny


@pytest.fixture
def command(finished: tuple[Path, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(finished[0] / name))
    monkeypatch.delenv("interactivepet_task", raising=False)
    monkeypatch.chdir(tmp_path)
    plans = read_artefact(open_tiny(finished[0]).plans, Plans, command="")
    write_archive(tmp_path / "small.zip", list_files(plans.plan(plans.default)), name="small")
    return ["--model", "small.zip", "--iterations", "1", "--seeds", "1", "2", "--patients", "1", "2"]


def test_pairs_are_trained_compared_and_kept(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: tuple[Path, object]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")}
    assert pretrained.main([*command, "--patients", "2"]) == 0
    shown = capsys.readouterr().out
    files = sorted((tmp_path / "pretrained-benchmark").glob("*.json"))
    assert [path.stem for path in files] == [
        f"patients_2-fold_0-seed_{seed}-{arm}" for seed in (1, 2) for arm in ("pretrained", "random")
    ]
    results = [json.loads(path.read_bytes()) for path in files]
    assert [result["share"] for result in results] == [1.0, 0.0, 1.0, 0.0]
    assert {tuple(sorted(result["dice"])) for result in results} == {("extreme", "none")}
    assert "| 2 | 0 | 2 | " in shown
    assert shown.count("\n| mean |") == 0, "one group needs no mean"
    assert {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")} == before
    # what is finished is not trained again, and what is new is added
    times = [path.stat().st_mtime_ns for path in files]
    assert pretrained.main(command) == 0
    assert [path.stat().st_mtime_ns for path in files] == times
    assert len(list((tmp_path / "pretrained-benchmark").glob("*.json"))) == 8
    shown = capsys.readouterr().out
    assert [line.split(" | ")[:3] for line in shown.splitlines() if line.startswith(("| 1", "| 2", "| mean"))] == [
        ["| 1", "0", "2"],
        ["| 2", "0", "2"],
        ["| mean", "", "4"],
    ]
    assert not any((tmp_path / "pretrained-benchmark" / "unfinished").rglob("*.pt"))


def test_the_arms_of_a_pair_follow_each_other_and_begin_in_turn() -> None:
    arguments = pretrained.make_parser().parse_args(["--model", "x", "--folds", "0", "2", "--seeds", "1", "2", "3"])
    runs = list(pretrained.list_runs(arguments))
    assert [(run.seed, run.fold) for run in runs[::2]] == [(1, 0), (1, 2), (2, 0), (2, 2), (3, 0), (3, 2)]
    assert [run.arm for run in runs[::2]] == ["random", "pretrained"] * 3
    assert all((a.seed, a.fold) == (b.seed, b.fold) for a, b in zip(runs[::2], runs[1::2], strict=True))


def test_differences_are_those_of_pairs() -> None:
    def make(fold: int, seed: int, arm: str, none: float, extreme: float | None) -> dict[str, object]:
        dice = {"none": {"A": none - 0.1, "B": none + 0.1}}
        if extreme is not None:
            dice["extreme"] = {"A": extreme}
        return {"patients": None, "fold": fold, "seed": seed, "arm": arm, "dice": dice}

    results = [
        make(0, 1, "random", 0.5, 0.8),
        make(0, 1, "pretrained", 0.6, 0.82),
        make(0, 2, "pretrained", 0.8, 0.84),
        make(0, 2, "random", 0.6, 0.8),
        make(2, 1, "random", 0.9, None),
        make(2, 1, "pretrained", 0.9, None),
        make(2, 2, "random", 0.1, None),
    ]
    assert list(pretrained.list_rows(results)) == [
        ["all", "0", "2", "0.550", "0.700", "+0.150 (sd 0.071)", "0.800", "0.830", "+0.030 (sd 0.014)"],
        ["all", "2", "1", "0.900", "0.900", "+0.000", "-", "-", "-"],
        ["mean", "", "3", "0.667", "0.767", "+0.100 (sd 0.100)", "0.800", "0.830", "+0.030 (sd 0.014)"],
    ]
