"""Volumes and masks in files as users have them: what the case becomes, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from interactivepet.core.imported import ImportedCase, ImportSource
from interactivepet.dataset.folders.options import FolderOptions
from interactivepet.dataset.folders.source import find_folder_source
from interactivepet.errors import CaseError, ManifestError

SHAPE = (9, 8, 7)
AFFINE = np.array([[-4.0, 0, 0, 10], [0, -4, 0, 5], [0, 0, 3, -50], [0, 0, 0, 1]])


def make_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 4.0, size=SHAPE).astype(np.float32)


def make_mask(*values: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.int16)
    for number, value in enumerate(values):
        mask[3 * number + 1 : 3 * number + 3, 2:5, 2:6] = value
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def find(folder: Path, **options: Any) -> ImportSource:
    return find_folder_source(folder, options=FolderOptions(**options))


def load(folder: Path, **options: Any) -> ImportedCase:
    (job,) = find(folder, **options).training
    return job.load()


def flip(axis: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = -1, SHAPE[axis] - 1
    return matrix


class TestPlaces:
    """Masks on the voxels of the image."""

    @pytest.mark.parametrize(
        ("turn", "affine", "words"),
        [
            (lambda mask: mask[:, :, ::-1], AFFINE @ flip(2), "flipped"),
            (lambda mask: mask[::-1, ::-1], AFFINE @ flip(0) @ flip(1), "flipped"),
            (lambda mask: mask.transpose(2, 0, 1), AFFINE[:, [2, 0, 1, 3]], "axes in another order"),
            (lambda mask: mask[:, 1:6], AFFINE + np.outer(AFFINE[:, 1], [0, 0, 0, 1]), "cropped"),
            (
                lambda mask: np.pad(mask, ((0, 0), (0, 0), (2, 0))),
                AFFINE - 2 * np.outer(AFFINE[:, 2], [0, 0, 0, 1]),
                "padded",
            ),
        ],
        ids=["flipped", "turned by 180 degrees", "order of axes", "cropped", "padded"],
    )
    def test_a_mask_is_placed_voxel_by_voxel(self, tmp_path: Path, turn: Any, affine: np.ndarray, words: str) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", turn(make_mask(1, 2)), affine)
        case = load(tmp_path)
        np.testing.assert_array_equal(case.case.label, make_mask(1, 2))
        assert case.remarks == (f"the mask was placed on the voxels of the image without loss: {words}",)

    def test_one_file_per_label_each_cropped_to_it(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask_a.nii.gz", make_mask(1)[:, 1:6], AFFINE + np.outer(AFFINE[:, 1], [0, 0, 0, 1]))
        save(tmp_path / "A_mask_b.nii.gz", make_mask(0, 1)[2:], AFFINE + 2 * np.outer(AFFINE[:, 0], [0, 0, 0, 1]))
        np.testing.assert_array_equal(load(tmp_path).case.label, make_mask(1, 2))

    @pytest.mark.parametrize(
        ("affine", "message"),
        [
            (AFFINE @ np.diag([1, 1, 0.5, 1]), "resample the mask to the image's voxels"),
            (AFFINE + np.outer(AFFINE[:, 0], [0, 0, 0, 1]), "4 mm apart"),
            (AFFINE + 0.3 * np.outer(AFFINE[:, 0], [0, 0, 0, 1]), "1.2 mm apart"),
        ],
        ids=["other voxels", "same shape, shifted by a voxel", "between voxels"],
    )
    def test_other_grids_are_refused(self, tmp_path: Path, affine: np.ndarray, message: str) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(1), affine)
        with pytest.raises(CaseError, match=message):
            load(tmp_path)

    def test_labelled_voxels_outside_of_the_image_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image()[:, :, 3:], AFFINE + 3 * np.outer(AFFINE[:, 2], [0, 0, 0, 1]))
        save(tmp_path / "A_mask.nii.gz", make_mask(1))
        with pytest.raises(CaseError, match=r"A_mask.nii.gz: 6 of its 24 labelled voxels lie outside of the image"):
            load(tmp_path)


class TestValues:
    """Masks of 0 and one other value, and of none."""

    @pytest.mark.parametrize("value", [2, 7, 255, 1000, -1])
    @pytest.mark.parametrize("labels", [(), ("tumour",)])
    def test_one_other_value_is_the_only_label(self, tmp_path: Path, value: int, labels: tuple[str, ...]) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(value))
        case = load(tmp_path, labels=labels)
        np.testing.assert_array_equal(case.case.label, make_mask(1))
        name = labels[0] if labels else "lesion"
        assert case.remarks == (f"the mask holds 0 and {value}; {value} was taken for {name}",)

    @pytest.mark.parametrize(
        ("mask", "labels", "message"),
        [
            (make_mask(1, 255), ("tumour",), r"the mask holds 255, expected 0 or 1 \(tumour\)"),
            (make_mask(255), ("tumour", "node"), r"the mask holds 255, expected 0 or 1 \(tumour\), 2 \(node\)"),
            (make_mask(1) * np.float32(0.5), ("tumour",), "24 voxels hold no integer"),
            (np.where(make_mask(1) > 0, 1, np.nan).astype(np.float32), ("tumour",), "hold no integer"),
        ],
        ids=["two values", "two labels", "fraction", "NaN around it"],
    )
    def test_other_values_are_refused(
        self, tmp_path: Path, mask: np.ndarray, labels: tuple[str, ...], message: str
    ) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", mask)
        with pytest.raises(CaseError, match=message):
            load(tmp_path, labels=labels)

    def test_one_volume_per_label_may_hold_any_value(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", np.stack([make_mask(255), make_mask(0, 3)], axis=-1))
        np.testing.assert_array_equal(load(tmp_path).case.label, make_mask(1, 2))

    @pytest.mark.parametrize("shape", [(9, 8, 7), (9, 8, 1), (9, 1, 7)])
    @pytest.mark.parametrize("value", [1, 255])
    def test_exchanged_label_and_background_are_refused(
        self, tmp_path: Path, shape: tuple[int, int, int], value: int
    ) -> None:
        mask = np.full(shape, value, np.uint8)
        mask[3:5, shape[1] // 2, shape[2] // 2] = 0
        save(tmp_path / "A.nii.gz", np.random.default_rng(0).uniform(0.5, 4, size=shape).astype(np.float32))
        save(tmp_path / "A_mask.nii.gz", mask)
        with pytest.raises(CaseError, match="label and background seem to be exchanged; save it with 0 as background"):
            load(tmp_path, labels=("tumour",))

    def test_a_large_label_and_one_at_a_border_are_none_of_these(self, tmp_path: Path) -> None:
        mask = np.ones(SHAPE, np.uint8)
        mask[0, 0, 0] = 0
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", mask)
        np.testing.assert_array_equal(load(tmp_path).case.label, mask)

    def test_a_mask_without_lesion_is_told(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask())
        assert load(tmp_path).remarks == ("the mask holds no labelled voxel",)


class TestFrames:
    """Dynamic and gated images, 4D where one volume is expected."""

    FRAMES = np.stack([make_image(seed) for seed in range(3)], axis=-1)

    def write(self, folder: Path, layout: str) -> None:
        """Write one case whose image has three frames, in one of the layouts."""
        if layout in ("pairs", "channels"):
            name = "A" if layout == "pairs" else "A_PET_image"
            save(folder / f"{name}.nii.gz", self.FRAMES)
            save(folder / "A_mask.nii.gz", make_mask(1))
        elif layout == "autopet":
            save(folder / "P1" / "S1" / "SUV.nii.gz", self.FRAMES)
            save(folder / "P1" / "S1" / "CTres.nii.gz", make_image())
            save(folder / "P1" / "S1" / "SEG.nii.gz", make_mask(1))
        else:
            save(folder / "imagesTr" / ("A.nii.gz" if "msd" in layout else "A_0000.nii.gz"), self.FRAMES)
            save(folder / "labelsTr" / "A.nii.gz", make_mask(1))
        if layout.endswith("json"):
            content = {
                "channel_names": {"0": "PET"},
                "labels": {"background": 0, "tumour": 1},
                "file_ending": ".nii.gz",
            }
            (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")

    LAYOUTS = ("pairs", "channels", "nnunet", "nnunet json", "msd", "msd json", "autopet")

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_they_are_refused_by_name(self, tmp_path: Path, layout: str) -> None:
        self.write(tmp_path, layout)
        with pytest.raises(
            (CaseError, ManifestError), match=r"(3 volumes in one file|3 channels, expected 1).*--time-frame"
        ):
            load(tmp_path)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("frame", [2, "last", "mean"])
    def test_one_frame_is_taken_on_demand(self, tmp_path: Path, layout: str, frame: Any) -> None:
        self.write(tmp_path, layout)
        case = load(tmp_path, time_frame=frame)
        expected = {2: make_image(1), "last": make_image(2), "mean": self.FRAMES.mean(axis=-1)}[frame]
        np.testing.assert_allclose(case.case.image[0], expected, rtol=1e-6)
        assert f"a dynamic image of 3 frames, of which --time-frame {frame} was taken" in case.remarks

    def test_a_frame_that_is_not_there(self, tmp_path: Path) -> None:
        self.write(tmp_path, "pairs")
        with pytest.raises(CaseError, match="3 frames, but --time-frame 4; choose 1 to 3, mean or last"):
            load(tmp_path, time_frame=4)

    @pytest.mark.parametrize("frame", [1, "last", "mean"])
    def test_a_static_image_is_its_only_frame(self, tmp_path: Path, frame: Any) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(1))
        case = load(tmp_path, time_frame=frame)
        np.testing.assert_array_equal(case.case.image[0], make_image())
        assert case.remarks == ()
        with pytest.raises(CaseError, match="one frame, but --time-frame 2; leave --time-frame out"):
            load(tmp_path, time_frame=2)

    @pytest.mark.parametrize("frame", [None, 1, "mean"])
    def test_colours_are_no_frames(self, tmp_path: Path, frame: Any) -> None:
        colours = SimpleITK.GetImageFromArray(np.zeros((5, 4, 3), np.uint8), isVector=True)
        for ending in ("png", "tif"):
            SimpleITK.WriteImage(colours, str(tmp_path / f"{ending}.{ending}"))
            SimpleITK.WriteImage(SimpleITK.Image(4, 5, SimpleITK.sitkUInt8), str(tmp_path / f"{ending}_mask.{ending}"))
        for job in find(tmp_path, time_frame=frame).training:
            with pytest.raises(CaseError, match="a picture of 3 colours, expected shades of grey"):
                job.load()

    def test_named_channels_are_no_frames(self, tmp_path: Path) -> None:
        self.write(tmp_path, "pairs")
        case = load(tmp_path, channels=("PET", "CT", "MR"), time_frame=2)
        assert case.case.image.shape == (3, *SHAPE)
        with pytest.raises(CaseError, match=r"3 volumes, expected one per channel, 2 \(PET, CT\)"):
            load(tmp_path, channels=("PET", "CT"))


@pytest.mark.parametrize("name", ["A.mrk.json", "A.MRK.JSON", "A_clicks.fcsv"])
def test_clicks_beside_volumes_are_named_as_such(tmp_path: Path, name: str) -> None:
    save(tmp_path / "A.nii.gz", make_image())
    save(tmp_path / "A_mask.nii.gz", make_mask(1))
    (tmp_path / name).write_text("{}")
    assert "interactivepet_import clicks adds" in find(tmp_path).passed_over[name]


class TestHeaders:
    """Transforms that contradict each other, and spacings that are wrong."""

    @pytest.mark.parametrize(
        ("offset_mm", "codes", "remark"),
        [
            (1.6, (1, 1), "sform and qform place the image up to 1.6 mm apart; the sform was taken"),
            (60.0, (2, 1), "sform and qform place the image up to 60 mm apart; the sform was taken"),
            (1.4, (1, 1), ""),
            (60.0, (0, 1), ""),
            (60.0, (1, 0), ""),
        ],
        ids=["half a voxel", "far", "less", "no sform", "no qform"],
    )
    @pytest.mark.parametrize("which", ["image", "mask"])
    def test_two_places_are_told(
        self, tmp_path: Path, offset_mm: float, codes: tuple[int, int], remark: str, which: str
    ) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(1))
        path = tmp_path / ("A.nii.gz" if which == "image" else "A_mask.nii.gz")
        image = nibabel.load(path)
        moved = AFFINE.copy()
        moved[0, 3] += offset_mm
        image.set_sform(AFFINE if codes[0] else moved, code=codes[0])
        image.set_qform(moved if codes[0] else AFFINE, code=codes[1])
        nibabel.save(image, path)
        case = load(tmp_path)
        assert case.remarks == ((f"{which}: {remark}",) if remark else ())
        np.testing.assert_allclose(case.case.geometry.affine, AFFINE)

    def test_the_spacing_of_the_user(self, tmp_path: Path) -> None:
        oblique = np.array([[0.8, 0.6, 0, 3], [-0.6, 0.8, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]])
        save(tmp_path / "A.nii.gz", make_image(), oblique)
        save(tmp_path / "A_mask.nii.gz", make_mask(1)[:, :, ::-1], oblique @ flip(2))
        case = load(tmp_path, spacing_mm=(6.4, 6.4, 5.0)).case
        assert case.geometry.spacing_mm == pytest.approx((6.4, 6.4, 5.0))
        np.testing.assert_allclose(case.geometry.affine[:, 3], [3, 4, 5, 1])
        np.testing.assert_allclose(case.geometry.affine[:3, :3] / (6.4, 6.4, 5.0), oblique[:3, :3])
        np.testing.assert_array_equal(case.label, make_mask(1))

    def test_clicks_of_another_spacing_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "imagesTr" / "A.nii.gz", make_image())
        save(tmp_path / "labelsTr" / "A.nii.gz", make_mask(1))
        save(tmp_path / "interactionsTr" / "A.nii.gz", make_mask(1))
        with pytest.raises(CaseError, match="clicks that were placed with the spacing of the header"):
            load(tmp_path, spacing_mm=(2.0, 2.0, 2.0))


class TestNames:
    """Masks named otherwise, and cases that lack a channel."""

    @pytest.mark.parametrize(
        ("suffix", "name"), [("_roi", "A_roi"), ("roi", "A_roi"), ("-GTV", "A-gtv"), (".lesion", "A.lesion")]
    )
    def test_the_suffix_of_the_user(self, tmp_path: Path, suffix: str, name: str) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / f"{name}.nii.gz", make_mask(1))
        np.testing.assert_array_equal(load(tmp_path, mask_suffix=suffix).case.label, make_mask(1))

    def test_the_suffix_takes_the_place_of_the_usual_ones(self, tmp_path: Path) -> None:
        save(tmp_path / "A_label.nii.gz", make_image())
        save(tmp_path / "A_label_roi_node.nii.gz", make_mask(1))
        source = find(tmp_path, mask_suffix="_roi")
        assert ([job.id for job in source.training], source.labels) == (["A_label"], ("node",))

    def test_a_suffix_that_no_file_has_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "A.nii.gz", make_image())
        save(tmp_path / "A_mask.nii.gz", make_mask(1))
        with pytest.raises(ManifestError, match="no file is named BASE_roi, as --mask-suffix says"):
            find(tmp_path, mask_suffix="_roi")
        with pytest.raises(ManifestError, match="the masks of the layout nnunet have the names of their cases"):
            find(tmp_path, mask_suffix="_mask", layout="nnunet")

    def test_a_case_that_lacks_a_channel_fails_alone(self, tmp_path: Path) -> None:
        for name in ("A_PET_image", "A_CT_image", "B_PET_image"):
            save(tmp_path / f"{name}.nii.gz", make_image())
        for name in ("A_mask", "B_mask"):
            save(tmp_path / f"{name}.nii.gz", make_mask(1))
        good, bad = find(tmp_path).training
        assert good.load().case.image.shape[0] == 2
        with pytest.raises(CaseError, match="B: no volume of the channel CT, only of PET"):
            bad.load()


class TestRegions:
    """nnU-Net's labels that are lists of values."""

    def write(self, folder: Path, labels: dict[str, Any]) -> None:
        save(folder / "imagesTr" / "A_0000.nii.gz", make_image())
        save(folder / "labelsTr" / "A.nii.gz", make_mask(1, 2, 3))
        content = {"channel_names": {"0": "PET"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 1}
        (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")

    @pytest.mark.parametrize(
        ("labels", "names"),
        [
            (
                {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
                ("label_1", "label_2", "enhancing"),
            ),
            ({"background": 0, "whole": [1, 2, 3], "core": [2], "rim": [3]}, ("label_1", "core", "rim")),
        ],
    )
    def test_their_values_are_the_labels(self, tmp_path: Path, labels: dict[str, Any], names: tuple[str, ...]) -> None:
        self.write(tmp_path, labels)
        source = find(tmp_path)
        assert source.labels == names
        assert len(source.remarks) == 1
        assert source.remarks[0].startswith("the labels are regions of nnU-Net, which are not supported")
        np.testing.assert_array_equal(source.training[0].load().case.label, make_mask(1, 2, 3))

    def test_a_label_to_ignore_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, {"background": 0, "whole": [1, 2], "ignore": 3})
        with pytest.raises(ManifestError, match="label 'ignore' marks what was not annotated, which is not supported"):
            find(tmp_path)


@pytest.mark.real_data
def test_what_the_documentation_says_of_mpi_spect(real_data: Path) -> None:
    """The last slice is the first one mirrored, so that the third axis is an angle over 180 degrees."""
    source = find(real_data / "MPI_SPECT", channels=("SPECT",), spacing_mm=(6.4, 6.4, 6.4))
    cases = [job.load().case for job in source.training]
    assert cases[0].geometry.spacing_mm == pytest.approx((6.4, 6.4, 6.4))
    ends = [(case.image[0, :, ::-1, 0].ravel(), case.image[0, :, :, -1].ravel()) for case in cases]
    correlations = [np.corrcoef(first, last)[0, 1] for first, last in ends]
    assert len(cases) == 48
    assert np.median(correlations) == pytest.approx(0.96, abs=0.005)
    inside = [case.label[:, :, 16] > 0 for case in cases if case.label is not None]
    assert np.median([mask.any(axis=1).sum() for mask in inside]) == 30
    assert 24 <= np.median([mask.any(axis=0).sum() for mask in inside]) <= 25
