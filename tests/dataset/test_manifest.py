from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.dataset.decathlon import parse_entry, parse_labels
from interactivepet.dataset.manifest import build_manifest, read_manifest, write_manifest
from interactivepet.errors import ManifestError


def add_files(task_dir: Path, *names: str, shape: tuple[int, ...] = (4, 3, 2)) -> Path:
    for name in names:
        path = task_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".nii.gz", ".nii")):
            nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), path)
        else:
            path.write_bytes(b"")
    return task_dir


@pytest.fixture
def split_task(tmp_path: Path) -> Path:
    """One file a channel: two training cases, one test case with a mask and one without."""
    return add_files(
        tmp_path / "Task501 Läsion",
        *(f"imagesTr/{case}_000{channel}.nii.gz" for case in ("b", "a_1") for channel in (0, 1)),
        *(f"imagesTs/{case}_000{channel}.nii.gz" for case in ("t", "u") for channel in (0, 1)),
        *("labelsTr/b.nii.gz", "labelsTr/a_1.nii.gz", "labelsTs/t.nii.gz"),
    )


@pytest.fixture
def whole_task(tmp_path: Path) -> Path:
    """MSD's layout with names that look like channels."""
    names = ("case_0000", "case_0001")
    task_dir = add_files(tmp_path / "Task04", *(f"imagesTr/{name}.nii.gz" for name in names), shape=(4, 3, 2, 2))
    return add_files(task_dir, *(f"labelsTr/{name}.nii.gz" for name in names))


def test_one_file_a_channel(split_task: Path) -> None:
    manifest = build_manifest(split_task, channels=["PET", "CT"], labels=["tumour", "edema"])
    assert manifest.task == "Task501 Läsion"
    assert manifest.channels == ("PET", "CT")
    assert manifest.labels == {"tumour": 1, "edema": 2}
    assert manifest.file_ending == ".nii.gz"
    assert manifest.training == (
        CaseEntry(
            id="a_1",
            images=("imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz"),
            label="labelsTr/a_1.nii.gz",
        ),
        CaseEntry(id="b", images=("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz"), label="labelsTr/b.nii.gz"),
    )
    assert [(entry.id, entry.label) for entry in manifest.test] == [("t", "labelsTs/t.nii.gz"), ("u", None)]


def test_one_file_a_case_even_when_names_look_like_channels(whole_task: Path) -> None:
    manifest = build_manifest(whole_task, channels=["T1", "T2"], labels=["x"])
    assert [entry.id for entry in manifest.training] == ["case_0000", "case_0001"]
    assert manifest.training[1].images == ("imagesTr/case_0001.nii.gz",)


