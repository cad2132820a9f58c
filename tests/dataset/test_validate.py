from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import nibabel
import numpy as np
import pytest

from interactivepet.core.dataset import CaseEntry, DatasetManifest, Issue, IssueList
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.manifest import build_manifest, read_manifest
from interactivepet.dataset.validate import find_empty_task, find_issues, find_task_issues

SHAPE = (9, 7, 5)
AFFINE = np.array([[-4.0, 0, 0, 130.5], [0, 0, 3.0, -77.0], [0, -2.5, 0, 1040.0], [0, 0, 0, 1]])
"""Anisotropic, with exchanged and flipped axes, far from the origin."""
GEOMETRY = Geometry(SHAPE, AFFINE)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def make_image(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def make_ct(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return 400 * make_image(shape) - 1000


def make_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 1:4, 1:4] = 1
    mask[6:8, 5:7, 3:5] = 2
    return mask


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Two sound training cases and a test case with PET and CT, two labels."""
    task_dir = tmp_path / "Task700 Ü"
    for folder, case in (("imagesTr", "a"), ("imagesTr", "b"), ("imagesTs", "t")):
        save(task_dir / folder / f"{case}_0000.nii.gz", make_image())
        save(task_dir / folder / f"{case}_0001.nii.gz", make_ct())
    for case in "ab":
        save(task_dir / "labelsTr" / f"{case}.nii.gz", make_mask())
    return task_dir


def manifest_of(task_dir: Path) -> DatasetManifest:
    return build_manifest(task_dir, channels=["PET", "CT"], labels=["tumour", "edema"])


def check(task_dir: Path, case: str = "a", clicks: Sequence[Click] | None = None) -> tuple[Issue, ...]:
    manifest = manifest_of(task_dir)
    clicks_path = None
    if clicks is not None:
        clicks_path = task_dir / "interactionsTr" / f"{case}.mrk.json"
        write_clicks(clicks_path, clicks)
    return find_issues(task_dir, manifest.entry(case), manifest=manifest, clicks_path=clicks_path)


def kinds(issues: Sequence[Issue]) -> list[str]:
    assert all(issue.found and issue.expected and issue.remedy for issue in issues)
    return [issue.kind for issue in issues]


def test_a_sound_task_has_no_issues(task: Path) -> None:
    assert [check(task, case) for case in "abt"] == [(), (), ()]
    assert find_task_issues(task, manifest_of(task)) == ()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(task: Path, number: float) -> None:
    image = make_image()
    image[0, 1, 2] = image[3, 2, 1] = number
    save(task / "imagesTr/a_0001.nii.gz", image)
    (issue,) = check(task)
    assert (issue.case, issue.kind) == ("a", "nan")
    counts = "2 NaN and 0 infinite" if np.isnan(number) else "0 NaN and 2 infinite"
    assert issue.found == f"{counts} voxels in CT of imagesTr/a_0001.nii.gz"


def test_float64_beyond_float32_counts_as_infinite(task: Path) -> None:
    image = make_image().astype(np.float64)
    image[0, 0, 0] = 1e200
    save(task / "imagesTr/a_0000.nii.gz", image)
    assert "0 NaN and 1 infinite" in check(task)[0].found


def test_constant_image(task: Path) -> None:
    save(task / "imagesTr/a_0000.nii.gz", np.full(SHAPE, 7, np.int16))
    (issue,) = check(task)
    assert issue.kind == "constant"
    assert issue.found.startswith("every voxel of PET of")
    assert issue.found.endswith("is 7")


def test_channel_on_another_grid(task: Path) -> None:
    save(task / "imagesTr/a_0001.nii.gz", make_ct((9, 7, 4)))
    (issue,) = check(task)
    assert issue.kind == "grid"
    assert issue.found == "CT grid 9x7x4 but PET grid 9x7x5"
    assert "GRID_TOLERANCE_MM = 0.01 mm" in issue.expected


@pytest.mark.parametrize(("shift", "n_issues"), [(0.008, 0), (0.012, 1)])
def test_label_on_another_grid(task: Path, shift: float, n_issues: int) -> None:
    moved = AFFINE.copy()
    moved[2, 3] += shift
    save(task / "labelsTr/a.nii.gz", make_mask(), moved)
    issues = check(task)
    assert kinds(issues) == ["grid"] * n_issues
    assert all("label grid" in issue.found and "0.012 mm apart" in issue.found for issue in issues)


def test_sheared_grid(task: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.4
    save(task / "imagesTr/a_0000.nii.gz", make_image(), sheared)
    save(task / "imagesTr/a_0001.nii.gz", make_ct(), sheared)
    save(task / "labelsTr/a.nii.gz", make_mask(), sheared)
    assert kinds(check(task)) == ["shear"] * 3


def test_files_that_cannot_be_read(task: Path) -> None:
    image, label = task / "imagesTr/a_0000.nii.gz", task / "labelsTr/a.nii.gz"
    image.write_bytes(image.read_bytes()[:-60])
    label.write_bytes(b"")
    first, second = check(task)
    assert (first.kind, second.kind) == ("unreadable", "unreadable")
    assert "a_0000.nii.gz: cannot be read" in first.found
    assert "empty" in second.found


def test_missing_files(task: Path) -> None:
    (task / "imagesTr/a_0001.nii.gz").unlink()
    (task / "labelsTr/a.nii.gz").unlink()
    issues = check(task)
    assert kinds(issues) == ["missing-file", "missing-file"]
    assert issues[0].found == "imagesTr/a_0001.nii.gz is not there"
    assert check(task, "b") == ()


def test_a_training_case_needs_a_mask_and_a_test_case_does_not(task: Path) -> None:
    manifest = manifest_of(task)
    bare = manifest.training[0].model_copy(update={"label": None})
    changed = manifest.model_copy(update={"training": (bare,)})
    assert kinds(find_issues(task, bare, manifest=changed)) == ["missing-file"]
    assert find_issues(task, manifest.test[0], manifest=manifest) == ()


def test_wrong_number_of_channels(task: Path) -> None:
    manifest = manifest_of(task)
    save(task / "imagesTr/one.nii.gz", make_image((*SHAPE, 3)))
    entry = CaseEntry(id="one", images=("imagesTr/one.nii.gz",), label="labelsTr/a.nii.gz")
    (issue,) = find_issues(task, entry, manifest=manifest)
    assert (issue.kind, issue.found, issue.expected) == ("channels", "3 in imagesTr/one.nii.gz", "2")
    three = manifest.training[0].model_copy(update={"images": (*manifest.training[0].images, entry.images[0])})
    assert kinds(find_issues(task, three, manifest=manifest)) == ["channels", "channels"]


def test_label_values(task: Path) -> None:
    mask = make_mask().astype(np.int16)
    mask[0, 0, 0], mask[0, 0, 1:3] = -1, 300
    save(task / "labelsTr/a.nii.gz", mask)
    (issue,) = check(task)
    assert issue.kind == "label-value"
    assert issue.found == "-1 (1 voxels), 300 (2 voxels) in labelsTr/a.nii.gz"
    assert issue.expected == "0 or 1 (tumour), 2 (edema)"


def test_labels_as_float64_are_sound_and_fractions_are_not(task: Path) -> None:
    mask = make_mask().astype(np.float64)
    save(task / "labelsTr/a.nii.gz", mask)
    assert check(task) == ()
    mask[0, 0, :2] = 0.25, np.nan
    save(task / "labelsTr/a.nii.gz", mask)
    (issue,) = check(task)
    assert issue.kind == "label-noninteger"
    assert issue.found == "2 voxels of labelsTr/a.nii.gz hold no integer, such as 0.25"


def test_empty_label(task: Path) -> None:
    save(task / "labelsTr/a.nii.gz", np.zeros(SHAPE, np.uint8))
    (issue,) = check(task)
    assert (issue.kind, issue.severity) == ("label-empty", "note")
    result = IssueList(task="t", n_cases=1, issues=(issue,))
    assert result.errors == ()


def test_exchanged_pet_and_ct_are_one_error(task: Path) -> None:
    save(task / "imagesTr/a_0000.nii.gz", make_ct())
    save(task / "imagesTr/a_0001.nii.gz", make_image())
    (issue,) = check(task)
    assert (issue.kind, issue.severity) == ("swapped", "error")
    assert "PET from -99" in issue.found
    assert "CT from 0.0" in issue.found


def test_a_ct_without_air_is_a_note(task: Path) -> None:
    save(task / "imagesTr/a_0001.nii.gz", make_image() * 100 - 150)
    (issue,) = check(task)
    assert (issue.kind, issue.severity) == ("swapped", "note")


@pytest.mark.parametrize(("low", "expected"), [(-0.04, []), (-0.06, ["negative-suv"]), (-3.0, ["negative-suv"])])
def test_negative_uptake(task: Path, low: float, expected: list[str]) -> None:
    image = make_image()
    image[1, 1, 1] = low * image.max()
    save(task / "imagesTr/a_0000.nii.gz", image)
    issues = check(task)
    assert kinds(issues) == expected
    assert all(issue.severity == "error" for issue in issues)


def test_mask_with_channels(task: Path) -> None:
    save(task / "labelsTr/a.nii.gz", np.zeros((*SHAPE, 2), np.uint8))
    assert kinds(check(task)) == ["channels"]


def test_clicks_inside_and_outside(task: Path) -> None:
    def click(index: tuple[float, float, float], label: int = 1, *, is_positive: bool = True) -> Click:
        x, y, z = (float(v) for v in GEOMETRY.to_mm(index))
        return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)

    sound = [
        click((2, 1, 1)),
        click((5.4, 3.4, 3.4)),
        click((7, 6, 4.49), 2),
        click((0, 0, 0), is_positive=False),
    ]
    sound.append(click((7, 6, 4), 1, is_positive=False))
    assert check(task, clicks=sound) == ()
    wrong = [click((8.6, 1, 1)), click((0, 0, 0)), click((7, 6, 4), 1), click((3, 2, 2), is_positive=False)]
    issues = check(task, clicks=[*sound, *wrong])
    assert kinds(issues) == ["click-outside-image"] + ["click-outside-mask"] * 3
    assert issues[0].found.startswith("click 6 of a.mrk.json at (96.1, -74.0, 1037.5) mm RAS")
    assert issues[1].found.startswith("positive click 7")
    assert issues[3].found.startswith("negative click 9")


def test_clicks_of_a_test_case_only_have_to_lie_in_the_image(task: Path) -> None:
    inside, outside = (Click(position_mm=tuple(GEOMETRY.to_mm(index))) for index in ((0, 0, 0), (0, 0, 9)))
    assert kinds(check(task, "t", clicks=[inside, outside])) == ["click-outside-image"]


def test_clicks_that_cannot_be_read(task: Path) -> None:
    manifest = manifest_of(task)
    path = task / "a.mrk.json"
    find = partial(find_issues, task, manifest.entry("a"), manifest=manifest, clicks_path=path)
    assert kinds(find()) == ["missing-file"]
    path.write_text('{"markups": [{')
    assert kinds(find()) == ["unreadable"]


def test_every_problem_of_a_case_is_listed(task: Path) -> None:
    image = make_image((9, 7, 4))
    image[0] = np.nan
    save(task / "imagesTr/a_0000.nii.gz", np.zeros(SHAPE))
    save(task / "imagesTr/a_0001.nii.gz", image)
    mask = make_mask().astype(np.float32)
    mask[0, 0, :2] = 0.5, 9
    save(task / "labelsTr/a.nii.gz", mask, AFFINE * 1.1)
    outside = Click(position_mm=(0.0, 0.0, 0.0))
    assert kinds(check(task, clicks=[outside])) == [
        "constant", "nan", "grid", "grid", "label-noninteger", "label-value", "click-outside-image",
    ]  # fmt: skip


def test_cases_can_be_mapped_over_processes(task: Path) -> None:
    (task / "labelsTr/b.nii.gz").unlink()
    manifest = manifest_of(task)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(partial(find_issues, task, manifest=manifest), manifest.training))
    assert [kinds(issues) for issues in found] == [[], ["missing-file"]]


def test_orphans(task: Path) -> None:
    manifest = manifest_of(task)
    save(task / "imagesTr/c_0000.nii.gz", make_image())
    save(task / "labelsTs/x.nii.gz", make_mask())
    save(task / "imagesTr/.partial-d_0000.nii.gz", make_image())
    issues = find_task_issues(task, manifest)
    assert kinds(issues) == ["orphan", "orphan"]
    assert [issue.found for issue in issues] == ["imagesTr/c_0000.nii.gz", "labelsTs/x.nii.gz"]
    assert {issue.case for issue in issues} == {"-"}


def test_a_superfluous_channel_is_an_orphan(task: Path) -> None:
    save(task / "imagesTr/a_0002.nii.gz", make_image())
    assert [issue.found for issue in find_task_issues(task, manifest_of(task))] == ["imagesTr/a_0002.nii.gz"]


def test_duplicates(task: Path) -> None:
    manifest = manifest_of(task)
    twice = manifest.model_copy(update={"test": (manifest.training[0],)})
    found = [issue.found for issue in find_task_issues(task, twice) if issue.kind == "duplicate"]
    assert found[0] == "2 cases named a"
    assert found[1:] == [f"{n} is listed 2 times" for n in (*manifest.training[0].images, "labelsTr/a.nii.gz")]
    save(task / "labelsTr/a.nii", make_mask())
    (issue,) = find_task_issues(task, manifest)
    assert (issue.kind, issue.found) == ("duplicate", "labelsTr/a.nii, labelsTr/a.nii.gz")


def test_a_task_without_training_cases(task: Path) -> None:
    manifest = manifest_of(task).model_copy(update={"training": ()})
    assert kinds(find_task_issues(task, manifest)).count("missing-file") == 1


@pytest.mark.real_data
def test_real_msd_task_is_sound(real_data: Path) -> None:
    task_dir = real_data / "Task004_Hippocampus"
    manifest = read_manifest(task_dir)
    assert find_task_issues(task_dir, manifest) == ()
    assert [find_issues(task_dir, entry, manifest=manifest) for entry in manifest.training] == [()] * 60


@pytest.mark.real_data
def test_real_pet_task_is_sound(real_data: Path) -> None:
    task_dir = real_data / "Task501_STSPET"
    manifest = build_manifest(task_dir, channels=["PET"], labels=["tumour"])
    assert find_task_issues(task_dir, manifest) == ()
    assert [find_issues(task_dir, entry, manifest=manifest) for entry in manifest.training] == [()] * 36


@pytest.mark.real_data
def test_real_pet_ct_task_is_sound(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "Task502_STSPETCT"
    for path in (*source.glob("imagesTr/*.nii.gz"), *source.glob("labelsTr/*.nii.gz")):
        # PET and masks are links into the PET task, which a copy without links holds as text.
        linked = real_data / "Task501_STSPET" / path.relative_to(source)
        target = tmp_path / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(linked if linked.is_file() else path)
    manifest = build_manifest(tmp_path, channels=["PET", "CT"], labels=["tumour"])
    assert find_task_issues(tmp_path, manifest) == ()
    assert [find_issues(tmp_path, entry, manifest=manifest) for entry in manifest.training] == [()] * 36


def test_a_sagittal_volume_among_axial_ones_is_found(tmp_path: Path) -> None:
    axial = np.diag([-4.0, -4.0, 5.0, 1.0])
    sagittal = axial[:, [1, 2, 0, 3]]
    for name, affine in (("A", axial), ("B", axial), ("C", sagittal)):
        for folder, kind in (("imagesTr", np.float32), ("labelsTr", np.uint8)):
            (tmp_path / folder).mkdir(exist_ok=True)
            values = np.zeros((6, 6, 6), kind)
            values[2:4, 2:4, 2:4] = 1
            nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / folder / f"{name}.nii.gz")
    manifest = build_manifest(tmp_path, channels=["PET"], labels=["lesion"])
    (issue,) = find_task_issues(tmp_path, manifest)
    assert (issue.case, issue.kind) == ("C", "axes")
    assert "2 of 3" in issue.expected
    assert issue.severity == "note"


def test_a_patient_on_both_sides_is_noted(task: Path) -> None:
    manifest = manifest_of(task)
    assert not [issue for issue in find_task_issues(task, manifest) if issue.kind == "patient"]
    training = tuple(entry.model_copy(update={"patient": f"P{n}"}) for n, entry in enumerate(manifest.training))
    test = tuple(entry.model_copy(update={"patient": "P1"}) for entry in manifest.test)
    changed = manifest.model_copy(update={"training": training, "test": test})
    (found,) = [issue for issue in find_task_issues(task, changed) if issue.kind == "patient"]
    assert found.severity == "note"
    assert "P1" in found.found


@pytest.mark.parametrize(
    ("channel", "spacing", "is_noted"), [("SPECT", 1.0, True), ("PET", 4.0, False), ("CT", 1.0, False)]
)
def test_emission_of_one_millimetre_is_noted(channel: str, spacing: float, is_noted: bool, tmp_path: Path) -> None:
    task_dir = tmp_path / "Task700"
    save(task_dir / "imagesTr" / "a.nii.gz", make_image(), np.diag([spacing, spacing, spacing, 1.0]))
    save(task_dir / "labelsTr" / "a.nii.gz", make_mask(), np.diag([spacing, spacing, spacing, 1.0]))
    manifest = build_manifest(task_dir, channels=[channel], labels=["tumour", "edema"])
    found = [issue.severity for issue in find_task_issues(task_dir, manifest) if issue.kind == "spacing"]
    assert found == (["note"] if is_noted else [])


def test_an_empty_mask_is_a_note_and_a_task_of_empty_masks_a_problem(task: Path) -> None:
    save(task / "labelsTr" / "a.nii.gz", 0 * make_mask())
    manifest = manifest_of(task)
    issues = [issue for entry in manifest.training for issue in find_issues(task, entry, manifest=manifest)]
    assert [(issue.case, issue.kind, issue.severity) for issue in issues] == [("a", "label-empty", "note")]
    assert find_empty_task(manifest, issues) == ()
    save(task / "labelsTr" / "b.nii.gz", 0 * make_mask())
    issues = [issue for entry in manifest.training for issue in find_issues(task, entry, manifest=manifest)]
    (found,) = find_empty_task(manifest, issues)
    assert (found.case, found.kind, found.severity) == ("-", "label-empty", "error")
    assert found.found == "no labelled voxel in any of the 2 training masks"


@pytest.mark.parametrize("file", ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"])
def test_two_transforms_of_a_header_are_noted(task: Path, file: str) -> None:
    image = nibabel.load(task / file)
    moved = image.affine.copy()
    moved[1, 3] += 30
    image.set_sform(image.affine, code=2)
    image.set_qform(moved, code=1)
    nibabel.save(image, task / file)
    manifest = manifest_of(task)
    (issue,) = find_issues(task, manifest.training[0], manifest=manifest)
    assert (issue.kind, issue.severity) == ("transform", "note")
    assert issue.found == f"{file}: sform and qform place the image up to 30 mm apart; the sform was taken"


def test_remedies_name_the_import_that_places_and_renumbers(task: Path) -> None:
    flipped = AFFINE @ np.diag([1, 1, -1, 1])
    flipped[:3, 3] = AFFINE[:3, 3] + (SHAPE[2] - 1) * AFFINE[:3, 2]
    save(task / "labelsTr" / "a.nii.gz", 255 * (make_mask()[:, :, ::-1] > 0).astype(np.uint8), flipped)
    manifest = manifest_of(task).model_copy(update={"labels": {"tumour": 1}})
    issues = {issue.kind: issue for issue in find_issues(task, manifest.training[0], manifest=manifest)}
    assert "interactivepet_import folder places them" in issues["grid"].remedy
    assert "interactivepet_import folder takes 0 and one other value" in issues["label-value"].remedy
