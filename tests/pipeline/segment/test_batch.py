"""Many images: what fails is named, what is complete is kept, and a killed run leaves nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from interactivepet.core.segmented import SegmentedCase
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.files.read import read_mask
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.segment.batch import Segmented, SegmentTask, run_segmentation
from interactivepet.pipeline.segment.options import DEFAULT_FORMATS, Outputs, SegmentOptions
from interactivepet.pipeline.segment.segmenters import SegmenterChoice, describe_choice
from interactivepet.pipeline.segment.sources import Failure, open_sources
from interactivepet.reporting import patient_page
from tests.pipeline.segment.bodies import BALLS, find_ball, write_body, write_broken, write_file, write_zip

N_GOOD = 25


@pytest.fixture(autouse=True)
def quick_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without pictures, which take most of the time."""
    monkeypatch.setattr(
        patient_page, "make_patient_page", lambda summary, *_, **__: f"page of {summary.case} {summary.settings}"
    )


def make_task(out: Path, *, formats: tuple[str, ...] = DEFAULT_FORMATS, **options: object) -> SegmentTask:
    choice = SegmenterChoice(method="threshold41")
    outputs = Outputs(formats)
    return SegmentTask(out, choice, describe_choice(choice), SegmentOptions(**options), outputs, out / "log.jsonl")


def run(*sources: Path, out: Path, formats: tuple[str, ...] = DEFAULT_FORMATS, **options: object) -> Segmented:
    task = make_task(out, formats=formats, **options)
    out.mkdir(exist_ok=True)
    with open_sources(sources, task.segmenter.inputs, reading=DicomReading(), out=out) as found:
        return run_segmentation(found, task, executor=InlineExecutor())


def list_content(out: Path) -> dict[str, bytes]:
    """Give name -> content of every result; the log has times, and DICOM has new UIDs each time."""
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".dcm"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def list_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "cases").iterdir()}


@pytest.mark.slow
def test_of_thirty_series_five_are_broken_and_the_others_have_results(tmp_path: Path) -> None:
    root, out = tmp_path / "pacs", tmp_path / "out"
    for number in range(N_GOOD):
        write_body(root / f"series {number}", number)
    causes = write_broken(root)
    done = run(root, out=out)
    assert len(done.cases) == N_GOOD
    assert len(done.failures) == len(causes)
    told = {failure.place.rsplit("/", 1)[-1]: failure.reason for failure in done.failures}
    assert {name: cause for name, cause in causes.items() if cause not in told.get(name, "")} == {}
    page = (out / "index.html").read_text()
    assert "ID_03" in page
    assert str(root) not in page
    before = list_times(out)
    shutil.rmtree(root / "gap")
    write_body(root / "gap", 90)
    again = run(root, out=out)
    assert (len(again.cases), len(again.failures), again.n_kept) == (N_GOOD + 1, 4, N_GOOD)
    after = list_times(out)
    assert {name: time for name, time in after.items() if before.get(name) == time}.keys() == before.keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda out: (out / "masks" / "ID_00.nii.gz").unlink(),
        lambda out: (out / "pages" / "ID_00.html").unlink(),
        lambda out: (out / "cases" / "ID_00.json").write_text("{"),
        lambda out: (out / "cases" / "ID_00.json").unlink(),
    ],
)
def test_a_case_that_lacks_a_file_is_done_again(change: object, tmp_path: Path) -> None:
    write_body(tmp_path / "in", 0)
    assert run(tmp_path / "in", out=tmp_path / "out").n_kept == 0
    before = list_content(tmp_path / "out")
    assert run(tmp_path / "in", out=tmp_path / "out").n_kept == 1
    change(tmp_path / "out")
    assert run(tmp_path / "in", out=tmp_path / "out").n_kept == 0
    assert list_content(tmp_path / "out") == before


def test_other_options_or_files_are_another_result_and_old_files_go(tmp_path: Path) -> None:
    write_file(tmp_path / "in" / "A.nii.gz")
    out = tmp_path / "out"
    run(tmp_path / "in", out=out, formats=("nii.gz", "csv"))
    assert run(tmp_path / "in", out=out, formats=("nii.gz", "csv"), max_regions=1).n_kept == 0
    assert run(tmp_path / "in", out=out, formats=("nrrd",), max_regions=1).n_kept == 0
    assert [path.name for path in (out / "masks").iterdir()] == ["A.nrrd"]
    assert not (out / "regions.csv").exists()
    write_file(tmp_path / "in" / "A.nii.gz", seed=3)
    assert run(tmp_path / "in", out=out, formats=("nrrd",), max_regions=1).n_kept == 0