def test_without_masks_the_names_decide(tmp_path: Path) -> None:
    task_dir = add_files(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz")
    assert [entry.id for entry in build_manifest(task_dir, channels=["PET"], labels=["x"]).training] == [
        "a",
        "b",
    ]
    add_files(task_dir, "imagesTr/c_0123.nii.gz")
    whole = build_manifest(task_dir, channels=["PET"], labels=["x"])
    assert [entry.id for entry in whole.training] == ["a_0000", "b_0000", "c_0123"]


def test_missing_files_are_listed_under_the_name_they_should_have(split_task: Path) -> None:
    (split_task / "imagesTr/a_1_0001.nii.gz").unlink()
    (split_task / "labelsTr/a_1.nii.gz").unlink()
    add_files(split_task, "labelsTr/only label.nii.gz")
    manifest = build_manifest(split_task, channels=["PET", "CT"], labels=["x"])
    entry = manifest.entry("a_1")
    assert entry.images == ("imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz")
    assert entry.label == "labelsTr/a_1.nii.gz"
    assert manifest.entry("only label").images[1] == "imagesTr/only label_0001.nii.gz"


def test_hidden_half_written_and_foreign_files_are_passed_over(split_task: Path) -> None:
    before = build_manifest(split_task, channels=["PET", "CT"], labels=["x"])
    hidden = ("imagesTr/.partial-z_0000.nii.gz", "imagesTr/._b_0000.nii.gz", "labelsTr/.DS_Store")
    add_files(split_task, *hidden, "imagesTr/README.txt", "labelsTr/b.raw")
    assert build_manifest(split_task, channels=["PET", "CT"], labels=["x"]) == before


def test_the_commonest_ending_is_the_tasks(tmp_path: Path) -> None:
    add_files(tmp_path, *(f"imagesTr/{case}_0000.nrrd" for case in "abc"), "imagesTr/d_0000.nii.gz")
    add_files(tmp_path, *(f"labelsTr/{case}.mha" for case in "abc"), "labelsTr/d.mha", "labelsTr/e.mha")
    manifest = build_manifest(tmp_path, channels=["PET"], labels=["x"])
    assert manifest.file_ending == ".nrrd"
    assert manifest.entry("d").images == ("imagesTr/d_0000.nii.gz",)
    assert manifest.entry("e").images == ("imagesTr/e_0000.nrrd",)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no images in imagesTr, expected CASE\.nii\.gz or CASE_0000"):
        build_manifest(tmp_path, channels=["PET"], labels=["x"])


def test_wrong_number_of_channels_everywhere(split_task: Path, whole_task: Path) -> None:
    with pytest.raises(ManifestError, match="have 2 channels, expected 1; name every channel"):
        build_manifest(split_task, channels=["PET"], labels=["x"])
    with pytest.raises(ManifestError, match="have 2 channels, expected 3"):
        build_manifest(whole_task, channels=["a", "b", "c"], labels=["x"])


def test_wrong_number_of_channels_in_one_case_is_left_to_verification(split_task: Path) -> None:
    add_files(split_task, "imagesTr/b_0002.nii.gz")
    assert len(build_manifest(split_task, channels=["PET", "CT"], labels=["x"]).entry("b").images) == 2


def test_an_unreadable_image_has_no_say_in_the_number_of_channels(whole_task: Path) -> None:
    (whole_task / "imagesTr/case_0000.nii.gz").write_bytes(b"")
    assert len(build_manifest(whole_task, channels=["T1", "T2"], labels=["x"]).training) == 2


@pytest.mark.parametrize("name", ["imagesTr/b_0000.nii", "labelsTr/b.nrrd", "imagesTs/t_0001.mha"])
def test_the_same_image_with_two_endings(split_task: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=r"differ only in their ending.*remove either"):
        build_manifest(add_files(split_task, name), channels=["PET", "CT"], labels=["x"])


def test_the_same_case_in_both_layouts(split_task: Path) -> None:
    with pytest.raises(ManifestError, match=r"b: .*one file a channel or one for all"):
        build_manifest(add_files(split_task, "imagesTr/b.nii.gz"), channels=["PET", "CT"], labels=["x"])


@pytest.mark.parametrize(
    ("channels", "labels"),
    [
        ([], ["x"]),
        (["PET"], []),
        (["PET", "PET"], ["x"]),
        (["PET"], ["x", " "]),
        (["PET"], ["Background", "x"]),
    ],
)
def test_unusable_names(split_task: Path, channels: list[str], labels: list[str]) -> None:
    with pytest.raises(ManifestError, match=r"name|leave it out"):
        build_manifest(split_task, channels=channels, labels=labels)


def test_cases_csv_fills_patient_and_subtype(split_task: Path) -> None:
    (split_task / "cases.csv").write_text("case,subtype,note,patient\nb,FDG,,P1\na_1,,x,P1\n", encoding="utf-8-sig")
    manifest = build_manifest(split_task, channels=["PET", "CT"], labels=["x"])
    assert [(e.patient, e.subtype) for e in manifest.training] == [("P1", None), ("P1", "FDG")]
    assert manifest.test[0].patient is None


def test_cases_csv_counts_beside_a_dataset_json_that_lists_the_cases(whole_task: Path) -> None:
    manifest = build_manifest(whole_task, channels=["a", "b"], labels=["x"])
    write_manifest(whole_task, manifest)
    (whole_task / "cases.csv").write_text("case,patient\ncase_0000,P1\ncase_0001,P1 \n")
    assert [entry.patient for entry in read_manifest(whole_task).training] == ["P1", "P1"]


def test_a_patient_may_be_a_number() -> None:
    raw = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz", "patient": 0}
    assert parse_entry(raw, source="x").patient == "0"


def test_regions_to_ignore_are_no_label() -> None:
    with pytest.raises(ManifestError, match="not annotated"):
        parse_labels({"labels": {"background": 0, "tumour": 1, "ignore": 2}}, source="x")


def test_a_table_of_another_encoding_says_how_to_save_it(split_task: Path) -> None:
    (split_task / "cases.csv").write_bytes("case,patient\nb,Müller\n".encode("cp1252"))
    with pytest.raises(ManifestError, match="save it as CSV UTF-8"):
        build_manifest(split_task, channels=["PET", "CT"], labels=["x"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("case;patient\nb;P1\n", "columns case;patient, expected case and any of patient, subtype"),
        ("", "columns , expected"),
        ("case,patient\nB,P1\n", "no images of 'B'"),
        ("case,patient\nb,P1\nb,P2\n", "several rows for b"),
    ],
)
def test_unusable_cases_csv(split_task: Path, table: str, message: str) -> None:
    (split_task / "cases.csv").write_text(table)
    with pytest.raises(ManifestError, match=message):
        build_manifest(split_task, channels=["PET", "CT"], labels=["x"])


@pytest.mark.parametrize("layout", ["split_task", "whole_task"])
def test_round_trip(layout: str, request: pytest.FixtureRequest) -> None:
    task_dir = request.getfixturevalue(layout)
    case = sorted((task_dir / "labelsTr").iterdir())[0].name.removesuffix(".nii.gz")
    (task_dir / "cases.csv").write_text(f"case,patient,subtype\n{case},P 1,ü\n", encoding="utf-8")
    manifest = build_manifest(task_dir, channels=["PET", "CT"], labels=["tumour", "edema"])
    write_manifest(task_dir, manifest)
    assert read_manifest(task_dir) == manifest
    assert read_manifest(task_dir).content_hash() == manifest.content_hash()


def test_round_trip_with_missing_files_and_mixed_endings(split_task: Path) -> None:
    (split_task / "imagesTr/a_1_0000.nii.gz").unlink()
    (split_task / "labelsTr/a_1.nii.gz").unlink()
    (split_task / "imagesTr/b_0001.nii.gz").rename(split_task / "imagesTr/b_0001.nrrd")
    manifest = build_manifest(split_task, channels=["PET", "CT"], labels=["x"])
    write_manifest(split_task, manifest)
    assert read_manifest(split_task) == manifest


def test_the_written_file_has_the_decathlons_form(split_task: Path) -> None:
    write_manifest(split_task, build_manifest(split_task, channels=["PET", "CT"], labels=["tumour"]))
    data = json.loads((split_task / "dataset.json").read_text(encoding="utf-8"))
    assert data["name"] == "Task501 Läsion"
    assert data["modality"] == {"0": "PET", "1": "CT"}
    assert data["labels"] == {"0": "background", "1": "tumour"}
    assert (data["numTraining"], data["numTest"]) == (2, 2)
    assert data["training"][0] == {"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}
    assert data["test"] == [
        {"image": "./imagesTs/t.nii.gz", "label": "./labelsTs/t.nii.gz"},
        "./imagesTs/u.nii.gz",
    ]


MSD: dict[str, Any] = {
    "name": "X",
    "licence": "CC",
    "relase": "1.0",
    "modality": {"0": "T1", "1": "T2"},
    "labels": {"0": "background", "1": "x"},
    "training": [{"image": "./imagesTr/case_0000.nii.gz", "label": "./labelsTr/case_0000.nii.gz"}],
    "test": ["./imagesTs/t.nii.gz"],
}


def read_changed(task_dir: Path, **changes: object) -> DatasetManifest:
    data = {key: value for key, value in (MSD | changes).items() if value is not None}
    (task_dir / "dataset.json").write_text(json.dumps(data))
    return read_manifest(task_dir)


def test_msd_file(whole_task: Path) -> None:
    add_files(whole_task, "imagesTs/t.nii.gz", "labelsTs/t.nii")
    manifest = read_changed(whole_task)
    assert manifest.task == "Task04"
    assert manifest.training == (
        CaseEntry(id="case_0000", images=("imagesTr/case_0000.nii.gz",), label="labelsTr/case_0000.nii.gz"),
    )
    assert manifest.test == (CaseEntry(id="t", images=("imagesTs/t.nii.gz",), label="labelsTs/t.nii"),)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "tumour": 1, "edema": 2}, {"tumour": 1, "edema": 2}),
        ({"0": "background", "2": "b", "1": "a"}, {"a": 1, "b": 2}),
        ({"1": "only"}, {"only": 1}),
        ({"background": "0", "a": "1"}, {"a": 1}),
    ],
)
def test_labels_in_either_direction(whole_task: Path, labels: dict[str, Any], expected: dict[str, int]) -> None:
    found = read_changed(whole_task, labels=labels).labels
    assert found == expected
    assert list(found.values()) == sorted(found.values())


