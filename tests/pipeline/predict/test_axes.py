"""Cases that are stored in another order of their axes than most: prepared and predicted like the others."""

from __future__ import annotations

import hashlib
import json
import logging
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest

from interactivepet.core.axes import Permutation
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import Plan, Plans
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image, write_mask
from interactivepet.errors import CaseError, StaleArtefactError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.prepare.cases import read_records, run_preprocessing
from interactivepet.pipeline.prepare.steps import (
    run_fingerprint,
    run_generate_dataset_json,
    run_plan,
    run_verification,
)
from interactivepet.pipeline.train.promptable_cases import run_prompt_cases
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import PlanRequest
from tests.tiny import make_volume, open_tiny, write_tiny_task

PERMUTATIONS: list[Permutation] = list(permutations(range(3)))
OPTIONS = PredictionOptions(tta=False, device="cpu", save_probabilities=True)


def turn(path: Path, axes: Permutation) -> None:
    """Store a NIfTI file again in another order of its axes."""
    image = nibabel.load(path)
    values = np.transpose(np.asanyarray(image.dataobj), axes)
    nibabel.save(nibabel.Nifti1Image(values, image.affine[:, [*axes, 3]]), path)


def read_back(path: Path, axes: Permutation) -> np.ndarray:
    """Read a NIfTI file, its axes in the order from before `turn`."""
    return np.transpose(np.asanyarray(nibabel.load(path).dataobj), [axes.index(axis) for axis in range(3)])


def prepare(root: Path, *, turned: dict[int, Permutation]) -> Workspace:
    """Write a task of four training cases, some of them turned, and preprocess it."""
    folder = write_tiny_task(root / "raw", n_training=4, n_test=0)
    for number, axes in turned.items():
        turn(folder / "imagesTr" / f"TINY_{number:03d}_0000.nii.gz", axes)
        turn(folder / "labelsTr" / f"TINY_{number:03d}.nii.gz", axes)
    workspace = open_tiny(root)
    run_generate_dataset_json(workspace, channels=["PET"], labels=["lesion"])
    run_fingerprint(workspace, InlineExecutor())
    process(workspace)
    return workspace


def process(workspace: Workspace) -> Plan:
    plan = run_plan(workspace, PlanRequest(budget="cpu")).plan("3d_fullres")
    run_preprocessing(workspace, InlineExecutor(), plan=plan, snapshots=False)
    return plan


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("uniform"), turned={})


def read_fingerprint(workspace: Workspace) -> Fingerprint:
    return read_artefact(workspace.fingerprint, Fingerprint, command="")


def read_case_record(workspace: Workspace, name: str) -> CaseRecord:
    return read_artefact(workspace.cases("3d_fullres") / f"{name}.json", CaseRecord, command="")


@pytest.mark.parametrize("axes", PERMUTATIONS)
def test_a_turned_training_case_becomes_the_same_voxels(uniform: Workspace, axes: Permutation, tmp_path: Path) -> None:
    mixed = prepare(tmp_path, turned={2: axes})
    ours, theirs = read_fingerprint(mixed), read_fingerprint(uniform)
    assert ours.axis_order == theirs.axis_order == "xyz"
    assert [(c.shape, c.crop_shape) for c in ours.cases] == [(c.shape, c.crop_shape) for c in theirs.cases]
    plan, other = (read_artefact(w.plans, Plans, command="").plan("3d_fullres") for w in (mixed, uniform))
    assert plan.spacing_mm == pytest.approx(other.spacing_mm)
    for number in range(4):
        name = f"TINY_{number:03d}"
        found, expected = read_case_record(mixed, name), read_case_record(uniform, name)
        assert found.volume_sha256 == expected.volume_sha256
        assert found.trace.axes == (tuple(axes.index(a) for a in range(3)) if number == 2 else (0, 1, 2))
        assert found.original.shape == read_image([mixed.raw / f"imagesTr/{name}_0000.nii.gz"])[1].shape
    (issues,) = [run_verification(mixed, InlineExecutor())]
    assert not issues.errors
    assert [issue.case for issue in issues.issues if issue.kind == "axes"] == (
        [] if axes == (0, 1, 2) else ["TINY_002"]
    )