def test_every_format_is_written_and_the_names_of_patients_are_nowhere(tmp_path: Path) -> None:
    write_body(tmp_path / "Secret^Name", 0)
    out = tmp_path / "out"
    (done,) = run(
        tmp_path / "Secret^Name", out=out, formats=("nii.gz", "mha", "seg", "rtstruct", "sr", "csv", "json")
    ).cases
    assert sorted(done.files) == [
        "dicom/ID_00.rtstruct.dcm",
        "dicom/ID_00.seg.dcm",
        "dicom/ID_00.sr.dcm",
        "masks/ID_00.mha",
        "masks/ID_00.nii.gz",
        "pages/ID_00.html",
        "regions/ID_00.mha",
        "regions/ID_00.nii.gz",
    ]
    mask, _ = read_mask(out / "regions" / "ID_00.mha")
    assert set(mask.ravel()) == {0, 1, 2}
    assert (mask > 0).sum() == sum(find_ball(ball).sum() for ball in BALLS)
    for name, content in list_content(out).items():
        assert b"Secret" not in content, name
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events][-1] == "case"
    assert {event["status"] for event in events} == {"done"}
    assert "ID_00" not in (out / "log.jsonl").read_text()
    rows = list(csv.DictReader((out / "regions.csv").read_text().splitlines()))
    assert [(row["case"], row["region"], row["status"]) for row in rows] == [
        ("ID_00", "1", "unsure"),
        ("ID_00", "2", "unsure"),
    ]
    content = json.loads((out / "results.json").read_text())
    assert SegmentedCase.model_validate(content["cases"][0]) == done


def kill_at(n_files: int, work: object) -> int:
    """Do some work in a child process that is killed when it gives the n-th file its final name; gives the signal."""
    child = os.fork()
    if child == 0:
        real, count = Path.replace, [0]

        def counted(self: Path, target: Path) -> Path:
            count[0] += 1
            if count[0] == n_files:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)

        Path.replace = counted
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


@pytest.mark.slow
@pytest.mark.parametrize("n_files", [1, 3, 4, 6, 9])
def test_a_killed_run_leaves_whole_files_and_the_same_command_ends_alike(n_files: int, tmp_path: Path) -> None:
    for number in range(2):
        write_body(tmp_path / "in" / str(number), number)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert kill_at(n_files, lambda: run(tmp_path / "in", out=out)) == signal.SIGKILL
    for path in out.rglob("[!.]*.nii.gz"):
        read_mask(path)
    for path in out.rglob("[!.]*.json"):
        json.loads(path.read_text())
    run(tmp_path / "in", out=out)
    run(tmp_path / "in", out=whole)
    assert list_content(out) == list_content(whole)


def test_a_defect_in_one_case_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interactivepet.pipeline.segment import batch

    for number in range(2):
        write_body(tmp_path / "in" / str(number), number)
    real = batch.segment_image

    def fail(case: object, *args: object, **kwargs: object) -> object:
        if case.id == "ID_00":
            raise ZeroDivisionError("division by zero")
        return real(case, *args, **kwargs)

    monkeypatch.setattr(batch, "segment_image", fail)
    done = run(tmp_path / "in", out=tmp_path / "out")
    assert [case.summary.case for case in done.cases] == ["ID_01"]
    assert done.failures[0].reason.startswith("ZeroDivisionError: division by zero")


def test_a_zip_file_is_kept_like_a_folder(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", write_body(tmp_path / "in", 7))
    done = run(archive, out=tmp_path / "out")
    assert [case.summary.case for case in done.cases] == ["ID_07"]
    assert run(archive, out=tmp_path / "out").n_kept == 1


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (Failure("ID", "/a/Doe John/x/1.dcm: no tag", True, "/a/Doe John/x"), "1.dcm: no tag"),
        (Failure("ID", "series PET in /a/Doe John/x: 3 gaps", True, "/a/Doe John/x"), "series PET in x: 3 gaps"),
        (Failure("/a/b/c.dcm", "cannot read /q/Doe/c.dcm (why)"), "cannot read c.dcm (why)"),
        (Failure("x", "10 kBq/ml, 3/4 of it"), "10 kBq/ml, 3/4 of it"),
    ],
)
def test_a_page_shows_no_folders(failure: Failure, shown: str) -> None:
    assert replace(failure).shown_reason == shown
