"""Simulated sessions: what the user does, resuming, other programs, and the whole command on the tiny task."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.ensemble import EnsembleRule
from interactivepet.core.interaction import Click
from interactivepet.core.plan import FoldList
from interactivepet.core.prediction import Prediction
from interactivepet.core.report import Report
from interactivepet.core.simulation import SimulatedCase, Simulation
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.dataset.interactions import write_clicks
from interactivepet.errors import CaseError, InteractionError, MissingArtefactError, SegmenterError, TrainingError
from interactivepet.pipeline.judge import simulate as simulate_module
from interactivepet.pipeline.judge.simulate import SimulationOptions, run_simulation
from interactivepet.pipeline.judge.simulated_segmenters import check_command
from interactivepet.pipeline.judge.simulated_session import SimulatedUser, run_session
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.train.promptable_source import PromptableSource
from interactivepet.pipeline.workspace import Workspace
from tests.tiny import SHAPE, make_options, make_volume, open_tiny

PREDICTION = PredictionOptions(tta=False, device="cpu")
PROGRAM = """
import sys
import nibabel as nib, numpy as np
image, clicks, mask = sys.argv[1:4]
loaded = nib.load(image)
values = np.asarray(loaded.dataobj) > 2.5
if len(sys.argv) > 4:
    print("no idea", file=sys.stderr)
    raise SystemExit(3)