def test_channels_of_nnunet_and_as_a_list(whole_task: Path) -> None:
    assert read_changed(whole_task, modality=None, channel_names={"1": "CT", "0": "PET"}).channels == (
        "PET",
        "CT",
    )
    assert read_changed(whole_task, modality=["PET", "CT"]).channels == ("PET", "CT")


def test_without_a_list_of_cases_the_folder_is_listed(split_task: Path) -> None:
    (split_task / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "x": 1}, "numTraining": 2})
    )
    assert read_manifest(split_task) == build_manifest(split_task, channels=["CT", "PET"], labels=["x"])


def test_a_list_of_channel_files(split_task: Path) -> None:
    images = ["imagesTr/b_0000.nii.gz", "./imagesTr/b_0001.nii.gz"]
    training = [{"image": images, "label": "labelsTr/b.nii.gz", "patient": 7}]
    (entry,) = read_changed(split_task, training=training, test=[]).training
    assert (entry.id, entry.patient) == ("b", "7")
    assert entry.images == ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz")


def test_a_path_with_its_only_channel_is_named_by_its_mask(tmp_path: Path) -> None:
    add_files(tmp_path, "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz")
    training = [{"image": "imagesTr\\b_0000.nii.gz", "label": "labelsTr/b.nii.gz"}]
    (entry,) = read_changed(tmp_path, training=training, modality={"0": "PET"}, test=[]).training
    assert entry == CaseEntry(id="b", images=("imagesTr/b_0000.nii.gz",), label="labelsTr/b.nii.gz")


