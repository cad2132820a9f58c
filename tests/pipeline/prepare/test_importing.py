from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.dataset import IssueList
from interactivepet.core.imported import ImportedCase, ImportRecord, ImportSource
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_artefact
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, ManifestError, VerificationError
from interactivepet.pipeline.executor import InlineExecutor, open_executor
from interactivepet.pipeline.prepare.importing import run_import, run_verified_import
from interactivepet.pipeline.prepare.steps import is_verified
from interactivepet.pipeline.workspace import Workspace
from tests.tiny import make_volume

TASK = "Task902_Imported"


@dataclass(frozen=True, slots=True)
class Job:
    """A case made of a seed."""

    id: str
    seed: int = 0
    patient: str | None = None
    subtype: str | None = None
    has_label: bool = True
    is_lesion_free: bool = False
    failure: str = ""
    lowest: float = 0.0
    remark: str = ""

    def load(self) -> ImportedCase:
        if self.failure:
            raise CaseError(self.failure)
        image, label, geometry = make_volume(self.seed)
        image[0, 0, 0, 0] = self.lowest
        if self.is_lesion_free:
            label = np.zeros_like(label)
        click = Click(position_mm=tuple(geometry.to_mm(np.argwhere(label)[0]).tolist())) if label.any() else None
        clicks = (click,) if click is not None and self.seed == 1 else None
        case = Case(self.id, image, geometry, label if self.has_label else None)
        return ImportedCase(case, {"suv.json": f"{self.seed}\n"}, clicks, (self.remark,) if self.remark else ())


def make_source(*training: Job, test: tuple[Job, ...] = ()) -> ImportSource:
    return ImportSource(("PET",), ("lesion",), training, test)


def read_record(workspace: Workspace) -> ImportRecord:
    return read_artefact(workspace.raw / "import.json", ImportRecord, command="import")


def never(result: IssueList) -> None:
    raise AssertionError(result.issues)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(TASK, raw=tmp_path / "raw", processed=tmp_path / "processed", results=tmp_path / "results")


def test_cases_groups_notes_and_clicks_are_written(workspace: Workspace) -> None:
    source = make_source(
        Job("a", 0, patient="P1", subtype="x"), Job("b", 1, patient="P1"), test=(Job("t", 2, has_label=False),)
    )
    folder = run_import(workspace.raw.parent, TASK, source=source, executor=InlineExecutor())
    assert folder == workspace.raw
    assert [path.name for path in folder.parent.iterdir()] == [TASK]
    manifest = read_manifest(folder)
    assert [(e.id, e.patient, e.subtype) for e in manifest.training] == [("a", "P1", "x"), ("b", "P1", None)]
    assert [(e.id, e.label) for e in manifest.test] == [("t", None)]
    case, expected = read_case(folder, manifest.training[1]), source.training[1].load()
    np.testing.assert_array_equal(case.image, expected.case.image)
    np.testing.assert_array_equal(case.label, expected.case.label)
    assert case.geometry.matches(expected.case.geometry)
    assert (folder / "imagesTr" / "b.suv.json").read_text() == "1\n"
    assert [path.name for path in (folder / "interactionsTr").iterdir()] == ["b.mrk.json"]
    clicks = read_clicks(folder / "interactionsTr" / "b.mrk.json", geometry=case.geometry)
    assert clicks == expected.clicks