nib.save(nib.Nifti1Image(values.astype(np.uint8), loaded.affine), mask)
"""


class Painter:
    """A system that paints a cube round each click: wrong at first, better with every correction."""

    description = "painter (MIT)"

    def __init__(self) -> None:
        self.seen: list[tuple[int, int | None]] = []

    def segment(self, case: Case, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        assert case.label is None
        self.seen.append((len(clicks), None if previous is None else int(previous.sum())))
        mask = np.zeros(case.geometry.shape, np.uint8)
        for click in clicks:
            i, j, k = (int(n) for n in np.rint(case.geometry.to_voxel(click.position_mm)))
            box = tuple(slice(max(0, n - 3), n + 4) for n in (i, j, k))
            mask[box] = click.label if click.is_positive else 0
        return mask


def make_user(name: str = "perfect", **changes: object) -> SimulatedUser:
    image, label, geometry = make_volume(0)
    case = Case("TINY", image, geometry, label)
    user = SimulatedUser(name, case, (1,), np.random.default_rng(0))  # type: ignore[arg-type]
    return replace(user, **changes)  # type: ignore[arg-type]


def test_corrections_add_up_and_the_last_mask_is_passed_on() -> None:
    system = Painter()
    steps = run_session(make_user(), system, start="none", n_corrections=4)
    assert [step.n_clicks for step in steps] == [0, 1, 2, 3, 4]
    assert steps[0].dice == 0.0
    assert steps[1].dice > 0.4
    assert [n for n, _ in system.seen] == [0, 1, 2, 3, 4]
    assert [before is None for _, before in system.seen] == [True, False, False, False, False]
    assert system.seen[2][1] == 7**3
    assert all(step.seconds is not None for step in steps)
    assert [len(step.added) for step in steps] == [0, 1, 1, 1, 1]


def test_six_points_come_first_and_count() -> None:
    steps = run_session(make_user(), Painter(), start="extreme", n_corrections=2)
    assert [step.n_clicks for step in steps] == [6, 7, 8]
    assert len(steps[0].added) == 6
    exact = make_user().begin("extreme")
    assert make_user("noisy").begin("extreme") != exact


def test_a_perfect_mask_is_left_alone() -> None:
    class Knowing(Painter):
        def segment(self, case: Case, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
            self.seen.append((len(clicks), None))
            return make_volume(0)[1] if clicks else np.zeros(SHAPE, np.uint8)

    system = Knowing()
    steps = run_session(make_user(), system, start="none", n_corrections=5)
    assert [step.dice for step in steps] == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert [step.n_clicks for step in steps] == [0, 1, 1, 1, 1, 1]
    assert [step.seconds is None for step in steps] == [False, False, True, True, True, True]
    assert len(system.seen) == 2


def test_a_scribble_counts_as_one_and_no_lesion_gets_none() -> None:
    steps = run_session(make_user("centreline"), Painter(), start="none", n_corrections=1)
    assert steps[1].n_clicks == 1
    assert len(steps[1].added) > 1
    user = make_user("centreline")
    empty = replace(user, case=replace(user.case, label=np.zeros(SHAPE, np.uint8)))
    steps = run_session(empty, Painter(), start="none", n_corrections=2)
    assert [step.dice for step in steps] == [1.0, 1.0, 1.0]
    assert steps[2].n_clicks == 0


def test_fixed_clicks_do_not_react() -> None:
    geometry = make_volume(0)[2]
    places = [tuple(geometry.to_mm((n, n, n)).tolist()) for n in (2, 9, 12)]
    fixed = tuple(Click(position_mm=place, is_positive=n != 0) for n, place in enumerate(places))
    steps = run_session(make_user("fixed", fixed=fixed), Painter(), start="none", n_corrections=3)
    assert [step.added for step in steps] == [(), fixed[:2], fixed[2:], ()]
    assert [step.n_clicks for step in steps] == [0, 2, 3, 3]
    assert steps[3].dice == steps[2].dice


def simulate(root: Path, **changes: object) -> Simulation:
    base = SimulationOptions(kind="ours", prediction=PREDICTION, n_corrections=2)
    options = replace(base, **changes)  # type: ignore[arg-type]
    return run_simulation(open_tiny(root), options=options, tracker=make_options(root).tracker, n_proc=1)


def read_case(workspace: Workspace, name: str, case: str) -> SimulatedCase:
    path = workspace.simulation(name) / "cases" / f"{case}.json"
    return read_artefact(path, SimulatedCase, command="interactivepet_simulate")


def test_every_case_is_answered_by_the_fold_that_never_saw_it(copied: Path) -> None:
    workspace = open_tiny(copied)
    found = simulate(copied, start="extreme")
    folder = workspace.simulation("ours-perfect-none")
    assert found.n_cases == 6
    assert found.n_corrections == 2
    split = json.loads(workspace.folds.read_text())
    for fold in split["folds"]:
        for name in fold["validation"]:
            case = read_case(workspace, "ours-perfect-none", name)
            assert case.fold == fold["index"]
            assert f"fold_{fold['index']}" in case.models
            assert case.steps[0].n_clicks == 6
    shown = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert shown == {"cases", "curves.png", "report.html", "simulation.json"}
    assert "never saw it" in (folder / "report.html").read_text()
    # Clicks are obeyed by an interactive session.
    assert found.n_disobeyed == 0

    # Finished cases stay as they are; one that is missing is made again alike but for its times.
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "cases").iterdir()}
    lost = read_case(workspace, "ours-perfect-none", "TINY_002")
    (folder / "cases" / "TINY_002.json").unlink()
    simulate(copied, start="extreme")
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "cases").iterdir()}
    assert [name for name in before if after[name] != before[name]] == ["TINY_002.json"]
    again = read_case(workspace, "ours-perfect-none", "TINY_002")
    assert [step.model_copy(update={"seconds": None}) for step in again.steps] == [
        step.model_copy(update={"seconds": None}) for step in lost.steps
    ]
    # Another seed is another simulation.
    simulate(copied, start="extreme", seed=1, cases=("TINY_001",))
    assert read_case(workspace, "ours-perfect-none", "TINY_001").made_from != before
    assert (folder / "cases" / "TINY_001.json").stat().st_mtime_ns != before["TINY_001.json"]


def test_folds_choose_cases_and_test_cases_get_all_folds(copied: Path) -> None:
    split = json.loads(open_tiny(copied).folds.read_text())
    prediction = replace(PREDICTION, folds=(1,))
    found = simulate(copied, prediction=prediction, n_corrections=1, name="one")
    assert found.n_cases == len(split["folds"][1]["validation"])
    found = simulate(copied, is_test=True, n_corrections=0, name="test")
    assert found.n_cases == 1
    case = read_case(open_tiny(copied), "test", "TINY_006")
    assert case.fold is None
    assert "fold_0 fold_1 fold_2" in case.models
    assert "Test cases" in found.provenance


class Thresholds:
    """Stands for nnInteractive: the bright voxels, once there is a click."""

    name, licence, source = "thresholds", "MIT", "thresholds"

    def stamp(self, labels: Sequence[int], stamps: object) -> str:
        return f"thresholds {labels}"

    @contextmanager
    def open(self, *, labels: Sequence[int], device: str, n_threads: int) -> Iterator[Thresholds]:
        assert (device, n_threads) == ("cpu", 1)
        yield self

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        inside = (case.image[0] > 2.5) & bool(clicks)
        return Prediction(case.id, np.stack([~inside, inside]).astype(np.float32), case.geometry, (1,))


def test_nninteractive_answers_alone_or_with_its_share(copied: Path) -> None:
    workspace = open_tiny(copied)
    prediction = replace(PREDICTION, promptable=cast(PromptableSource, Thresholds()))
    alone = simulate(copied, kind="nninteractive", prediction=prediction, cases=("TINY_000",), n_corrections=1)
    assert [point.mean for point in alone.curves[0].points] == [0.0, pytest.approx(1.0)]
    assert "nnInteractive thresholds (MIT)" in alone.provenance
    rule = read_artefact(workspace.ensemble, EnsembleRule, command="")
    chosen = rule.choices["extreme"]
    for weight in (1.0, 0.9):
        fusion = chosen.fusion.model_copy(update={"nninteractive_weight": weight, "threshold": 0.5})
        choices = {**rule.choices, "extreme": chosen.model_copy(update={"fusion": fusion})}
        write_artefact(workspace.ensemble, rule.model_copy(update={"choices": choices}))
        found = simulate(copied, kind="ensemble", prediction=prediction, cases=("TINY_000",), n_corrections=1, name="e")
        assert found.curves[0].points[1].mean > 0.99
        assert "fold_" in found.provenance


def test_another_program_is_asked_by_its_command_line(copied: Path, tmp_path: Path) -> None:
    program = tmp_path / "segment it.py"
    program.write_text(PROGRAM)
    command = f"{sys.executable} '{program}' {{image}} {{clicks}} {{mask}}"
    found = simulate(
        copied, kind="command", command=command, cases=("TINY_000", "TINY_003"), name="program", n_corrections=1
    )
    assert found.n_cases == 2
    assert found.curves[0].points[0].mean > 0.99
    assert read_case(open_tiny(copied), "program", "TINY_000").fold is None
    program.write_text(PROGRAM + "\n# another version")
    before = read_case(open_tiny(copied), "program", "TINY_000").made_from
    simulate(copied, kind="command", command=command, cases=("TINY_000",), name="program", n_corrections=1)
    assert read_case(open_tiny(copied), "program", "TINY_000").made_from != before, "simulated again"
    with pytest.raises(SegmenterError, match="no idea"):
        simulate(copied, kind="command", command=f"{command} fail", cases=("TINY_000",), name="failing")


def test_another_program_may_say_what_is_not_utf_8(copied: Path, tmp_path: Path) -> None:
    program = tmp_path / "say.py"
    program.write_text("import sys; sys.stderr.buffer.write(b'P\\xe9ter'); sys.exit(3)")
    command = f"{sys.executable} '{program}' {{image}} {{clicks}} {{mask}}"
    with pytest.raises(SegmenterError, match="ended with 3 and no mask") as refused:
        simulate(copied, kind="command", command=command, cases=("TINY_000",), name="latin")
    assert "P\ufffdter" in str(refused.value)


def test_fixed_clicks_are_read_in_the_frame_that_is_named(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    (folder / "TINY_000_clicks.csv").write_text("x,y,z\n10,10,10\n")
    (folder / "notes.txt").touch()
    options = {"user": "fixed", "fixed": folder, "cases": ("TINY_000",), "n_corrections": 1}
    simulate(copied, name="voxel", **options)
    (added,) = read_case(open_tiny(copied), "voxel", "TINY_000").steps[1].added
    assert "notes.txt is not used" in caplog.text
    x, y, z = added.position_mm
    (folder / "TINY_000_clicks.csv").write_text(f"x,y,z\n{-x},{-y},{z}\n")
    simulate(copied, name="lps", point_frame="lps", **options)
    assert read_case(open_tiny(copied), "lps", "TINY_000").steps[1].added[0].position_mm == pytest.approx((x, y, z))


def test_what_cannot_be_simulated_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="TINY_999"):
        simulate(copied, cases=("TINY_999",))
    with pytest.raises(InteractionError, match="TINY_000: no click file"):
        simulate(copied, user="fixed", fixed=tmp_path)
    with pytest.raises(SegmenterError, match=r"\{clicks\} and \{mask\}"):
        check_command("program {image}")
    with pytest.raises(SegmenterError, match="no program nowhere"):
        check_command("nowhere {image} {clicks} {mask}")
    with pytest.raises(SegmenterError, match="close the quotation"):
        check_command("python 'x {image} {clicks} {mask}")
    with pytest.raises(SegmenterError, match="no nnInteractive"):
        simulate(copied, kind="nninteractive", cases=("TINY_000",), name="none")
    open_tiny(copied).ensemble.unlink()
    with pytest.raises(MissingArtefactError, match="interactivepet_postprocessing"):
        simulate(copied, kind="ensemble", cases=("TINY_000",), name="none")


def test_a_case_that_is_in_no_fold_is_answered_by_nobody(copied: Path) -> None:
    workspace = open_tiny(copied)
    split = read_artefact(workspace.folds, FoldList, command="")
    first = split.folds[0]
    left_out = first.validation[0]
    changed = first.model_copy(update={"validation": first.validation[1:]})
    write_artefact(workspace.folds, split.model_copy(update={"folds": (changed, *split.folds[1:])}))
    with pytest.raises(CaseError, match=f"{left_out} in no fold"):
        simulate(copied)


def test_two_simulations_do_not_share_a_folder(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_module, "lock_folder", partial(lock_folder, timeout_s=0.1))
    with (
        lock_folder(open_tiny(copied).simulation("ours-perfect-none")),
        pytest.raises(TrainingError, match="in use by another process"),
    ):
        simulate(copied)


def test_clicks_placed_beforehand_are_read_from_their_folder(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "TINY_000.json").write_text('{"tumor": [[10, 10, 10], [9, 9, 9]], "background": [[1, 1, 1]]}')
    image, _, geometry = make_volume(1)
    del image
    write_clicks(tmp_path / "TINY_001.mrk.json", [Click(position_mm=tuple(geometry.to_mm((10, 10, 10)).tolist()))])
    found = simulate(copied, user="fixed", fixed=tmp_path, cases=("TINY_000", "TINY_001"), name="fixed")
    assert found.n_clicks == (0.0, 1.5, 2.0)
    added = read_case(open_tiny(copied), "fixed", "TINY_000").steps[1].added
    assert [np.rint(make_volume(0)[2].to_voxel(click.position_mm)).tolist() for click in added] == [
        [10, 10, 10],
        [1, 1, 1],
    ]


def test_the_command_runs(
    finished: tuple[Path, dict[str, Report]], raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from interactivepet.cli.simulate import main

    for name in ("raw", "processed", "results"):
        shutil.copytree(finished[0] / name, raw.parent / name, dirs_exist_ok=True)
    arguments = ["--clicks", "1", "--cases", "TINY_000", "--no-tta", "--device", "cpu", "--user", "noisy"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "ours-noisy-none" in shown
    assert "report.html" in shown
    assert main(["--segmenter", "our"]) == 1
    assert "none of ours, nninteractive, ensemble, threshold41" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--name", "../elsewhere"])