def test_missing_dataset_json_shows_the_line_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError,
        match=r"dataset\.json is not there; run `interactivepet_generate_dataset_json -t .* -m .* -l ",
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "labels is None"),
        ({"labels": {"a": [1, 2]}}, r"nnU-Net's regions \(a\), labels that overlap, are not supported"),
        ({"labels": {"0": "background", "1": "a", "3": "b"}}, r"values \[1, 3\], expected 1, 2"),
        ({"labels": {"0": "background"}}, "0 labels"),
        ({"modality": None}, "modality is None"),
        ({"modality": {"0": "a", "2": "b"}}, "modality is"),
        ({"modality": "PET"}, "modality is 'PET'"),
        ({"modality": {"0": 3}}, "different names, none empty"),
        ({"training": {}}, "training is a dict"),
        ({"training": [{"label": "labelsTr/a.nii.gz"}]}, r"training\[0\]: file None"),
        ({"training": [{"image": []}]}, "no image"),
        ({"training": [{"image": "/etc/a.nii.gz"}]}, "expected such as ./imagesTr"),
        ({"training": [{"image": "../other/a.nii.gz"}]}, "expected such as ./imagesTr"),
        ({"test": ["imagesTs/a.dcm"]}, r"test\[0\].*unknown ending"),
    ],
)
def test_unusable_dataset_json(whole_task: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_changed(whole_task, **changes)


@pytest.mark.parametrize("text", ["{", "[1]", "\ud83d"])
def test_dataset_json_that_is_no_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(ManifestError, match=r"dataset\.json"):
        read_manifest(tmp_path)


@pytest.mark.real_data
def test_real_msd_task(real_data: Path) -> None:
    task_dir = real_data / "Task004_Hippocampus"
    manifest = read_manifest(task_dir)
    assert manifest.channels == ("MRI",)
    assert manifest.labels == {"Anterior": 1, "Posterior": 2}
    assert len(manifest.training) == 60
    assert build_manifest(task_dir, channels=["MRI"], labels=["Anterior", "Posterior"]) == manifest


@pytest.mark.real_data
def test_real_tasks_of_one_file_a_channel(real_data: Path) -> None:
    pet = build_manifest(real_data / "Task501_STSPET", channels=["PET"], labels=["tumour"])
    both = build_manifest(real_data / "Task502_STSPETCT", channels=["PET", "CT"], labels=["tumour"])
    assert len(pet.training) == len(both.training) == 36
    assert [entry.id for entry in pet.training] == [entry.id for entry in both.training]
    assert both.training[0].images == ("imagesTr/STS_001_0000.nii.gz", "imagesTr/STS_001_0001.nii.gz")
    with pytest.raises(ManifestError, match="2 channels, expected 1"):
        build_manifest(real_data / "Task502_STSPETCT", channels=["PET"], labels=["tumour"])


@pytest.mark.parametrize(
    ("table", "patients"),
    [
        ("case,patient\ncase_0000,P1\ncase_0001,P1\nother,P2\n", ["P1", "P1"]),
        ("id,age\n1,60\n", [None, None]),
    ],
)
def test_a_table_of_others_beside_their_dataset_json_is_no_hindrance(
    table: str, patients: list[str | None], whole_task: Path
) -> None:
    write_manifest(whole_task, build_manifest(whole_task, channels=["a", "b"], labels=["x"]))
    (whole_task / "cases.csv").write_text(table)
    assert [entry.patient for entry in read_manifest(whole_task).training] == patients