def test_a_table_is_written_only_when_there_is_something_in_it(workspace: Workspace) -> None:
    folder = run_import(workspace.raw.parent, TASK, source=make_source(Job("a")), executor=InlineExecutor())
    assert not (folder / "cases.csv").exists()
    run_import(
        folder.parent, TASK, source=make_source(Job("a", subtype="x,y")), executor=InlineExecutor(), overwrite=True
    )
    with (folder / "cases.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"case": "a", "patient": "", "subtype": "x,y"}]


@pytest.mark.slow
def test_worker_processes_import_the_same(workspace: Workspace) -> None:
    source = make_source(*(Job(f"case_{seed}", seed) for seed in range(3)))
    with open_executor(2) as executor:
        folder = run_import(workspace.raw.parent, TASK, source=source, executor=executor)
    assert [entry.id for entry in read_manifest(folder).training] == ["case_0", "case_1", "case_2"]


def test_a_failing_case_leaves_nothing_and_all_are_named(workspace: Workspace) -> None:
    source = make_source(Job("a"), Job("b", failure="b.nii is broken"), Job("c", failure="c.nii is broken"))
    with pytest.raises(CaseError, match=r"failed for 2 of 3 cases:\nb: b.nii is broken\nc: c.nii is broken"):
        run_import(workspace.raw.parent, TASK, source=source, executor=InlineExecutor())
    assert list(workspace.raw.parent.iterdir()) == []


def test_what_a_killed_run_left_is_no_obstacle(workspace: Workspace) -> None:
    left = workspace.raw.parent / f".partial-{TASK}" / TASK / "imagesTr"
    left.mkdir(parents=True)
    (left / "old_0000.nii.gz").touch()
    run_import(workspace.raw.parent, TASK, source=make_source(Job("a")), executor=InlineExecutor())
    assert [path.name for path in (workspace.raw / "imagesTr").iterdir()] == ["a.suv.json", "a_0000.nii.gz"]
    assert not left.exists()


def test_a_task_is_replaced_only_on_demand_and_only_by_a_whole_one(workspace: Workspace) -> None:
    raw = workspace.raw.parent
    run_import(raw, TASK, source=make_source(Job("a")), executor=InlineExecutor())
    with pytest.raises(ManifestError, match="is there already; choose another name with -t, or replace it"):
        run_import(raw, TASK, source=make_source(Job("b")), executor=InlineExecutor())
    broken = make_source(Job("b", failure="broken"))
    with pytest.raises(CaseError):
        run_import(raw, TASK, source=broken, executor=InlineExecutor(), overwrite=True)
    assert [entry.id for entry in read_manifest(workspace.raw).training] == ["a"]
    run_import(raw, TASK, source=make_source(Job("b")), executor=InlineExecutor(), overwrite=True)
    assert [entry.id for entry in read_manifest(workspace.raw).training] == ["b"]
    assert [path.name for path in raw.iterdir()] == [TASK]


@pytest.mark.parametrize("name", ["../Task1", "a/b", "", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ManifestError, match="is no name for a folder"):
        run_import(workspace.raw.parent, name, source=make_source(Job("a")), executor=InlineExecutor())


def test_nothing_to_import(workspace: Workspace) -> None:
    with pytest.raises(ManifestError, match="no case was found"):
        run_import(workspace.raw.parent, TASK, source=make_source(), executor=InlineExecutor())


def test_without_any_mask_there_is_nothing_to_train_on(workspace: Workspace) -> None:
    source = make_source(test=(Job("t", has_label=False), Job("u", 1, has_label=False)))
    with pytest.raises(ManifestError, match=r"2 cases, none of them with a mask.*import them with --test"):
        run_import(workspace.raw.parent, TASK, source=source, executor=InlineExecutor())
    assert not workspace.raw.parent.exists()
    result = run_verified_import(workspace, InlineExecutor(), source=source, show_issues=never, test_only=True)
    assert [(issue.kind, issue.severity) for issue in result.issues] == [("missing-file", "note")]
    manifest = read_manifest(workspace.raw)
    assert ([e.id for e in manifest.test], manifest.training) == (["t", "u"], ())


def test_cases_with_masks_become_test_cases_too(workspace: Workspace) -> None:
    source = make_source(Job("a", patient="P"), Job("b", 1), test=(Job("t", 2, has_label=False),))
    folder = run_import(workspace.raw.parent, TASK, source=source, executor=InlineExecutor(), test_only=True)
    manifest = read_manifest(folder)
    assert manifest.training == ()
    assert [(e.id, e.label, e.patient) for e in manifest.test] == [
        ("a", "labelsTs/a.nii.gz", "P"),
        ("b", "labelsTs/b.nii.gz", None),
        ("t", None, None),
    ]
    assert [path.name for path in (folder / "interactionsTs").iterdir()] == ["b.mrk.json"]


def test_a_sound_task_is_verified_once(workspace: Workspace) -> None:
    source = make_source(Job("a"), Job("b", 1), Job("healthy", 2, is_lesion_free=True))
    result = run_verified_import(workspace, InlineExecutor(), source=source, show_issues=never)
    assert [(issue.case, issue.kind) for issue in result.issues] == [("healthy", "label-empty")]
    assert result.errors == ()
    assert is_verified(workspace)


def test_a_task_with_problems_is_not_imported(workspace: Workspace) -> None:
    shown: list[IssueList] = []
    source = make_source(Job("a"), Job("b", 1, lowest=-9.0))
    with pytest.raises(
        VerificationError, match=r"1 problems, so nothing was imported:\nb: negative-suv: PET from -9 to"
    ):
        run_verified_import(workspace, InlineExecutor(), source=source, show_issues=shown.append)
    assert [issue.kind for issue in shown[0].errors] == ["negative-suv"]
    assert list(workspace.raw.parent.iterdir()) == []
    sound = replace(source, training=source.training[:1])
    run_verified_import(workspace, InlineExecutor(), source=sound, show_issues=never)
    assert is_verified(workspace)


class TestSkipBad:
    """Bad cases are left out and named; the task of the others is whole."""

    def test_cases_that_cannot_be_read(self, workspace: Workspace) -> None:
        source = make_source(
            Job("a", patient="P1", remark="was placed"),
            Job("b", failure="b.nii is broken", patient="P2"),
            test=(Job("t", 2, has_label=False), Job("u", failure="u.nii is broken")),
        )
        source = replace(source, layout="pairs", remarks=("regions",), passed_over={"x.txt": "no volume"})
        run_import(workspace.raw.parent, TASK, source=source, executor=InlineExecutor(), skip_bad=True)
        manifest = read_manifest(workspace.raw)
        assert ([e.id for e in manifest.training], [e.id for e in manifest.test]) == (["a"], ["t"])
        assert (workspace.raw / "cases.csv").read_text() == "case,patient,subtype\na,P1,\nt,,\n"
        record = read_record(workspace)
        assert record.left_out == {"b": "b.nii is broken", "u": "u.nii is broken"}
        assert record.remarks == {"-": ("regions",), "a": ("was placed",)}
        assert (record.layout, record.passed_over) == ("pairs", {"x.txt": "no volume"})

    def test_cases_in_which_verification_finds_a_problem(self, workspace: Workspace) -> None:
        source = make_source(Job("a"), Job("b", 1, lowest=-9.0, patient="P"), Job("c", failure="broken"), Job("d", 3))
        result = run_verified_import(workspace, InlineExecutor(), source=source, show_issues=never, skip_bad=True)
        assert result.issues == ()
        assert [entry.id for entry in read_manifest(workspace.raw).training] == ["a", "d"]
        left_out = read_record(workspace).left_out
        assert list(left_out) == ["c", "b"]
        assert left_out["b"].startswith("negative-suv: PET from -9 to")
        files = sorted(path.relative_to(workspace.raw).as_posix() for path in workspace.raw.rglob("*.*"))
        assert [name for name in files if "/b" in name] == []
        assert "cases.csv" not in files
        assert is_verified(workspace)

    def test_nothing_is_left_to_train_on(self, workspace: Workspace) -> None:
        source = make_source(Job("a", failure="broken"), Job("b", lowest=-9.0), test=(Job("t", has_label=False),))
        with pytest.raises(CaseError, match=r"none of the 2 training cases can be used:\na: broken\nb: negative-suv"):
            run_verified_import(workspace, InlineExecutor(), source=source, show_issues=never, skip_bad=True)
        assert list(workspace.raw.parent.iterdir()) == []

    def test_a_problem_of_the_whole_task_is_not_skipped(self, workspace: Workspace) -> None:
        shown: list[IssueList] = []
        source = make_source(Job("a", is_lesion_free=True), Job("b", 1, is_lesion_free=True))
        with pytest.raises(VerificationError, match="-: label-empty: no labelled voxel in any of the 2 training masks"):
            run_verified_import(workspace, InlineExecutor(), source=source, show_issues=shown.append, skip_bad=True)
        assert [issue.case for issue in shown[0].errors] == ["-"]

    def test_worker_processes_leave_out_the_same(self, workspace: Workspace) -> None:
        source = make_source(Job("a"), Job("b", failure="broken"), Job("c", 2))
        with open_executor(2) as executor:
            run_import(workspace.raw.parent, TASK, source=source, executor=executor, skip_bad=True)
        assert read_record(workspace).left_out == {"b": "broken"}
