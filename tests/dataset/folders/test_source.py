from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.source import find_folder_source
from interactivepet.errors import CaseError, ManifestError

SHAPE = (9, 8, 7)
AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])
GEOMETRY = Geometry(SHAPE, AFFINE)
FINE = Geometry((36, 32, 7), np.diag([-1.0, -1.0, 3.0, 1.0]) + np.eye(4, k=3) * 1.5)


def make_image(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 4.0, size=shape).astype(np.float32)


def make_mask(*values: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    for value in values:
        mask[2 * value : 2 * value + 2, 2:5, 2:5] = value
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def find(folder: Path, **options: Any) -> ImportSource:
    return find_folder_source(folder, options=FolderOptions(**options))


def ids(source: ImportSource) -> list[str]:
    return [job.id for job in source.training]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three cases of two patients in a sub-folder, with a table."""
    folder = tmp_path / "pairs"
    for number, name in enumerate(("P1_a", "P1_b", "P2_a")):
        save(folder / "NIfTI" / f"{name}.nii.gz", make_image(number))
        save(folder / "NIfTI" / f"{name}_mask.nii.gz", make_mask(1, 2))
    rows = "file_base,patient,study\nP1_a,P1,rest\nP1_b,P1,stress\nP2_a,P2,rest\n"
    (folder / "demographics.csv").write_text(rows, encoding="utf-8")
    return folder


class TestPairs:
    def test_cases_labels_and_patients(self, pairs: Path) -> None:
        source = find(pairs)
        assert source.layout == "volumes beside their masks"
        assert (source.channels, source.labels) == (("image",), ("label_1", "label_2"))
        assert [(job.id, job.patient) for job in source.training] == [("P1_a", "P1"), ("P1_b", "P1"), ("P2_a", "P2")]
        assert source.passed_over == {}
        case = source.training[1].load().case
        np.testing.assert_array_equal(case.image[0], make_image(1))
        np.testing.assert_array_equal(case.label, make_mask(1, 2))
        np.testing.assert_array_equal(case.geometry.affine, AFFINE)

    def test_names_of_the_user(self, pairs: Path) -> None:
        source = find(pairs, channels=("SPECT",), labels=("myocardium", "cavity"))
        assert (source.channels, source.labels) == (("SPECT",), ("myocardium", "cavity"))

    def test_one_label_has_a_name_of_its_own(self, pairs: Path) -> None:
        for path in pairs.rglob("*_mask.nii.gz"):
            save(path, make_mask(1))
        assert find(pairs).labels == ("lesion",)

    @pytest.mark.parametrize("ending", [".nrrd", ".mha"])
    def test_other_formats(self, tmp_path: Path, ending: str) -> None:
        write_image(tmp_path / f"A{ending}", make_image()[None], geometry=GEOMETRY)
        write_mask(tmp_path / f"A_mask{ending}", make_mask(1), geometry=GEOMETRY)
        case = find(tmp_path).training[0].load().case
        np.testing.assert_array_equal(case.label, make_mask(1))
        assert case.geometry.matches(GEOMETRY)

    def test_a_mask_never_becomes_a_volume(self, pairs: Path) -> None:
        (pairs / "NIfTI" / "P2_a.nii.gz").unlink()
        (pairs / "demographics.csv").unlink()
        source = find(pairs)
        assert ids(source) == ["P1_a", "P1_b"]
        assert source.passed_over == {"NIfTI/P2_a_mask.nii.gz": "a mask without its volume"}
        debug = find(pairs, allow_mask_as_volume=True)
        assert ids(debug) == ["P1_a", "P1_b", "P2_a"]
        case = debug.training[2].load().case
        np.testing.assert_array_equal(case.image[0], case.label)

    def test_only_masks_are_refused_with_the_way_to_debug(self, pairs: Path) -> None:
        for path in pairs.glob("NIfTI/*[ab].nii.gz"):
            path.unlink()
        with pytest.raises(ManifestError, match=r"P1_a_mask.nii.gz: a mask without its volume.*--allow-mask-as-volume"):
            find(pairs)

    def test_a_volume_that_is_the_mask_is_refused(self, pairs: Path) -> None:
        save(pairs / "NIfTI" / "P1_a.nii.gz", 3.0 * make_mask(1, 2))
        with pytest.raises(CaseError, match=r"image is 0 exactly where the mask P1_a_mask\.nii\.gz is"):
            find(pairs).training[0].load()
        assert find(pairs, allow_mask_as_volume=True).training[0].load().case.image.max() == 6

    def test_a_volume_without_mask_is_a_test_case(self, pairs: Path) -> None:
        (pairs / "NIfTI" / "P2_a_mask.nii.gz").unlink()
        source = find(pairs)
        assert (ids(source), [job.id for job in source.test]) == (["P1_a", "P1_b"], ["P2_a"])
        assert source.test[0].load().case.label is None

    def test_a_name_with_the_word_label_is_still_a_volume(self, tmp_path: Path) -> None:
        save(tmp_path / "study_label_3.nii.gz", make_image())
        save(tmp_path / "study_label_3_mask.nii.gz", make_mask(1))
        assert ids(find(tmp_path)) == ["study_label_3"]

    def test_the_word_image_is_no_part_of_the_name(self, tmp_path: Path) -> None:
        save(tmp_path / "STS_001_image.nii.gz", make_image())
        save(tmp_path / "STS_001_mask.nii.gz", make_mask(1))
        assert ids(find(tmp_path)) == ["STS_001"]

    def test_equal_names_in_two_folders_keep_the_folders_name(self, tmp_path: Path) -> None:
        for site in ("Rotterdam", "Zürich"):
            save(tmp_path / site / "001.nii.gz", make_image())
            save(tmp_path / site / "001_mask.nii.gz", make_mask(1))
        assert ids(find(tmp_path)) == ["Rotterdam_001", "Zurich_001"]

    def test_two_files_of_one_name_are_refused(self, pairs: Path) -> None:
        shutil.copy(pairs / "NIfTI" / "P1_a.nii.gz", pairs / "NIfTI" / "P1_a.nii")
        with pytest.raises(ManifestError, match=r"P1_a.nii and .*P1_a.nii.gz have one name"):
            find(pairs)


class TestMasks:
    def test_one_file_a_label(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask_tumour.nii.gz", make_mask(1))
        save(tmp_path / "A_mask_edema.nii.gz", make_mask(2))
        save(tmp_path / "B.nii.gz", make_image(1))
        save(tmp_path / "B_mask_tumour.nii.gz", make_mask(1))
        assert find(tmp_path).labels == ("edema", "tumour")
        source = find(tmp_path, labels=("tumour", "edema"))
        labels = [job.load().case.label for job in source.training]
        np.testing.assert_array_equal(labels[0], make_mask(1) + 2 * (make_mask(2) > 0))
        np.testing.assert_array_equal(labels[1], make_mask(1))
        with pytest.raises(
            ManifestError, match="the masks are of edema, tumour, expected one a label for tumour, node"
        ):
            find(tmp_path, labels=("tumour", "node"))

    def test_one_volume_a_label(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", np.stack([make_mask(1) > 0, make_mask(3) > 0], axis=-1).astype(np.uint8))
        source = find(tmp_path)
        assert source.labels == ("label_1", "label_2")
        np.testing.assert_array_equal(source.training[0].load().case.label, make_mask(1) + 2 * (make_mask(3) > 0))

    def test_volumes_that_fill_the_image_hold_the_background(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", np.stack([make_mask(1) == 0, make_mask(1) > 0], axis=-1).astype(np.uint8))
        with pytest.raises(CaseError, match="one of them is the background"):
            find(tmp_path).training[0].load()

    def test_labels_that_overlap_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask_tumour.nii.gz", make_mask(1))
        save(tmp_path / "A_mask_node.nii.gz", make_mask(1))
        with pytest.raises(CaseError, match="18 voxels belong to"):
            find(tmp_path).training[0].load()


class TestTables:
    def test_a_case_without_patient_is_refused(self, pairs: Path) -> None:
        (pairs / "demographics.csv").write_text("file_base,patient\nP1_a,P1\nP1_b,\n", encoding="utf-8")
        with pytest.raises(ManifestError, match=r"no patient for 2 cases \(P1_b, P2_a\)"):
            find(pairs)

    def test_semicolons_spaces_and_subtypes(self, pairs: Path) -> None:
        text = "Case;Patient;Diagnosis\nP1_a; P1 ;x\nP1_b;P1;x\nP2_a;P2;y\nP9;P9;y\n"
        (pairs / "cases.csv").write_text(text, encoding="utf-8-sig")
        source = find(pairs)
        assert [(job.patient, job.subtype) for job in source.training] == [("P1", "x"), ("P1", "x"), ("P2", "y")]
        assert source.passed_over["cases.csv: P9"] == "no volume has this name"

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("name,age\nP1_a,7\n", "columns name, age, expected case or file_base"),
            ("case,patient\nP1_a,P1\nP1_a,P2\n", "several rows for P1_a"),
        ],
    )
    def test_tables_that_cannot_be_used(self, pairs: Path, text: str, match: str) -> None:
        (pairs / "demographics.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ManifestError, match=match):
            find(pairs)

    def test_a_table_that_is_no_text(self, pairs: Path) -> None:
        (pairs / "demographics.csv").write_bytes(b"case,patient\nM\xfcller,1\n")
        with pytest.raises(ManifestError, match="save it as UTF-8"):
            find(pairs)


@pytest.fixture
def native(tmp_path: Path) -> Path:
    """A PET with its mask, and a CT on a grid four times as fine."""
    folder = tmp_path / "native"
    save(folder / "S_1_PET_image.nii.gz", make_image())
    save(folder / "S_1_PET_mask.nii.gz", make_mask(1))
    save(folder / "S_1_CT_image.nii.gz", np.full(FINE.shape, -1000, np.float32) + 1000 * (make_ct() > 0), FINE.affine)
    return folder


def make_ct() -> np.ndarray:
    body = np.zeros(FINE.shape, np.float32)
    body[8:28, 8:28] = 1
    return body


class TestChannels:
    def test_the_ct_comes_to_the_pet(self, native: Path) -> None:
        source = find(native)
        assert (source.channels, source.labels, ids(source)) == (("PET", "CT"), ("lesion",), ["S_1"])
        assert source.layout == "one file a channel beside the masks"
        imported = source.training[0].load()
        assert imported.case.image.shape == (2, *SHAPE)
        np.testing.assert_array_equal(imported.case.image[0], make_image())
        assert imported.case.image[1, 4, 4, 3] == pytest.approx(0, abs=1)
        assert imported.case.image[1, 0, 0, 3] == pytest.approx(-1000, abs=1)
        note = json.loads(imported.notes["grid.json"])
        assert note["grid_of"] == "PET"
        assert note["resampled"]["CT"]["padding"] == -1000
        assert 0 <= note["resampled"]["CT"]["padded_share"] < 0.05

    def test_or_all_come_to_the_finest_grid(self, native: Path) -> None:
        imported = find(native, grid="finest").training[0].load()
        assert imported.case.geometry.matches(FINE)
        assert imported.case.label is not None
        note = json.loads(imported.notes["grid.json"])["resampled"]
        assert note["mask"]["volume_ml_after"] == pytest.approx(note["mask"]["volume_ml_before"], rel=0.15)
        assert note["PET"]["padding"] == 0
        assert set(np.unique(imported.case.label)) == {0, 1}

    def test_the_user_orders_and_chooses_channels(self, native: Path) -> None:
        assert find(native, channels=("ct", "pet")).channels == ("ct", "pet")
        chosen = find(native, channels=("PET",))
        assert chosen.passed_over == {"S_1_CT_image.nii.gz": "a channel that -m does not name"}
        assert chosen.training[0].load().case.image.shape == (1, *SHAPE)
        with pytest.raises(ManifestError, match="S_1: no volume of the channel MR, only of CT, PET"):
            find(native, channels=("PET", "MR"))

    def test_channels_named_by_the_user_need_no_word_image(self, native: Path) -> None:
        for channel in ("PET", "CT"):
            (native / f"S_1_{channel}_image.nii.gz").rename(native / f"S_1__{channel}.nii.gz")
        (native / "S_1_PET_mask.nii.gz").rename(native / "S_1_mask.nii.gz")
        source = find(native, channels=("PET", "CT"))
        assert ids(source) == ["S_1"]
        assert source.training[0].load().case.image.shape == (2, *SHAPE)

    def test_channels_of_other_places_are_refused_with_both_boxes(self, native: Path) -> None:
        far = FINE.affine.copy()
        far[2, 3] = 900
        save(native / "S_1_CT_image.nii.gz", make_ct() - 1000, far)
        with pytest.raises(CaseError, match=r"CT on the grid of PET: the box .* z 900 to 918 mm covers 0%"):
            find(native).training[0].load()

    def test_a_mask_on_the_grid_of_the_ct(self, native: Path) -> None:
        (native / "S_1_PET_mask.nii.gz").unlink()
        mask = np.zeros(FINE.shape, np.uint8)
        mask[12:20, 12:20, 2:5] = 1
        save(native / "S_1_CT_mask.nii.gz", mask, FINE.affine)
        imported = find(native).training[0].load()
        expected = np.zeros(SHAPE, np.uint8)
        expected[3:5, 3:5, 2:5] = 1
        np.testing.assert_array_equal(imported.case.label, expected)


def write_task(folder: Path, manifest: dict[str, Any] | None, *, by_channel: bool = True, n_channels: int = 2) -> None:
    for case in ("case_01", "case_02"):
        for channel in range(n_channels):
            name = f"{case}_{channel:04d}" if by_channel else case
            save(folder / "imagesTr" / f"{name}.nii.gz", make_image(channel))
        save(folder / "labelsTr" / f"{case}.nii.gz", make_mask(1))
    if manifest is not None:
        (folder / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")


class TestTasks:
    def test_nnunet_version_2(self, tmp_path: Path) -> None:
        labels = {"background": 0, "tumour": 1}
        write_task(tmp_path, {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels, "file_ending": ".nii.gz"})
        save(tmp_path / "imagesTs" / "case_09_0000.nii.gz", make_image())
        save(tmp_path / "imagesTs" / "case_09_0001.nii.gz", make_image(1))
        source = find(tmp_path)
        assert source.layout == "raw dataset of nnU-Net"
        assert (source.channels, source.labels, ids(source)) == (("CT", "PET"), ("tumour",), ["case_01", "case_02"])
        assert [job.id for job in source.test] == ["case_09"]
        np.testing.assert_array_equal(source.training[0].load().case.image[1], make_image(1))
        chosen = find(tmp_path, channels=("PET",))
        np.testing.assert_array_equal(chosen.training[0].load().case.image, make_image(1)[None])

    def test_nnunet_version_1(self, tmp_path: Path) -> None:
        training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("case_01",)]
        labels = {"0": "background", "1": "tumour"}
        write_task(tmp_path, {"modality": {"0": "CT", "1": "PET"}, "labels": labels, "training": training, "test": []})
        source = find(tmp_path, channels=("HU", "SUV"), labels=("lesion",))
        assert (source.channels, source.labels, ids(source)) == (("HU", "SUV"), ("lesion",), ["case_01"])
        assert source.training[0].load().case.image.shape == (2, *SHAPE)

    def test_the_decathlon_with_channels_in_one_file(self, tmp_path: Path) -> None:
        write_task(tmp_path, None, by_channel=False, n_channels=1)
        for case in ("case_01", "case_02"):
            save(tmp_path / "imagesTr" / f"{case}.nii.gz", np.stack([make_image(0), make_image(1)], axis=-1))
        source = find(tmp_path, channels=("A", "B"))
        assert source.layout == "task of the Medical Segmentation Decathlon"
        np.testing.assert_array_equal(source.training[0].load().case.image[1], make_image(1))

    def test_interactivenet_with_its_points_and_its_way_to_number_labels(self, tmp_path: Path) -> None:
        items = [
            {"image": f"imagesTr/{c}_0000.nii.gz", "label": f"labelsTr/{c}.nii.gz", "class": "a"} for c in ("case_01",)
        ]
        write_task(
            tmp_path, {"modality": {"0": "PET"}, "labels": {"0": "tumour"}, "train": items, "test": []}, n_channels=1
        )
        points = np.zeros(SHAPE, np.uint8)
        points[2, 3, 4] = points[3, 2, 2] = 1
        save(tmp_path / "interactionsTr" / "case_01.nii.gz", points)
        source = find(tmp_path)
        assert source.layout == "task of InteractiveNet"
        assert (source.labels, [job.subtype for job in source.training]) == (("tumour",), ["a", None])
        clicks = source.training[0].load().clicks
        assert clicks is not None
        assert {click.position_mm for click in clicks} == {(-8, -12, 12), (-12, -8, 6)}
        assert all(click.is_positive and click.label == 1 for click in clicks)
        assert source.training[1].load().clicks is None

    def test_autopet_in_the_form_of_nnunet_keeps_patients_together(self, tmp_path: Path) -> None:
        names = (
            "fdg_0b57b247b6_05-02-2002-NA-PET-CT Ganzkoerper  primaer mit KM",
            "fdg_0b57b247b6_06-03-2003-NA-PET-CT Ganzkoerper",
            "psma_95b833d65be26d2f_2018-04-23",
        )
        for name in names:
            for channel in (0, 1):
                save(tmp_path / "imagesTr" / f"{name}_{channel:04d}.nii.gz", make_image(channel))
            save(tmp_path / "labelsTr" / f"{name}.nii.gz", make_mask(1))
        manifest = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}
        (tmp_path / "dataset.json").write_text(json.dumps(manifest))
        source = find(tmp_path)
        assert source.layout == "autoPET"
        assert [(job.patient, job.subtype) for job in source.training] == [
            ("fdg_0b57b247b6", "fdg"),
            ("fdg_0b57b247b6", "fdg"),
            ("psma_95b833d65be26d2f", "psma"),
        ]
        assert source.training[0].id == "fdg_0b57b247b6_05-02-2002-NA-PET-CT_Ganzkoerper_primaer_mit_KM"
        assert source.training[0].load().case.image.shape == (2, *SHAPE)

    def test_autopet_as_a_tree(self, tmp_path: Path) -> None:
        for patient, study in (("PETCT_1", "01-01-2001 a"), ("PETCT_1", "02-02-2002 b"), ("PETCT_2", "03-03-2003 c")):
            place = tmp_path / patient / study
            save(place / "SUV.nii.gz", make_image())
            save(place / "PET.nii.gz", 9000 * make_image())
            save(place / "CT.nii.gz", make_ct() - 1000, FINE.affine)
            save(place / "CTres.nii.gz", 100 * make_image() - 1000)
            save(place / "SEG.nii.gz", make_mask(1))
        (tmp_path / "PETCT_2" / "03-03-2003 c" / "SEG.nii.gz").unlink()
        source = find(tmp_path)
        assert source.layout == "autoPET"
        assert (source.channels, source.labels) == (("PET", "CT"), ("lesion",))
        assert [(job.id, job.patient) for job in source.training] == [
            ("PETCT_1_01-01-2001_a", "PETCT_1"),
            ("PETCT_1_02-02-2002_b", "PETCT_1"),
        ]
        assert [job.id for job in source.test] == ["PETCT_2_03-03-2003_c"]
        case = source.training[0].load().case
        np.testing.assert_array_equal(case.image[0], make_image())
        np.testing.assert_array_equal(case.image[1], 100 * make_image() - 1000)
        (tmp_path / "PETCT_2" / "03-03-2003 c" / "CTres.nii.gz").unlink()
        assert find(tmp_path).test[0].load().notes.keys() == {"grid.json"}

    def test_channels_that_nobody_names_are_asked_for(self, tmp_path: Path) -> None:
        write_task(tmp_path, None)
        with pytest.raises(ManifestError, match="names its 2 channels; name them with -m"):
            find(tmp_path)
        assert find(tmp_path, channels=("PET", "CT")).labels == ("lesion",)

    def test_names_that_do_not_fit_the_channels(self, tmp_path: Path) -> None:
        write_task(tmp_path, {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumour": 1}})
        with pytest.raises(ManifestError, match="the channels are CT, PET, but -m names MR"):
            find(tmp_path, channels=("MR",))


class TestRecognition:
    def test_a_folder_of_nothing_known(self, tmp_path: Path) -> None:
        save(tmp_path / "a" / "scan.nii.gz", make_image())
        with pytest.raises(ManifestError, match=r"1 volumes such as a/scan.nii.gz in no layout that is known"):
            find(tmp_path)

    def test_a_folder_without_volumes(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("x")
        with pytest.raises(ManifestError, match="1 files, none of them NIfTI, NRRD or MHA"):
            find(tmp_path)

    def test_the_layout_can_be_told(self, tmp_path: Path) -> None:
        write_task(tmp_path / "imagesTr" / "odd", None)
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(1))
        assert "A" in ids(find(tmp_path, layout="pairs"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "layout", "n_cases", "labels"),
    [
        ("native_grids", "one file a channel beside the masks", 1, ("lesion",)),
        ("MPI_SPECT", "volumes beside their masks", 48, ("label_1", "label_2")),
        ("Task004_Hippocampus", "task of the Medical Segmentation Decathlon", 60, ("Anterior", "Posterior")),
    ],
)
def test_real_folders(real_data: Path, name: str, layout: str, n_cases: int, labels: tuple[str, ...]) -> None:
    source = find(real_data / name)
    assert (source.layout, len(source.training), source.labels) == (layout, n_cases, labels)
    assert source.training[0].load().case.label is not None
    if name == "MPI_SPECT":
        assert len({job.patient for job in source.training}) == 12


def test_two_masks_of_one_case_are_told(tmp_path: Path) -> None:
    for name in ("P1", "P1_mask", "P1_seg"):
        save(tmp_path / f"{name}.nii.gz", make_mask(1) if "_" in name else make_image())
    with pytest.raises(ManifestError, match="both the mask of P1"):
        find(tmp_path)