def test_the_order_of_most_cases_counts(uniform: Workspace, tmp_path: Path) -> None:
    workspace = prepare(tmp_path, turned={0: (2, 1, 0), 1: (2, 1, 0), 3: (2, 1, 0)})
    plans = read_artefact(workspace.plans, Plans, command="")
    assert plans.axis_order == "zyx"
    assert plans.plan("3d_fullres").spacing_mm == pytest.approx((5.0, 4.0, 4.0))
    assert read_case_record(workspace, "TINY_002").trace.axes == (2, 1, 0)
    assert read_case_record(workspace, "TINY_001").trace.axes == (0, 1, 2)


def test_every_case_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_tiny_task(tmp_path / "raw", n_training=4, n_test=0)
    workspace = open_tiny(tmp_path)
    run_generate_dataset_json(workspace, channels=["PET"], labels=["lesion"])
    for number in (0, 2):
        (folder / "imagesTr" / f"TINY_{number:03d}_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(CaseError, match=r"fingerprint failed for 2 of 4 cases:\nTINY_000.*\nTINY_002"):
        run_fingerprint(workspace, InlineExecutor())


def test_a_plan_that_gets_an_order_makes_turned_cases_again(tmp_path: Path) -> None:
    workspace = prepare(tmp_path, turned={2: (1, 2, 0)})
    ordered = read_artefact(workspace.plans, Plans, command="")
    plain = ordered.model_copy(update={"axis_order": None})
    names = [f"TINY_{number:03d}" for number in range(4)]
    with pytest.raises(StaleArtefactError, match=r"TINY_002\.json has its axes in another order than the plan"):
        read_records(workspace, plain.plan("3d_fullres"), cases=names)
    assert run_preprocessing(workspace, InlineExecutor(), plan=plain.plan("3d_fullres"), snapshots=False) == 1
    assert set(read_records(workspace, plain.plan("3d_fullres"), cases=names)) == set(names)
    assert run_preprocessing(workspace, InlineExecutor(), plan=ordered.plan("3d_fullres"), snapshots=False) == 1


def test_prompt_cases_are_in_the_order(uniform: Workspace, tmp_path: Path) -> None:
    mixed = prepare(tmp_path, turned={2: (1, 2, 0)})
    plan = process(mixed)
    found, expected = (run_prompt_cases(w, InlineExecutor(), plan=plan) for w in (mixed, uniform))
    assert {n: r.volume_sha256 for n, r in found.items()} == {n: r.volume_sha256 for n, r in expected.items()}
    assert found["TINY_002"].resampled.shape == expected["TINY_002"].resampled.shape
    assert found["TINY_002"].original.shape != expected["TINY_002"].original.shape
    again = run_prompt_cases(mixed, InlineExecutor(), plan=plan.model_copy(update={"axis_order": None}))
    assert again["TINY_002"].resampled.shape == found["TINY_002"].original.shape


def test_artefacts_from_before_keep_their_hashes(finished: tuple[Path, object], tmp_path: Path) -> None:
    """Files without the fields that came later load, and those that are none change no hash."""
    workspace = open_tiny(finished[0])
    later: dict[type, tuple[Path, set[str]]] = {
        Fingerprint: (workspace.fingerprint, {"axis_order", "intensities"}),
        CheckpointCard: (workspace.card("3d_fullres", 0), {"intensities", "patients", "pretrained"}),
        Plans: (workspace.plans, {"axis_order"}),
    }
    for kind, (path, names) in later.items():
        content = json.loads(path.read_text())
        assert names <= set(content)
        old = tmp_path / path.name
        old.write_text(json.dumps({key: value for key, value in content.items() if key not in names}))
        loaded = read_artefact(old, kind, command="")
        # the layers of a model, which no plan from before names, are within its configurations
        layers = {"configurations": {"__all__": {"layers_of"}}} if kind is Plans else {}
        told = dict.fromkeys(("package_version", "made_from", *names), True)
        text = loaded.model_dump_json(exclude={**told, **layers})
        assert loaded.content_hash() == hashlib.sha256(text.encode()).hexdigest()[:16]
    plans = read_artefact(workspace.plans, Plans, command="")
    plain = plans.model_copy(update={"axis_order": None})
    assert plans.axis_order == "xyz"
    assert plain.content_hash() == plans.content_hash()
    assert plain.plan("3d_fullres").content_hash() == plans.plan("3d_fullres").content_hash()
    assert plain.plan("3d_fullres").preprocessing_hash() == plans.plan("3d_fullres").preprocessing_hash()


@pytest.fixture(scope="module")
def predicted(finished: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new image, and its masks and probabilities with and without clicks."""
    root = tmp_path_factory.mktemp("usual")
    image, label, geometry = make_volume(77)
    write_image(root / "in" / "new_0000.nii.gz", image, geometry=geometry)
    write_mask(root / "label.nii.gz", label, geometry=geometry)
    predict(open_tiny(finished[0]), root / "in", root / "out")
    return root / "in", root / "out"


def predict(workspace: Workspace, images: Path, out: Path) -> None:
    log = run_prediction(
        workspace, make_folder_request(workspace, images, clicks_folder=None, out=out), options=OPTIONS
    )
    assert not log.failed


@pytest.mark.parametrize("axes", PERMUTATIONS)
def test_the_mask_of_a_turned_image_is_the_turned_mask(
    finished: tuple[Path, object], predicted: tuple[Path, Path], axes: Permutation, tmp_path: Path
) -> None:
    workspace = open_tiny(finished[0])
    images, out = predicted
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new_0000.nii.gz").write_bytes((images / "new_0000.nii.gz").read_bytes())
    turn(tmp_path / "in" / "new_0000.nii.gz", axes)
    predict(workspace, tmp_path / "in", tmp_path / "out")
    for name in ("new.nii.gz", "probabilities/new.nii.gz"):
        expected = np.asanyarray(nibabel.load(out / name).dataobj)
        assert np.array_equal(read_back(tmp_path / "out" / name, axes), expected)
    assert read_mask(tmp_path / "out" / "new.nii.gz")[0].any()
    turned = read_image([tmp_path / "in" / "new_0000.nii.gz"])[1]
    assert read_mask(tmp_path / "out" / "new.nii.gz")[1].matches(turned)


@pytest.mark.parametrize("axes", PERMUTATIONS)
def test_a_session_answers_a_turned_image_alike(
    finished: tuple[Path, object], predicted: tuple[Path, Path], axes: Permutation, tmp_path: Path
) -> None:
    workspace = open_tiny(finished[0])
    images, _ = predicted
    request = make_folder_request(workspace, images, clicks_folder=None, out=tmp_path)
    case = request.read(request.entries[0], channels=["PET"])
    model = open_trained_model(workspace, PredictionOptions(tta=False, device="cpu"))
    masks = []
    for shown in (case, case.permuted(axes)):
        session = model.open_session(shown)
        session.segment()
        for voxel, is_positive in (((10, 10, 10), True), ((2, 3, 4), False)):
            x, y, z = case.geometry.to_mm(voxel).tolist()
            session.add_click((x, y, z), is_positive=is_positive)
            masks.append(session.segment().mask)
    for usual, turned in zip(masks[:2], masks[2:], strict=True):
        assert np.array_equal(np.transpose(turned, [axes.index(axis) for axis in range(3)]), usual)


def test_a_plan_without_an_order_predicts_as_before(
    copied: Path, predicted: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = open_tiny(copied)
    images, out = predicted
    plans = read_artefact(workspace.plans, Plans, command="")
    write_artefact(workspace.plans, plans.model_copy(update={"axis_order": None}))
    with caplog.at_level(logging.WARNING):
        predict(workspace, images, tmp_path)
    expected = np.asanyarray(nibabel.load(out / "new.nii.gz").dataobj)
    assert np.array_equal(np.asanyarray(nibabel.load(tmp_path / "new.nii.gz").dataobj), expected)
