"""Folds on a Dask cluster, and the jobs that the documentation lets SLURM start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.errors import CaseError, SettingsError, TrainingError, WorkerError
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.prepare.planning import run_plan_and_process
from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
from interactivepet.pipeline.train import training as train
from interactivepet.pipeline.train.training import run_training
from interactivepet.training.distributed import Ranks
from tests.tiny import make_options, open_tiny, write_tiny_task

HOW_TO = Path(__file__).resolve().parents[2] / "documentation" / "how-to" / "many-machines.md"

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers, threads of this process behind real sockets."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    write_tiny_task(tmp_path / "raw", n_training=4, n_test=0)
    run_generate_dataset_json(open_tiny(tmp_path), channels=["PET"], labels=["lesion"])
    run_plan_and_process(open_tiny(tmp_path), options=make_options(tmp_path).planning, show_issues=lambda issues: None)
    return tmp_path


def run(root: Path, address: str) -> list[CheckpointCard]:
    options = make_options(root, epochs=1, iterations=1)
    return run_training(
        open_tiny(root),
        (),
        options=options.training,
        tta=False,
        tracker=options.tracker,
        n_proc=1,
        n_cores=1,
        scheduler=address,
    )


def halve(number: int) -> int:
    if number % 2:
        raise CaseError(f"{number} is odd; give an even number")
    return number // 2


def test_a_cluster_maps_cases_and_names_those_that_fail(scheduler: str) -> None:
    with open_executor(1, scheduler=scheduler) as executor:
        assert map_cases(executor, halve, items=[4, 2], names=["a", "b"], description="halves") == [2, 1]
        with pytest.raises(CaseError, match=r"halves failed for 1 of 2 cases:\nb: 3 is odd"):
            map_cases(executor, halve, items=[4, 3], names=["a", "b"], description="halves")


@pytest.mark.slow
def test_folds_go_to_the_cluster_and_one_that_fails_is_named(planned: Path, scheduler: str) -> None:
    workspace = open_tiny(planned)
    damaged = workspace.fold("3d_fullres", 1) / "checkpoint.pt"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"folds failed for 1 of 3 cases:\nfold 1: .* is damaged"):
        run(planned, scheduler)
    assert [workspace.card("3d_fullres", fold).exists() for fold in range(3)] == [True, False, True]

    damaged.unlink()
    cards = run(planned, scheduler)
    assert [card.fold for card in cards] == [0, 1, 2]
    assert all(len(card.epochs) == 1 and card.device == "cpu" for card in cards)


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        open_executor(1, scheduler="tcp://127.0.0.1:1"),
    ):
        pass


def test_a_scheduler_and_torchrun_exclude_each_other(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(train, "open_ranks", lambda device: nullcontext(Ranks(rank=0, size=2)))
    with pytest.raises(SettingsError, match="leave torchrun out, or --scheduler"):
        run(planned, "tcp://127.0.0.1:1")


def test_the_job_script_of_the_documentation_asks_for_what_a_fold_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    # the dashboard's usual port may be taken
    free = partial(jobqueue.SLURMCluster, scheduler_options={"dashboard_address": ":0"})
    monkeypatch.setattr(jobqueue, "SLURMCluster", free)
    (code,) = re.findall(r"^```python\n(.*?)^```", HOW_TO.read_text(encoding="utf-8"), flags=re.M | re.S)
    example: dict[str, object] = {"__name__": "example"}
    exec(compile(code, "cluster.py", "exec"), example)
    make_cluster = example["make_cluster"]
    assert callable(make_cluster)
    with make_cluster() as cluster:
        script = cluster.job_script()
        address = cluster.scheduler_address
    lines = script.splitlines()
    directives = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert directives >= {
        "-J interactivepet",
        "-p gpu",
        "-n 1",
        "--cpus-per-task=8",
        "--mem=30G",
        "-t 24:00:00",
        "--gres=gpu:1",
    }
    assert lines.index("export OMP_NUM_THREADS=8") < len(lines) - 1
    assert "source ~/interactivepet/.venv/bin/activate" in lines
    (command,) = [line for line in lines if "dask_worker" in line]
    assert command.startswith(f"python -m distributed.cli.dask_worker {address} ")
    assert re.search(r"--nthreads 1\b", command)
    assert re.search(r"--memory-limit 29\.\d+GiB", command)
    assert "--no-nanny" in command
